package verify

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"isthmus.dev/isthmus/internal/facts"
)

func TestReport(t *testing.T) {
	for _, tc := range []struct {
		reason string
		in     Input
		change func(*Input)
		want   Report
	}{
		{
			reason: "two empty clusters", in: fresh(),
			want: Report{
				Mesh: "shop", Taken: noon, Seconds: 1.2, Passed: 48,
				Clusters: []ClusterLine{
					{Name: "east", Kubernetes: "1.36.3", LatencyMilliseconds: 40, Istio: "no Istio", LoadBalancer: "ok"},
					{Name: "west", Kubernetes: "1.36.3", LatencyMilliseconds: 40, Istio: "no Istio", LoadBalancer: "ok"},
				},
				Pairs: []PairLine{{A: "east", B: "west", Networks: "differ", PodRanges: "apart"}},
			},
		},
		{
			reason: "a mesh with trouble", in: joined(), change: func(in *Input) {
				westIstiod(in).Ready, westIstiod(in).Owner, westIstiod(in).Version = 0, "istioctl", ""
				west(in).ClockSkew = -3 * time.Second
				west(in).Nodes[0].PodCIDRs = []string{"100.64.0.0/24"}
				west(in).LoadBalancer = facts.LoadBalancer{Provider: "k3s"}
			},
			want: Report{
				Mesh: "shop", Taken: noon, Seconds: 1.2, Passed: 44, Errors: 1, Warnings: 2, Notes: 1,
				Clusters: []ClusterLine{
					{Name: "east", Kubernetes: "1.36.3", LatencyMilliseconds: 40, Istio: "Istio 1.31.1", LoadBalancer: "ok"},
					{Name: "west", Kubernetes: "1.36.3", LatencyMilliseconds: 40, Istio: "Istio ? of istioctl (0/1 ready)", LoadBalancer: "k3s"},
				},
				Pairs: []PairLine{{A: "east", B: "west", ClocksApartSeconds: 3, Networks: "differ", PodRanges: "overlap"}},
			},
		},
		{
			reason: "one does not answer: it is in no pair, and what is left can be judged", in: fresh(), change: func(in *Input) {
				oneNetwork(in)
				west(in).Err = "connection refused"
			},
			want: Report{
				Mesh: "shop", Taken: noon, Seconds: 1.2, Passed: 47, Errors: 1,
				Clusters: []ClusterLine{
					{Name: "east", Kubernetes: "1.36.3", LatencyMilliseconds: 40, Istio: "no Istio", LoadBalancer: "not needed"},
					{Name: "west", Err: "connection refused"},
				},
			},
		},
		{
			reason: "nobody answers: nothing else is asked", in: fresh(), change: func(in *Input) {
				west(in).Err, in.Now.Clusters["east"] = "connection refused", nil
			},
			want: Report{
				Mesh: "shop", Taken: noon, Seconds: 1.2, Skipped: 47, Errors: 2,
				Clusters: []ClusterLine{{Name: "east", Err: "was not asked"}, {Name: "west", Err: "connection refused"}},
			},
		},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			if tc.change != nil {
				tc.change(&tc.in)
			}
			got := Preflighted(tc.in, 1200*time.Millisecond)
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(Report{}, "Results")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if len(got.Results) != len(Preflight) {
				t.Errorf("%d results of %d checks", len(got.Results), len(Preflight))
			}
		})
	}
}

func TestSaidSaysTheSameOnceAndTheWorstFirst(t *testing.T) {
	r := Report{Results: []Result{
		{ID: "A", Findings: []Finding{{Cluster: "east", Severity: Note, Seen: "x", Do: "1"}, {Cluster: "west", Severity: Note, Seen: "x", Do: "2"}}},
		{ID: "B", Findings: []Finding{{Severity: Warning, Seen: "y"}, {Cluster: "west", Severity: Error, Seen: "z"}}},
		{ID: "C", Findings: []Finding{{Cluster: "east", Severity: Note, Seen: "x"}}},
	}}
	want := []Said{
		{ID: "B", Severity: Error, Seen: "z", Clusters: []string{"west"}},
		{ID: "B", Severity: Warning, Seen: "y"},
		{ID: "A", Severity: Note, Seen: "x", Do: "1", Clusters: []string{"east", "west"}},
		{ID: "C", Severity: Note, Seen: "x", Clusters: []string{"east"}},
	}
	if diff := cmp.Diff(want, r.Said()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// BenchmarkPreflight is a mesh of 500 clusters in one network, 10 nodes each: 125,000 pairs.
func BenchmarkPreflight(b *testing.B) {
	in := fresh()
	one := in.Mesh.Clusters[0]
	in.Mesh.Clusters = nil
	for i := range 500 {
		c, f := one, *in.Now.Clusters["east"]
		c.Name, c.Network, f.UID = fmt.Sprintf("c%d", i), "one", fmt.Sprint(i)
		f.Nodes = nil
		for n := range 10 {
			f.Nodes = append(f.Nodes, facts.Node{
				Name: fmt.Sprint(n), Ready: true, Arch: "amd64", Region: "r", Memory: 8 * gib, CPUMilli: 4000,
				PodCIDRs: []string{fmt.Sprintf("100.%d.%d.0/24", 64+i/25, i%25*10+n)},
			})
		}
		in.Mesh.Clusters = append(in.Mesh.Clusters, c)
		in.Now.Clusters[c.Name] = &f
	}
	for b.Loop() {
		if r := Preflighted(in, 0); r.Errors > 0 {
			b.Fatal(r.Said()[0])
		}
	}
}
