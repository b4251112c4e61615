//go:build lab

package lab_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/lab"
	"isthmus.dev/isthmus/lab/layout"
	"isthmus.dev/isthmus/lab/supervise"
)

// One lab of three clusters: a and b share a network, c is apart; a has two nodes, in two zones.
func TestClusters(t *testing.T) {
	l := up(t, lab.Config{Name: "t-clusters", Clusters: []lab.Cluster{
		{Name: "a", Nodes: 2, Network: "one", Region: "eu", Zones: []string{"eu-1", "eu-2"}}, {Name: "b", Network: "one"}, {Name: "c"},
	}})
	lbs := map[string]string{}
	for _, c := range []string{"a", "b", "c"} {
		lbs[c] = echo(t, l, c)
	}
	t.Run("nodes carry their place and their pods' range", func(t *testing.T) { testNodes(t, l) })
	t.Run("pods weigh more than what runs them", testWeight)
	t.Run("who reaches whom", func(t *testing.T) { testReach(t, l, lbs) })
	t.Run("an address is given back", func(t *testing.T) { testAddressGivenBack(t, l) })
	t.Run("faults and their end", func(t *testing.T) { testFaults(t, l, lbs) })
	t.Run("what dies is started again", func(t *testing.T) { testRestart(t, l) })
	t.Run("a killed supervisor is replaced", func(t *testing.T) { testSupervisorKilled(t, l) })
}

func testNodes(t *testing.T, l *lab.Lab) {
	list, err := client(t, l, "a").CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, n := range list.Items {
		got[n.Name] = n.Labels["topology.kubernetes.io/region"] + " " + n.Labels["topology.kubernetes.io/zone"] + " " + n.Spec.PodCIDR
	}
	for name, want := range map[string]string{"a-1": "eu eu-1 100.64.0.0/24", "a-2": "eu eu-2 100.64.1.0/24"} {
		if got[name] != want {
			t.Errorf("node %s: %q, want %q", name, got[name], want)
		}
	}
}

func testWeight(t *testing.T) {
	hierarchies, err := filepath.Glob("/sys/fs/cgroup/*/cpu.shares")
	if err != nil || len(hierarchies) == 0 {
		t.Skip("needs the cpu controller of cgroup v1")
	}
	const nodes, programs = 4, 8 // of a node: etcd, four kube-, containerd, kubelet, and the shims as one
	for _, h := range hierarchies {
		file := filepath.Join(filepath.Dir(h), layout.CgroupRoot("t-clusters"), "cpu.shares")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := strconv.Atoi(strings.TrimSpace(string(data))); err != nil || got != nodes*2*programs*1024 {
			t.Errorf("%s: %s, want twice the weight of the programs of %d nodes", file, data, nodes)
		}
	}
}

func testReach(t *testing.T, l *lab.Lab, lbs map[string]string) {
	ip := func(cluster, node string) string { return pods(t, l, cluster)[node].Status.PodIP + ":8080" }
	cases := []struct {
		reason, cluster, node, to string
		saw                       string // what the answer must hold; empty: there must be no answer
	}{
		{"a pod of the same cluster on another node, by its own address", "a", "a-1", ip("a", "a-2"), "IP=" + pods(t, l, "a")["a-1"].Status.PodIP},
		{"a pod of the shared network, by its own address", "a", "a-2", ip("b", "b-1"), "IP=" + pods(t, l, "a")["a-2"].Status.PodIP},
		{"and back", "b", "b-1", ip("a", "a-2"), "IP=" + pods(t, l, "b")["b-1"].Status.PodIP},
		{"a pod of a separate network", "a", "a-1", ip("c", "c-1"), ""},
		{"and back", "c", "c-1", ip("a", "a-1"), ""},
		{"a name of the own cluster", "a", "a-2", "echo.default.svc.cluster.local", "Cluster=a"},
		{"the own cluster's LoadBalancer", "a", "a-2", lbs["a"], "Cluster=a"},
		{"a LoadBalancer of the shared network", "a", "a-2", lbs["b"], "Cluster=b"},
		{"a LoadBalancer of a separate network", "a", "a-1", lbs["c"], "Cluster=c"},
		{"and back", "c", "c-1", lbs["a"], "Cluster=a"},
		{"somebody outside the lab", "a", "a-1", "192.0.2.1", ""},
	}
	for _, c := range cases {
		out, err := call(t, l, c.cluster, c.node, c.to)
		if c.saw == "" && err == nil {
			t.Errorf("%s: %s answered %s", c.reason, c.to, out)
		}
		if c.saw != "" && (err != nil || !strings.Contains(out, c.saw)) {
			t.Errorf("%s: no %q in the answer: %v %s", c.reason, c.saw, err, out)
		}
	}
	for cluster, a := range lbs {
		if err := fromHost(t, a); err != nil {
			t.Errorf("the LoadBalancer of %s: %v", cluster, err)
		}
	}
}

