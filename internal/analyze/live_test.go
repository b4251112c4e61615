package analyze

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// TestObjectsOfAClient: objects as a client reads them are judged like those of files, without places and fixes, and
// as the whole of their cluster.
func TestObjectsOfAClient(t *testing.T) {
	service, err := NewObject(map[string]any{
		"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "reviews", "namespace": "shop"},
		"spec": map[string]any{"ports": []any{map[string]any{"name": "http", "port": int64(80)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	route, err := NewObject(map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": map[string]any{"name": "r", "namespace": "shop"},
		"spec": map[string]any{"hosts": []any{"x.example"}, "http": []any{map[string]any{"route": []any{
			map[string]any{"destination": map[string]any{"host": "reveiws"}},
			map[string]any{"destination": map[string]any{"host": "www.example.com"}},
		}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := Run(Input{Clusters: []Cluster{{Name: "east", Objects: []*Object{service}, Whole: true}, {Name: "west", Objects: []*Object{route}, Whole: true}}})
	var lines []string
	for _, f := range got {
		if f.Fix != nil || f.File != "" || f.Line != 0 {
			t.Errorf("a place or a fix without a file: %+v", f)
		}
		lines = append(lines, fmt.Sprintf("%s %s %v %s: %s", f.ID, f.Severity, f.Clusters, f.Object, f.Seen))
	}
	want := []string{
		"ANA010 error [west] VirtualService shop/r: no Service and no ServiceEntry of any cluster has the host www.example.com",
		"ANA010 error [west] VirtualService shop/r: the host reveiws exists in no cluster",
		"IST0106 error [west] VirtualService shop/r: Schema validation error: total destination weight = 0",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestNearest(t *testing.T) {
	cases := []struct {
		reason, name string
		known        []string
		want         string
	}{
		{"one slip", "reveiws", []string{"reviews", "ratings"}, "reviews"},
		{"a hyphen too few", "cluster-aservice", []string{"cluster-a-service", "cluster-b-service"}, "cluster-a-service"},
		{"versions are other names", "web-v1", []string{"web-v2"}, ""},
		{"short names are not doubted", "a", []string{"b"}, ""},
		{"two that are as near", "web-x", []string{"web-a", "web-b"}, ""},
		{"case alone", "SIMPLe", []string{"SIMPLE", "SAMPLE"}, "SIMPLE"},
		{"nothing near", "ledger", []string{"reviews"}, ""},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if got, _ := near(c.name, c.known); got != c.want {
				t.Errorf("near %q is %q, want %q", c.name, got, c.want)
			}
		})
	}
}

// manyFiles is a mesh of some clusters, each with services, their workloads and configuration.
func manyFiles(clusters, services int) (sources []Source, names []string) {
	for c := range clusters {
		name := fmt.Sprintf("c%d", c)
		names = append(names, name)
		text := ""
		for s := range services {
			text += fmt.Sprintf(`---
apiVersion: v1
kind: Service
metadata: {name: svc-%[1]d, namespace: ns-%[2]d}
spec:
  selector: {app: svc-%[1]d}
  ports: [{name: http, port: 80}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: svc-%[1]d, namespace: ns-%[2]d}
spec:
  selector: {matchLabels: {app: svc-%[1]d}}
  template:
    metadata: {labels: {app: svc-%[1]d, version: v1}}
    spec: {containers: [{name: s, image: s, env: [{name: NEXT, value: "http://svc-%[1]d.ns-%[2]d/x"}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: svc-%[1]d, namespace: ns-%[2]d}
spec: {host: svc-%[1]d, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: svc-%[1]d, namespace: ns-%[2]d}
spec:
  hosts: [svc-%[1]d]
  http: [{route: [{destination: {host: svc-%[1]d, subset: v1}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: svc-%[1]d, namespace: ns-%[2]d}
spec:
  selector: {matchLabels: {app: svc-%[1]d}}
  rules: [{from: [{source: {principals: ["cluster.local/ns/ns-%[2]d/sa/default"]}}]}]
`, s, s%10)
		}
		sources = append(sources, Source{Name: name + "/all.yaml", Cluster: name, Data: []byte(text)})
	}
	return sources, names
}

func TestManyObjectsAreRight(t *testing.T) {
	sources, names := manyFiles(3, 40)
	for _, f := range Run(NewInput(sources, names, Options{})) {
		t.Errorf("%s:%d %s %s", f.File, f.Line, f.ID, f.Text())
	}
}

func BenchmarkRun(b *testing.B) {
	sources, names := manyFiles(4, 250)
	in := NewInput(sources, names, Options{})
	for _, which := range []struct {
		name  string
		table []Analyser
	}{{"ours", Analysers[:len(Analysers)-1]}, {"istio", istios}} {
		b.Run(which.name, func(b *testing.B) {
			for b.Loop() {
				if got := RunWith(in, which.table); len(got) > 0 {
					b.Fatal(got[0])
				}
			}
			b.ReportMetric(float64(5*4*250), "objects")
		})
	}
}

// TestOneFolderForTwoClusters: the same files may be given for several clusters.
func TestOneFolderForTwoClusters(t *testing.T) {
	folders := []Folder{{"east", "testdata/seed"}, {"west", "testdata/seed"}}
	sources, _, err := Read([]string{"testdata/seed/authorizationpolicy.yaml"}, folders, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) != 4 {
		t.Errorf("%d sources, want two files for each of two clusters", len(sources))
	}
	for _, f := range Run(NewInput(sources, []string{"east", "west"}, Options{})) {
		if f.ID == "ANA020" && len(f.Clusters) != 2 {
			t.Errorf("%v: %s", f.Clusters, f.Seen)
		}
	}
}

// cluster is a Cluster as it is read from one.
func cluster(t *testing.T, name, text string) Cluster {
	t.Helper()
	var objects []map[string]any
	for doc := range strings.SplitSeq(text, "---\n") {
		var content map[string]any
		if err := yaml.Unmarshal([]byte(doc), &content); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, content)
	}
	c, err := NewCluster(name, "", nil, objects)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const liveShop = `apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {selector: {app: reviews}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: old, namespace: shop}
spec: {hosts: [x.example], http: [{route: [{destination: {host: ratings}}]}]}
`

const reviewsRoute = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: r, namespace: shop}
spec: {hosts: [reviews], http: [{route: [{destination: {host: %s}}]}]}
`

// TestFilesOverClusters: a file is judged as if it were applied; what is wrong there already is not its fault.
func TestFilesOverClusters(t *testing.T) {
	live := Input{Clusters: []Cluster{cluster(t, "east", liveShop), cluster(t, "west", liveShop)}}
	cases := []struct {
		reason, host string
		want         []string
	}{
		{"a host of the clusters", "reviews", nil},
		{"a host that is misspelt", "reveiws", []string{"ANA010 f.yaml"}},
		{"a host that exists nowhere", "ledger", []string{"ANA010 f.yaml"}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			files := NewInput([]Source{{Name: "f.yaml", Data: fmt.Appendf(nil, reviewsRoute, c.host)}}, []string{"east", "west"}, Options{})
			var got []string
			for _, f := range NewReportOver(live, files).Findings {
				if strings.HasPrefix(f.ID, "ANA") {
					got = append(got, f.ID+" "+f.File)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFileStandsForLiveObject: a file of an object's name takes its place, and may break others.
func TestFileStandsForLiveObject(t *testing.T) {
	live := Input{Clusters: []Cluster{cluster(t, "east", liveShop+"---\n"+fmt.Sprintf(reviewsRoute, "reviews"))}}
	renamed := strings.Replace(strings.Split(liveShop, "---\n")[1], "port: 80", "port: 81", 1)
	files := NewInput([]Source{{Name: "s.yaml", Data: []byte(renamed)}}, []string{"east"}, Options{})
	over := Over(live, files)
	services := 0
	for _, o := range over.Clusters[0].Objects {
		if o.Kind == "Service" {
			services++
			if o.File == nil {
				t.Error("the live Service is judged, not the file's")
			}
		}
	}
	if services != 1 || len(over.Clusters[0].Objects) != len(live.Clusters[0].Objects) {
		t.Errorf("%d Services, %d objects", services, len(over.Clusters[0].Objects))
	}
}

// TestUnreadClusters: a cluster that is away is an error, and nothing is called missing for its sake.
func TestUnreadClusters(t *testing.T) {
	away, err := NewCluster("west", "connection refused", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	part := cluster(t, "east", fmt.Sprintf(reviewsRoute, "ledger"))
	part.Whole, part.Unread = false, map[string]string{"Service": "the caller may not list them"}
	var got []string
	for _, f := range Run(Input{Clusters: []Cluster{part, away}}) {
		if strings.HasPrefix(f.ID, "ANA") {
			got = append(got, fmt.Sprintf("%s %s %v %s", f.ID, f.Severity, f.Clusters, f.Seen))
		}
	}
	want := []string{
		"ANA045 warning [east] objects of kind Service could not all be read: the caller may not list them",
		"ANA045 error [west] it could not be read: connection refused",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestSarifOfClusters: what has no line has the name of an object in a cluster.
func TestSarifOfClusters(t *testing.T) {
	r := NewReport(Input{Clusters: []Cluster{cluster(t, "east", liveShop)}})
	out, err := json.Marshal(r.Sarif())
	if err != nil {
		t.Fatal(err)
	}
	if want := `"logicalLocations":[{"fullyQualifiedName":"east/VirtualService shop/old","kind":"resource"}]`; !strings.Contains(string(out), want) {
		t.Errorf("no %s in %s", want, out)
	}
	if strings.Contains(string(out), "physicalLocation") {
		t.Errorf("a place in a file that is none: %s", out)
	}
}

// TestFailoverOfLiveClusters: the caller knows what the document says, rules are the clusters', and a file counts
// without those that are there already.
func TestFailoverOfLiveClusters(t *testing.T) {
	const rule = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: %s, namespace: shop}
spec: {host: reviews, trafficPolicy: {connectionPool: {tcp: {maxConnections: 100}}}}
`
	about := func(findings []Finding) (out []string) {
		for _, f := range findings {
			if f.ID == "ANA032" {
				out = append(out, fmt.Sprintf("%s %s %v %s:%d", f.Object, f.Severity, f.Clusters, f.File, f.Line))
			}
		}
		return out
	}
	live := Input{Failover: true, Clusters: []Cluster{
		cluster(t, "east", liveShop+"---\n"+fmt.Sprintf(rule, "slow")), cluster(t, "west", liveShop),
	}}
	if diff := cmp.Diff([]string{"DestinationRule shop/slow warning [east] :0"}, about(Run(live))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	files := NewInput([]Source{{Name: "f.yaml", Data: fmt.Appendf(nil, rule, "mine")}}, []string{"west"}, Options{Failover: true})
	if diff := cmp.Diff([]string{"DestinationRule shop/mine warning [west] f.yaml:4"}, about(NewReportOver(live, files).Findings)); diff != "" {
		t.Errorf("files over clusters: -want +got\n%s", diff)
	}
	live.Failover = false
	if got := about(Run(live)); len(got) > 0 {
		t.Errorf("without failover: %v", got)
	}
}
