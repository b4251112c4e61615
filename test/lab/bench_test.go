//go:build lab

package lab_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isthmus.dev/isthmus/lab"
)

// BenchmarkFirstMesh measures two fresh clusters to a proved mesh, Isthmus against the documented istioctl steps, one
// after the other on clusters of the same kind in one run. Isthmus' side ends with the whole matrix proved; the other
// with its one call answered. The ratio is what counts; aim: 0.5 or less.
func BenchmarkFirstMesh(b *testing.B) {
	for range b.N {
		byPages := fresh(b, func(ctx context.Context) {
			documented{t: b, dir: b.TempDir(), clusters: []string{"east", "west"}}.run(ctx)
		})
		var peak int64
		var verified time.Duration
		doc := document(b, "east", "west")
		byIsthmus := fresh(b, func(context.Context) {
			apply := must(b, doc, "apply", "-f", "-")
			proof := must(b, doc, "verify", "-f", "-")
			peak, verified = max(apply.peak, proof.peak), proof.took
		})
		b.ReportMetric(byPages.Seconds(), "documented-s")
		b.ReportMetric(byIsthmus.Seconds(), "isthmus-s")
		b.ReportMetric(verified.Seconds(), "of-which-verify-s")
		b.ReportMetric(byIsthmus.Seconds()/byPages.Seconds(), "ratio")
		b.ReportMetric(float64(peak)/(1<<20), "isthmus-peak-MiB")
	}
}

// fresh times do on a lab of two clusters that nothing was done to, and takes the lab down again.
func fresh(b *testing.B, do func(context.Context)) time.Duration {
	b.Helper()
	const name = "bench"
	defer func() {
		world.labs.give(b.Name(), nil)
		if err := lab.Down(context.WithoutCancel(b.Context()), name, ""); err != nil {
			b.Error(err)
		}
	}()
	l, err := up(b.Context(), lab.Config{Name: name, Clusters: []lab.Cluster{{Name: "east"}, {Name: "west"}}})
	if err != nil {
		b.Fatal(err)
	}
	if err := l.LoadImage(b.Context(), world.archive); err != nil {
		b.Fatal(err)
	}
	world.labs.give(b.Name(), l)
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	start := time.Now()
	do(ctx)
	return time.Since(start)
}

// BenchmarkHelp measures what a person waits for --help, against istioctl's.
func BenchmarkHelp(b *testing.B) {
	d := documented{t: b, dir: b.TempDir()}
	var ours, theirs time.Duration
	for b.Loop() {
		ours += must(b, "", "--help").took
		start := time.Now()
		d.out(b.Context(), "", "istioctl", "--help")
		theirs += time.Since(start)
	}
	b.ReportMetric(ours.Seconds()*1000/float64(b.N), "isthmus-ms")
	b.ReportMetric(theirs.Seconds()*1000/float64(b.N), "istioctl-ms")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
}

// BenchmarkNothingToDo measures apply where nothing is to be done against istioctl install run again, on the same two
// clusters in one run: first what istioctl installed is installed again, then Isthmus takes the same installation over
// and applies again. istioctl's side is what a person would have to run again: control plane and east-west gateway of
// each cluster. Aim: 0.1 or less.
func BenchmarkNothingToDo(b *testing.B) {
	clusters := []string{"east", "west"}
	b.Cleanup(func() { forget(b, clusters...) })
	d := documented{t: b, dir: b.TempDir(), clusters: clusters}
	d.run(b.Context())
	for _, c := range clusters {
		// Without a name, istioctl takes the gateway for a part of the control plane that is no longer wanted, and prunes it.
		text, err := os.ReadFile(filepath.Join(d.dir, c+".yaml"))
		if err != nil {
			b.Fatal(err)
		}
		d.file(c+".yaml", strings.Replace(string(text), "kind: IstioOperator\n", "kind: IstioOperator\nmetadata: {name: control-plane}\n", 1))
		d.out(b.Context(), "", "istioctl", "install", "--context="+c, "-y", "-f", c+".yaml")
	}
	const times = 5
	var theirs, ours time.Duration
	for range times {
		start := time.Now()
		for _, c := range clusters {
			d.out(b.Context(), "", "istioctl", "install", "--context="+c, "-y", "-f", c+".yaml")
			d.out(b.Context(), "", "istioctl", "install", "--context="+c, "-y", "-f", c+"-gateway.yaml")
		}
		theirs += time.Since(start)
	}
	doc := adopting(b, clusters...)
	must(b, doc, "apply", "-f", "-", "--adopt")
	for range times {
		r := must(b, doc, "apply", "-f", "-")
		if !strings.Contains(r.out, "nothing was written") {
			b.Fatalf("something was written: %s", r.out)
		}
		ours += r.took
	}
	b.ReportMetric(theirs.Seconds()/times, "istioctl-s")
	b.ReportMetric(ours.Seconds()/times, "isthmus-s")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
}
