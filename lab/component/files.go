package component

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"isthmus.dev/isthmus/lab/layout"
	"isthmus.dev/isthmus/lab/pki"
)

// Files returns the settings that the node's programs read, by path.
func Files(s Site) map[string]string {
	n := s.Node
	return map[string]string{
		n.Path("etc", "containerd.toml"):        containerdFile(s),
		n.Path("etc", "cni", "10-lab.conflist"): cniFile(s),
		n.Path("etc", "kubelet.yaml"):           kubeletFile(s),
		n.Path("etc", "kube-proxy.yaml"):        proxyFile(s),
		// Pods that ask for the node's DNS get none: nothing may leave the machine.
		n.Path("etc", "resolv.conf"): "",
	}
}

// AuditLog is where a cluster's API server writes what service accounts ask for, and whether they may, a line each.
func AuditLog(c layout.Cluster) string { return c.Path("audit", "log.jsonl") }

// auditPolicy is of interest for the accounts that somebody made: Kubernetes' own would fill the disk.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, userGroups: ["system:serviceaccounts:kube-system"]}
- {level: Metadata, userGroups: ["system:serviceaccounts"], omitManagedFields: true}
- {level: None}
`

func containerdFile(s Site) string {
	return fmt.Sprintf(`version = 3
root = %q
state = %q
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.zfs", "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = %q
[ttrpc]
  address = %q
[plugins.'io.containerd.shim.v1.manager']
  socket_dir = %q
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = %q
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = [%q]
    conf_dir = %q
    use_internal_loopback = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      Root = %q
`, s.Node.Path("containerd"), s.Node.Run+"/state", s.Node.Containerd(), s.Node.Containerd()+".ttrpc", s.Node.Run+"/s", PauseImage,
		s.Lab.Programs.CNI, s.Node.Path("etc", "cni"), s.Node.Run+"/runc")
}

// PauseImage is what holds a pod's namespaces.
const PauseImage = "lab.local/pause:1"

func cniFile(s Site) string {
	// No ipMasq: its rule would hide the address of a pod that calls a pod of another node. The node's own rule
	// (lab/wire) hides only what leaves for an address that is not a pod's.
	return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "lab", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true, "enabledad": false,
   "ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}
]}
`, s.Node.Path("ipam"), s.Node.Pods.String())
}

func kubeletFile(s Site) string {
	n := s.Node
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: %s
enforceNodeAllocatable: []
containerRuntimeEndpoint: unix://%s
clusterDNS: [%q]
clusterDomain: cluster.local
resolvConf: %s
podLogsDir: %s
volumePluginDir: %s
authentication: {x509: {clientCAFile: %s}, webhook: {enabled: true}, anonymous: {enabled: false}}
authorization: {mode: Webhook}
tlsCertFile: %s
tlsPrivateKeyFile: %s
failSwapOn: false
makeIPTablesUtilChains: false
imageGCHighThresholdPercent: 100
evictionHard: {nodefs.available: "0%%", imagefs.available: "0%%", memory.available: "0%%"}
localStorageCapacityIsolation: false
maxPods: 110
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 0
kubeAPIQPS: 200
kubeAPIBurst: 400
nodeStatusReportFrequency: 1m
syncFrequency: 10s
volumeStatsAggPeriod: -1s
shutdownGracePeriod: 0s
`, CgroupRoot(s), n.Containerd(), s.Cluster.ServiceIP(10), n.Path("etc", "resolv.conf"), n.Path("pods"), n.Path("volume-plugins"),
		s.Cluster.Path("pki", "ca.crt"), n.Path("pki", "kubelet.crt"), n.Path("pki", "kubelet.key"))
}

// CgroupRoot is the cgroup that holds the node's containers. It is the lab's, so that any of them can be found.
func CgroupRoot(s Site) string { return layout.CgroupRoot(s.Lab.Name) + "/" + s.Node.Name }

func proxyFile(s Site) string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: %s, qps: 100, burst: 200}
mode: nftables
nftables: {minSyncPeriod: 100ms}
hostnameOverride: %s
clusterCIDR: %s
conntrack: {maxPerCore: 0, min: 0}
metricsBindAddress: 127.0.0.1:10249
`, s.Node.Path("etc", "kube-proxy.kubeconfig"), s.Node.Name, s.Cluster.Pods)
}

// Leaves are the certificates of the cluster's own programs and of its administrator, in the cluster's pki folder.
func Leaves(c layout.Cluster) []pki.Leaf {
	return []pki.Leaf{
		{
			File: "apiserver", CommonName: "kube-apiserver",
			DNS: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"},
			IPs: ips(loopback, c.Address, c.ServiceIP(1)),
		},
		{File: "admin", CommonName: "admin", Organization: []string{"system:masters"}},
		{File: "kube-controller-manager", CommonName: "system:kube-controller-manager"},
		{File: "kube-scheduler", CommonName: "system:kube-scheduler"},
		{File: "kube-proxy", CommonName: "system:kube-proxy"},
		{File: "front-proxy", CommonName: "front-proxy"},
		{File: "lab", CommonName: "isthmus-lab", Organization: []string{"system:masters"}},
	}
}

// NodeLeaf is the certificate of one node, in the cluster's pki folder.
func NodeLeaf(n layout.Node) pki.Leaf {
	return pki.Leaf{
		File: n.Name, CommonName: "system:node:" + n.Name, Organization: []string{"system:nodes"},
		DNS: []string{n.Name}, IPs: ips(loopback, n.Address),
	}
}

func ips(addrs ...netip.Addr) []net.IP {
	var list []net.IP
	for _, a := range addrs {
		list = append(list, net.ParseIP(a.String()))
	}
	return list
}

// CommandLine is how the instance would be started by hand.
func (i Instance) CommandLine() string {
	return i.Program + " " + strings.Join(i.Args(i.Site), " ")
}
