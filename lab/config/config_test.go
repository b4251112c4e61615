package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDefaulted(t *testing.T) {
	cases := []struct {
		reason string
		in     Config
		want   Config
	}{
		{
			reason: "nothing said is two clusters of one node, each its own network and region",
			want: Config{Name: "default", Clusters: []Cluster{
				{Name: "east", Nodes: 1, Network: "east", Region: "east", Zones: []string{"east-a"}},
				{Name: "west", Nodes: 1, Network: "west", Region: "west", Zones: []string{"west-a"}},
			}},
		},
		{
			reason: "what is said stays, and a hollow cluster has no node",
			in: Config{Name: "big", Clusters: []Cluster{
				{Name: "a", Nodes: 3, Network: "shared", Region: "eu", Zones: []string{"z1", "z2"}},
				{Hollow: true},
			}},
			want: Config{Name: "big", Clusters: []Cluster{
				{Name: "a", Nodes: 3, Network: "shared", Region: "eu", Zones: []string{"z1", "z2"}},
				{Name: "west", Network: "west", Region: "west", Zones: []string{"west-a"}, Hollow: true},
			}},
		},
	}
	for _, c := range cases {
		if diff := cmp.Diff(c.want, c.in.Defaulted()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.reason, diff)
		}
	}
}

func TestDefaultedLeavesTheDocumentAlone(t *testing.T) {
	doc := Config{Clusters: []Cluster{{}}}
	doc.Defaulted()
	if diff := cmp.Diff(Config{Clusters: []Cluster{{}}}, doc); diff != "" {
		t.Errorf("the caller's document changed: -want +got:\n%s", diff)
	}
}

func TestClusterName(t *testing.T) {
	var got []string
	for i := range 7 {
		got = append(got, ClusterName(i))
	}
	if diff := cmp.Diff([]string{"east", "west", "north", "south", "center", "c6", "c7"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestValidate(t *testing.T) {
	ms := func(n int) metav1.Duration {
		return metav1.Duration{Duration: time.Duration(n) * time.Millisecond}
	}
	link := func(l Link) Config { return Config{Links: []Link{l}} }
	cases := []struct {
		reason string
		in     Config
		want   string // part of the error; empty for none
	}{
		{"the default lab", Config{}, ""},
		{"a name that no interface or path would take", Config{Name: "My_Lab"}, `lab name "My_Lab"`},
		{"a name too long for the sockets", Config{Name: "abcdefghijklmnopq"}, "at most 16"},
		{"two clusters of one name", Config{Clusters: []Cluster{{Name: "a"}, {Name: "a"}}}, "clusters[1]: the name \"a\" is taken"},
		{"a hollow cluster with nodes", Config{Clusters: []Cluster{{Hollow: true, Nodes: 2}}}, "is hollow and has nodes: 2"},
		{"more nodes than addresses", Config{Clusters: []Cluster{{Nodes: 16}}}, "nodes: 16 is not between 1 and 15"},
		{"fewer nodes than none", Config{Clusters: []Cluster{{Nodes: -1}}}, "nodes: -1"},
		{"more clusters than blocks", Config{Clusters: make([]Cluster, 61)}, "61 are too many"},
		{"as many as fit", Config{Clusters: make([]Cluster, 60)}, ""},
		{"a distance both can be at", link(Link{From: "east", To: "west", Latency: ms(40), Jitter: ms(5), Loss: 1}), ""},
		{"a link to nowhere", link(Link{From: "east", To: "moon"}), `links[0]: there is no cluster "moon"`},
		{"a link to oneself", link(Link{From: "east", To: "east"}), "both"},
		{"time travel", link(Link{From: "east", To: "west", Latency: ms(-1)}), "latency -1ms"},
		{"packets that come before they are sent", link(Link{From: "east", To: "west", Latency: ms(5), Jitter: ms(6)}), "jitter 6ms"},
		{"more than all is lost", link(Link{From: "east", To: "west", Loss: 101}), "loss 101"},
	}
	for _, c := range cases {
		err := c.in.Defaulted().Validate()
		got := ""
		if err != nil {
			got = err.Error()
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: error is %q, want %q in it", c.reason, got, c.want)
		}
	}
}

func TestLoad(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "lab.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	got, err := Load(write("name: far\nclusters:\n- {name: a, region: eu}\n- {name: b}\nlinks:\n- {from: a, to: b, latency: 40ms, loss: 0.5}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Name: "far", Clusters: []Cluster{{Name: "a", Region: "eu"}, {Name: "b"}},
		Links: []Link{{From: "a", To: "b", Latency: metav1.Duration{Duration: 40 * time.Millisecond}, Loss: 0.5}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for reason, text := range map[string]string{
		"a field that does not exist": "name: x\ncluster: []\n",
		"no YAML":                     "name: [\n",
		"a latency without a unit":    "links:\n- {from: a, to: b, latency: 40}\n",
	} {
		path := write(text)
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v does not name the file", reason, err)
		}
	}
}

func TestLinkForPeople(t *testing.T) {
	cases := []struct {
		reason string
		link   Link
		want   string
	}{
		{"latency alone", Link{From: "a", To: "b", Latency: metav1.Duration{Duration: 40 * time.Millisecond}}, "a ↔ b: 40ms"},
		{"everything", Link{From: "a", To: "b", Latency: metav1.Duration{Duration: time.Second}, Jitter: metav1.Duration{Duration: time.Millisecond}, Loss: 2.5}, "a ↔ b: 1s ± 1ms, 2.5 % lost"},
		{"loss alone", Link{From: "a", To: "b", Loss: 100}, "a ↔ b: 0s, 100 % lost"},
	}
	for _, c := range cases {
		if got := c.link.String(); got != c.want {
			t.Errorf("%s: %q, want %q", c.reason, got, c.want)
		}
	}
}
