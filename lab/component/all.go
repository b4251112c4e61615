package component

import "net/netip"

// All are the components of a cluster. Flags that took time to find carry their reason.
var All = []Component{
	{
		Name: "etcd", Hollow: true, Program: "etcd", Args: etcdArgs,
		Ready: func(Site) Probe { return Probe{URL: "http://127.0.0.1:2379/readyz"} },
	},
	{
		Name: "kube-apiserver", Hollow: true, Program: "kube-apiserver", Needs: []string{"etcd"}, Args: apiserverArgs,
		Ready: func(s Site) Probe { return Probe{URL: s.Cluster.APIServer() + "/readyz", Leaf: "admin"} },
	},
	{
		Name: "kube-controller-manager", Hollow: true, Program: "kube-controller-manager", Needs: []string{"kube-apiserver"}, Args: managerArgs,
		Ready: func(Site) Probe { return Probe{URL: "https://127.0.0.1:10257/healthz"} },
	},
	{
		Name: "kube-scheduler", Program: "kube-scheduler", Needs: []string{"kube-apiserver"}, Args: schedulerArgs,
		Ready: func(Site) Probe { return Probe{URL: "https://127.0.0.1:10259/healthz"} },
	},
	{
		Name: "containerd", EveryNode: true, Program: "containerd",
		Args: func(s Site) []string { return []string{"--config", s.Node.Path("etc", "containerd.toml")} },
		Env: func(s Site) []string {
			return []string{"PATH=" + s.Lab.Programs.Bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
		},
		Ready: func(s Site) Probe { return Probe{Socket: s.Node.Containerd()} },
	},
	{
		// kubelet ends at once if containerd's socket is not there yet.
		Name: "kubelet", EveryNode: true, Program: "kubelet", Needs: []string{"kube-apiserver", "containerd"}, Args: kubeletArgs,
		Ready: func(Site) Probe { return Probe{URL: "http://127.0.0.1:10248/healthz"} },
	},
	{
		Name: "kube-proxy", EveryNode: true, Program: "kube-proxy", Needs: []string{"kube-apiserver"},
		Args:  func(s Site) []string { return []string{"--config=" + s.Node.Path("etc", "kube-proxy.yaml")} },
		Ready: func(Site) Probe { return Probe{URL: "http://127.0.0.1:10256/livez"} },
	},
}

func etcdArgs(s Site) []string {
	return []string{
		"--data-dir=" + s.Cluster.Path("etcd"),
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=default=http://127.0.0.1:2380",
		// A lab outlives neither the machine nor its disk: there is nothing to gain from waiting for the disk.
		"--unsafe-no-fsync",
		"--log-level=warn", "--quota-backend-bytes=2147483648",
	}
}

func apiserverArgs(s Site) []string {
	pki := func(f string) string { return s.Cluster.Path("pki", f) }
	return []string{
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=0.0.0.0", "--secure-port=6443", "--advertise-address=" + s.Cluster.Address.String(),
		"--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
		"--client-ca-file=" + pki("ca.crt"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + pki("sa.key"), "--service-account-signing-key-file=" + pki("sa.key"),
		"--service-cluster-ip-range=" + s.Cluster.Services.String(),
		"--kubelet-client-certificate=" + pki("admin.crt"), "--kubelet-client-key=" + pki("admin.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + pki("ca.crt"), "--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + pki("front-proxy.crt"), "--proxy-client-key-file=" + pki("front-proxy.key"),
		"--audit-policy-file=" + s.Cluster.Path("etc", "audit.yaml"), "--audit-log-path=" + AuditLog(s.Cluster),
		"--audit-log-maxsize=64", "--audit-log-maxbackup=1", "--audit-log-mode=batch",
		"--endpoint-reconciler-type=lease", "--profiling=false",
		// Two clusters of a lab start on two cores: a slow start is no reason to give up.
		"--etcd-healthcheck-timeout=10s", "--shutdown-delay-duration=0s",
	}
}

func managerArgs(s Site) []string {
	kubeconfig := s.Cluster.Path("etc", "kube-controller-manager.kubeconfig")
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--cluster-signing-cert-file=" + s.Cluster.Path("pki", "ca.crt"), "--cluster-signing-key-file=" + s.Cluster.Path("pki", "ca.key"),
		"--service-account-private-key-file=" + s.Cluster.Path("pki", "sa.key"), "--root-ca-file=" + s.Cluster.Path("pki", "ca.crt"),
		"--use-service-account-credentials", "--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false",
		"--kube-api-qps=200", "--kube-api-burst=400",
		"--flex-volume-plugin-dir=" + s.Cluster.Path("volume-plugins"),
	}
}

func schedulerArgs(s Site) []string {
	kubeconfig := s.Cluster.Path("etc", "kube-scheduler.kubeconfig")
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false", "--kube-api-qps=200", "--kube-api-burst=400",
	}
}

func kubeletArgs(s Site) []string {
	return []string{
		"--config=" + s.Node.Path("etc", "kubelet.yaml"), "--kubeconfig=" + s.Node.Path("etc", "kubelet.kubeconfig"),
		"--hostname-override=" + s.Node.Name, "--node-ip=" + s.Node.Address.String(),
		"--root-dir=" + s.Node.Path("kubelet"), "--cert-dir=" + s.Node.Path("pki"),
		"--node-labels=" + Region + "=" + s.Node.Region + "," + Zone + "=" + s.Node.Zone,
	}
}

// Labels of a node, from kubernetes.io/docs/reference/labels-annotations-taints.
const (
	Region = "topology.kubernetes.io/region"
	Zone   = "topology.kubernetes.io/zone"
)

// loopback is in every certificate of a server: its own machine may ask it.
var loopback = netip.MustParseAddr("127.0.0.1")
