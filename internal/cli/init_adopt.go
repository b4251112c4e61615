package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"isthmus.dev/isthmus/internal/adopt"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/screen"
)

// initAdopt writes the document of the Istio that runs in some clusters.
func (e *env) initAdopt(ctx context.Context, d mesh.Draft, force bool) error {
	m := mesh.Mesh{Name: mesh.Label(d.Name)}
	for i, name := range mesh.ClusterNames(d.Contexts) {
		m.Clusters = append(m.Clusters, mesh.Cluster{Name: name, Context: d.Contexts[i]})
	}
	wait := screen.NewProgress(e.Streams)
	wait.Set("facts", "reading "+clusters(len(m.Clusters)))
	now := facts.Gather(ctx, m, nil, e.dial, 0, time.Now)
	want := object.Objects{}
	for name, c := range now.Clusters {
		want.Add(name, adopt.Objects(c)...)
	}
	now = facts.Gather(ctx, m, want, e.dial, 0, time.Now)
	wait.Close()
	members := make([]adopt.Member, 0, len(m.Clusters))
	for _, c := range m.Clusters {
		at := now.Clusters[c.Name]
		if at.Err != "" {
			return fmt.Errorf("cluster %s does not answer: %s\n  Nothing was written: what runs there must be read. Try: kubectl --context %s get --raw /readyz", c.Name, at.Err, c.Context)
		}
		members = append(members, adopt.Member{Context: c.Context, Facts: at})
	}
	doc, err := adopt.Write(d.Name, members)
	if err != nil {
		return err
	}
	if e.file == "-" {
		_, err := io.WriteString(e.Out, doc.Text)
		return err
	}
	if err := write(e.file, doc.Text, force); err != nil {
		return err
	}
	done := struct {
		File   string   `json:"file"`
		Mesh   string   `json:"mesh"`
		Untold []string `json:"untold,omitempty"`
	}{e.file, doc.Name, doc.Untold}
	return e.show(done, func(p *screen.Page) {
		fmt.Fprintf(p, "Wrote %s: mesh %q of %s, as it runs.\n", e.file, doc.Name, clusters(len(members)))
		for _, u := range doc.Untold {
			fmt.Fprintf(p, "%s %s\n", p.Mark(screen.Hmm), u)
		}
		fmt.Fprintf(p, "Next: isthmus plan --adopt%s\n", e.sameFlags())
	})
}
