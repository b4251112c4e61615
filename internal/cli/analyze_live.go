package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/analyze"
	"isthmus.dev/isthmus/internal/live"
	"isthmus.dev/isthmus/internal/screen"
)

// over reads the clusters of the document, and returns how files are judged and read over them. names are the
// clusters that files are given for; without files the clusters are judged alone.
func (e *env) over(ctx context.Context, a *analysis, names []string) (judge func([]analyze.Source) analyze.Report, read func([]analyze.Source) analyze.Input, err error) {
	m, err := e.mesh()
	if err != nil {
		return nil, nil, err
	}
	var members []string
	for _, c := range m.Clusters {
		members = append(members, c.Name)
	}
	for _, name := range names {
		if !slices.Contains(members, name) {
			return nil, nil, usagef("--cluster %s: mesh %s has no such cluster; it has %s", name, m.Name, strings.Join(members, ", "))
		}
	}
	a.options.TrustDomain = cmp.Or(a.options.TrustDomain, m.Trust.Domain)
	a.options.Failover = m.Failover != nil
	wait := screen.NewProgress(e.Streams)
	wait.Set("analyze", "reading "+clusters(len(members)))
	seen := live.All(ctx, m, e.dial, a.deadline, slices.Concat(live.Istio, live.GatewayAPI, live.Workloads)...)
	wait.Close()
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("stopped; again: isthmus analyze --live: %w", err)
	}
	now := analyze.Input{TrustDomain: a.options.TrustDomain, Failover: a.options.Failover}
	for _, x := range seen {
		objects := make([]map[string]any, 0, len(x.Objects))
		for _, u := range x.Objects {
			objects = append(objects, u.Object)
		}
		c, err := analyze.NewCluster(x.Name, x.Away, x.Unread, objects)
		if err != nil {
			return nil, nil, err
		}
		now.Clusters = append(now.Clusters, c)
	}
	files := func(s []analyze.Source) analyze.Input { return analyze.NewInput(s, members, a.options) }
	if len(a.paths)+len(a.clusters) == 0 {
		return func([]analyze.Source) analyze.Report { return analyze.NewReport(now) }, func([]analyze.Source) analyze.Input { return now }, nil
	}
	judge = func(s []analyze.Source) analyze.Report { return analyze.NewReportOver(now, files(s)) }
	return judge, func(s []analyze.Source) analyze.Input { return analyze.Over(now, files(s)) }, nil
}