func testAddressGivenBack(t *testing.T, l *lab.Lab) {
	k := client(t, l, "b").CoreV1().Services("default")
	make2 := func(name string) string {
		if out, err := run(t, l, "b", "kubectl", "create", "service", "loadbalancer", name, "--tcp=80"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		address := ""
		eventually(t, "address of "+name, func() error {
			s, err := k.Get(t.Context(), name, metav1.GetOptions{})
			if err == nil && len(s.Status.LoadBalancer.Ingress) == 0 {
				err = fmt.Errorf("service %s has none", name)
			}
			if err == nil {
				address = s.Status.LoadBalancer.Ingress[0].IP
			}
			return err
		})
		return address
	}
	first := make2("first")
	if err := k.Delete(t.Context(), "first", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the address is taken from the node", func() error {
		out, err := run(t, l, "b", "ip", "-4", "addr", "show", "dev", "eth0")
		if err == nil && strings.Contains(out, first+"/32") {
			err = fmt.Errorf("%s is still there", first)
		}
		return err
	})
	if second := make2("second"); second != first {
		t.Errorf("the next Service got %s, not %s, which was free again", second, first)
	}
}

func testRestart(t *testing.T, l *lab.Lab) {
	before := component(t, l, "c", "kube-scheduler")
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another scheduler", func() error {
		now := component(t, l, "c", "kube-scheduler")
		if now.State != supervise.Ready || now.PID == before.PID || now.Restarts != before.Restarts+1 {
			return fmt.Errorf("it is %s, process %d, started again %d times", now.State, now.PID, now.Restarts)
		}
		if !strings.Contains(now.LastEnd, "killed") {
			return fmt.Errorf("its last end is %q", now.LastEnd)
		}
		return nil
	})
}

func testSupervisorKilled(t *testing.T, l *lab.Lab) {
	s, err := l.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	api, scheduler := component(t, l, "a", "kube-apiserver"), component(t, l, "a", "kube-scheduler")
	for _, pid := range []int{s.PID, scheduler.PID} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the supervisor is gone", func() error {
		if _, err := l.Status(t.Context()); err == nil {
			return fmt.Errorf("process %d still answers", s.PID)
		}
		return nil
	})
	c := l.Document
	if _, err := lab.Up(t.Context(), c, options(t)); err != nil {
		t.Fatalf("go on: %v", err)
	}
	if now := component(t, l, "a", "kube-apiserver"); now.PID != api.PID || now.Restarts != api.Restarts {
		t.Errorf("the API server was process %d and is %d: it should have been taken over", api.PID, now.PID)
	}
	if now := component(t, l, "a", "kube-scheduler"); now.PID == scheduler.PID || now.State != supervise.Ready {
		t.Errorf("the scheduler that died meanwhile is process %d and %s", now.PID, now.State)
	}
}

func component(t *testing.T, l *lab.Lab, cluster, name string) supervise.ComponentStatus {
	t.Helper()
	s, err := l.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Clusters {
		for _, k := range c.Components {
			if c.Name == cluster && k.Name == name {
				return k
			}
		}
	}
	t.Fatalf("cluster %s has no %s", cluster, name)
	return supervise.ComponentStatus{}
}

