package apply

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/plan"
)

// An OtherClusterError means that a connection leads to another cluster than the one that was read for the plan.
// Nothing was written.
type OtherClusterError struct {
	Cluster    string
	Want, Have string // kube-system's UIDs
}

func (e *OtherClusterError) Error() string {
	return fmt.Sprintf("cluster %s: what answers now is another cluster than the one that was planned for (its namespace kube-system has UID %s, not %s)\n  Nothing was changed. Let its context lead to the right one, and plan again", e.Cluster, e.Have, e.Want)
}

// sameClusters asks every cluster that a plan writes to whether it is the one that the plan was made from: a context may
// have come to lead elsewhere since, and the connections are new.
func (r *run) sameClusters(ctx context.Context, p plan.Plan) error {
	var written []string
	for _, w := range p.Waves {
		for _, c := range w.Changes {
			if c.Action != plan.Unchanged && p.UIDs[c.Cluster] != "" && !slices.Contains(written, c.Cluster) {
				written = append(written, c.Cluster)
			}
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, name := range written {
		g.Go(func() error { return r.same(ctx, name, p.UIDs[name]) })
	}
	return g.Wait()
}

func (r *run) same(ctx context.Context, name, want string) error {
	conn := r.a.Conns[name]
	if conn == nil {
		return fmt.Errorf("cluster %s: no connection to it was made, and something is to be changed there", name)
	}
	notice := func(text string) { r.report(Event{Wave: 1, Cluster: name, Text: text}) }
	return r.retry(ctx, notice, func(ctx context.Context) error {
		ns, err := conn.Kube.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
		switch {
		case err != nil:
			return fmt.Errorf("cluster %s: ask which cluster it is: %w", name, err)
		case string(ns.UID) != want:
			return &OtherClusterError{Cluster: name, Want: want, Have: string(ns.UID)}
		}
		return nil
	})
}