func testFaults(t *testing.T, l *lab.Lab, lbs map[string]string) {
	begin := func(t *testing.T, f lab.Fault) {
		t.Helper()
		if _, err := l.Begin(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	mend := func(t *testing.T) {
		t.Helper()
		if _, err := l.Mend(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if s, err := l.Status(t.Context()); err != nil || len(s.Faults) > 0 {
			t.Errorf("left after mending: %v, %v", s.Faults, err)
		}
	}
	api := func(cluster string) error {
		_, err := client(t, l, cluster).Discovery().ServerVersion()
		return err
	}
	t.Run("API server stopped", func(t *testing.T) {
		begin(t, lab.Fault{Kind: "stop", Cluster: "b", Component: "kube-apiserver"})
		if api("b") == nil {
			t.Error("it answers")
		}
		if err := api("a"); err != nil {
			t.Errorf("the other cluster: %v", err)
		}
		mend(t)
		eventually(t, "API server back", func() error { return api("b") })
	})
	t.Run("cluster cut off", func(t *testing.T) {
		begin(t, lab.Fault{Kind: "cut", Cluster: "b"})
		if _, err := call(t, l, "a", "a-1", lbs["b"]); err == nil {
			t.Error("its LoadBalancer answers")
		}
		if _, err := call(t, l, "a", "a-1", pods(t, l, "a")["a-2"].Status.PodIP+":8080"); err != nil {
			t.Errorf("within another cluster: %v", err)
		}
		if fromHost(t, lbs["b"]) == nil {
			t.Error("this machine reaches it")
		}
		mend(t)
		if err := fromHost(t, lbs["b"]); err != nil {
			t.Error(err)
		}
		if _, err := call(t, l, "a", "a-1", lbs["b"]); err != nil {
			t.Error(err)
		}
	})
	t.Run("cut off from one", func(t *testing.T) {
		begin(t, lab.Fault{Kind: "cut", Cluster: "b", Peer: "a"})
		if _, err := call(t, l, "a", "a-1", lbs["b"]); err == nil {
			t.Error("the one reaches it")
		}
		if _, err := call(t, l, "c", "c-1", lbs["b"]); err != nil {
			t.Errorf("another does not: %v", err)
		}
		mend(t)
	})
	t.Run("distance", func(t *testing.T) { testDistance(t, l, lbs, begin, mend) })
	t.Run("pod killed", func(t *testing.T) { testPodKilled(t, l, begin) })
	t.Run("deployment scaled down", func(t *testing.T) { testScaledDown(t, l, begin, mend) })
}

func testPodKilled(t *testing.T, l *lab.Lab, begin func(*testing.T, lab.Fault)) {
	begin(t, lab.Fault{Kind: "kill-pods", Cluster: "c", Namespace: "default", Pod: "app=echo"})
	eventually(t, "started again", func() error {
		if p := pods(t, l, "c")["c-1"]; len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].RestartCount != 1 || !p.Status.ContainerStatuses[0].Ready {
			return fmt.Errorf("its state is %v", p.Status.ContainerStatuses)
		}
		return nil
	})
}

func testScaledDown(t *testing.T, l *lab.Lab, begin func(*testing.T, lab.Fault), mend func(*testing.T)) {
	replicas := func(want int32) func() error {
		return func() error {
			d, err := client(t, l, "c").AppsV1().Deployments("kube-system").Get(t.Context(), "coredns", metav1.GetOptions{})
			if err == nil && d.Status.ReadyReplicas != want {
				err = fmt.Errorf("%d are ready, want %d", d.Status.ReadyReplicas, want)
			}
			return err
		}
	}
	begin(t, lab.Fault{Kind: "scale", Cluster: "c", Namespace: "kube-system", Pod: "k8s-app=kube-dns"})
	eventually(t, "no replica", replicas(0))
	mend(t)
	eventually(t, "the replica is back", replicas(1))
}

func testDistance(t *testing.T, l *lab.Lab, lbs map[string]string, begin func(*testing.T, lab.Fault), mend func(*testing.T)) {
	const far = 60 * time.Millisecond
	begin(t, lab.Fault{Kind: "link", Link: &lab.Link{From: "a", To: "b", Latency: metav1.Duration{Duration: far}}})
	out, err := call(t, l, "a", "a-2", lbs["b"])
	if err != nil {
		t.Fatal(err)
	}
	// A call is at least two round trips: one for the connection, one for the answer.
	if took := latency(t, out); took < 4*far {
		t.Errorf("a call took %s, less than the distance, 4 times %s", took, far)
	}
	// Pods of the shared network are as far.
	if out, err = call(t, l, "a", "a-2", pods(t, l, "b")["b-1"].Status.PodIP+":8080"); err != nil {
		t.Error(err)
	} else if took := latency(t, out); took < 4*far {
		t.Errorf("a call to a pod took %s, less than the distance", took)
	}
	if _, err = call(t, l, "c", "c-1", lbs["b"]); err != nil {
		t.Errorf("a pair that is near: %v", err)
	}
	mend(t)
	begin(t, lab.Fault{Kind: "link", Link: &lab.Link{From: "b", To: "a", Loss: 100}})
	if _, err := call(t, l, "a", "a-2", lbs["b"]); err == nil {
		t.Error("a call arrived although all is lost")
	}
	mend(t)
	if _, err := call(t, l, "a", "a-2", lbs["b"]); err != nil {
		t.Error(err)
	}
}

// latency is what the echo client says its call took.
func latency(t *testing.T, out string) time.Duration {
	t.Helper()
	_, rest, ok := strings.Cut(out, "Latency=")
	d, err := time.ParseDuration(strings.Fields(rest + " ")[0])
	if !ok || err != nil {
		t.Fatalf("no latency in %s", out)
	}
	return d
}

func TestDistanceFromTheDocument(t *testing.T) {
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Fatal("the kernel has no tun devices: ", err)
	}
	far := metav1.Duration{Duration: 50 * time.Millisecond}
	l := up(t, lab.Config{
		Name: "t-far", Clusters: []lab.Cluster{{Name: "near", Hollow: true}, {Name: "away", Hollow: true}},
		Links: []lab.Link{{From: "near", To: "away", Latency: far}},
	})
	away, err := l.Find("away")
	if err != nil {
		t.Fatal(err)
	}
	// From the machine it is near; the distance is between the clusters.
	for node, least := range map[string]time.Duration{"near": 2 * far.Duration, "": 0} {
		argv := []string{"curl", "-sk", "-o", "/dev/null", "-m", "5", "-w", "%{time_connect}s", away.APIServer() + "/livez"}
		if node == "" {
			node = "away"
		}
		out, err := run(t, l, node, argv...)
		if err != nil {
			t.Fatalf("from %s: %v: %s", node, err, out)
		}
		took, err := time.ParseDuration(out)
		if err != nil {
			t.Fatal(err)
		}
		if took < least {
			t.Errorf("a connection from %s took %s, less than a round trip, %s", node, took, least)
		}
	}
}
