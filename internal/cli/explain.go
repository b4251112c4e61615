package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/evidence"
	"isthmus.dev/isthmus/internal/explain"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/input"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/screen"
)

type explainFlags struct {
	from, to, namespace string
	port                int
	method, path        string
	headers             []string
	token               string
	probe               bool
	image               string
	deadline            time.Duration
	record              string
	replay              string
}

func newExplain(e *env) *cobra.Command {
	var flags explainFlags
	c := &cobra.Command{
		Use:   "explain FROM TO | --from CLUSTER --to CLUSTER",
		Short: "Why does, or does not, a call arrive: every hop, the first broken link, what mends it",
		Long: `Explain follows a call from the caller's proxy to the callee and says what decides each hop: route, VirtualService
and subset, endpoints, identity, gateway, the callee's proxy and its policies. It reads the live configuration of both
clusters and of the proxies themselves (by exec, as istioctl does), and writes nothing.

FROM and TO are NAMESPACE/WORKLOAD@CLUSTER. TO may be a Service or a workload. Without @CLUSTER it is where pods of
that name run, for TO the caller's own cluster first; without a namespace it is that of -n. With --from and --to whole
clusters are asked about: control plane, trust and gateway.

--probe makes a real call, from a container of the caller's own pod if it has a program for that, or else from a pod
that is placed beside it for a moment (image: spec.verify.image), and says whether it went as predicted.

Every cause has an id: isthmus help EXP030. Exit 4 if a link is broken, 1 if no call could be made for --probe.`,
		Example: `  isthmus explain demo/client@east demo/echo@west
  isthmus explain demo/client@east demo/echo@west --method POST --path /pay --probe
  isthmus explain --from east --to west`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := e.format(screen.JSON, screen.YAML); err != nil {
				return err
			}
			q, err := flags.question(args, e)
			if err != nil {
				return err
			}
			return e.explain(c.Context(), q, flags)
		},
	}
	f := c.Flags()
	f.StringVar(&flags.from, "from", "", "the calling cluster, to ask about whole clusters")
	f.StringVar(&flags.to, "to", "", "the called cluster")
	f.StringVarP(&flags.namespace, "namespace", "n", "default", "namespace of parties that name none")
	f.IntVar(&flags.port, "port", 0, "port of the Service (default: its first HTTP port)")
	f.StringVar(&flags.method, "method", "GET", "method of the call")
	f.StringVar(&flags.path, "path", "/", "path of the call")
	f.StringArrayVar(&flags.headers, "header", nil, "name: value; may be repeated")
	f.StringVar(&flags.token, "token", "", "JWT of the call, or @FILE; it is read, not checked, and never shown")
	f.BoolVar(&flags.probe, "probe", false, "prove it with a real call")
	f.StringVar(&flags.image, "image", "", "image of a pod to call from (default: the document's spec.verify.image)")
	f.DurationVar(&flags.deadline, "deadline", evidence.DefaultDeadline, "how long reading may take")
	f.StringVar(&flags.record, "record", "", "also write what was read to this file; of a token, what it claims")
	f.StringVar(&flags.replay, "replay", "", "judge what --record wrote, and ask no cluster")
	return c
}

func (f explainFlags) question(args []string, e *env) (evidence.Question, error) {
	q := evidence.Question{Port: f.port, Method: strings.ToUpper(f.method), Path: f.path, Headers: map[string]string{}}
	whole := f.from != "" || f.to != ""
	switch {
	case f.replay != "" && len(args) == 0 && !whole:
		return q, nil
	case whole && (f.from == "" || f.to == "" || len(args) > 0):
		return q, usagef("whole clusters take both --from and --to, and nothing else: isthmus explain --from east --to west")
	case whole && f.from == f.to:
		return q, usagef("--from and --to are both %s: between workloads of one cluster write isthmus explain FROM TO", f.from)
	case whole && f.probe:
		return q, usagef("--probe needs a caller: isthmus explain FROM TO --probe; between clusters: isthmus verify")
	case whole:
		q.From.Cluster, q.To.Cluster = f.from, f.to
		return q, nil
	case len(args) != 2:
		return q, usagef("who calls whom? isthmus explain demo/client@east demo/echo@west")
	}
	var err error
	if q.From, err = party(args[0], f.namespace); err != nil {
		return q, err
	}
	if q.To, err = party(args[1], f.namespace); err != nil {
		return q, err
	}
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return q, usagef("--header takes \"name: value\", not %q", h)
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "authorization" { // --record would keep it
			return q, usagef("a token is given with --token, which keeps it out of what is shown and recorded")
		}
		q.Headers[name] = strings.TrimSpace(value)
	}
	if f.token != "" {
		q.Claims, q.Token, err = claims(f.token)
	}
	return q, err
}

// party reads NAMESPACE/NAME@CLUSTER and its shorter forms.
func party(text, namespace string) (explain.Party, error) {
	p := explain.Party{Namespace: namespace}
	rest, cluster, at := strings.Cut(text, "@")
	ns, name, slash := strings.Cut(rest, "/")
	if slash {
		p.Namespace, p.Name = ns, name
	} else {
		p.Name = rest
	}
	p.Cluster = cluster
	if p.Name == "" || p.Namespace == "" || at && cluster == "" || strings.Contains(p.Name, "/") || strings.Contains(cluster, "@") {
		return p, usagef("%q is no NAMESPACE/WORKLOAD@CLUSTER", text)
	}
	return p, nil
}

// claims reads what a token, or one in a file, says. Errors never repeat it.
func claims(token string) (map[string]any, string, error) {
	if file, ok := strings.CutPrefix(token, "@"); ok {
		data, err := input.ReadFile(file, input.Document)
		if err != nil {
			return nil, "", fmt.Errorf("read --token: %w", err)
		}
		token = string(data)
	}
	return parseToken(token)
}

// parseToken reads what a token says, and returns it without the space around it. Errors never repeat it.
func parseToken(token string) (map[string]any, string, error) {
	token = strings.TrimSpace(token)
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, "", usagef("--token is no JWT: it has not three parts")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, "", usagef("--token is no JWT: its second part is not base64url")
	}
	out := map[string]any{}
	if json.Unmarshal(raw, &out) != nil {
		return nil, "", usagef("--token is no JWT: its second part is not JSON")
	}
	return out, token, nil
}

func (e *env) explain(ctx context.Context, q evidence.Question, flags explainFlags) error {
	seen, m, err := e.evidence(ctx, q, flags)
	if err != nil {
		return err
	}
	path := explain.Judge(seen)
	if flags.probe && flags.replay == "" {
		if flags.image != "" {
			m.Verify.Image = flags.image
		}
		wait := screen.NewProgress(e.Streams)
		wait.Set("probe", "calling "+path.To+" from "+path.From)
		p := evidence.Prober{Mesh: m, Dial: e.dial, Apply: placer}.Probe(ctx, seen, q.Token)
		wait.Close()
		path.Prove(p)
	}
	if err := e.show(path, func(p *screen.Page) { pathPage(p, path, flags.probe) }); err != nil {
		return err
	}
	switch {
	case path.Cause != nil, path.Probe != nil && path.Probe.Err == "" && !path.Probe.Delivered:
		return checksFailed()
	case path.Probe != nil && path.Probe.Err != "":
		return &exitError{code: exitFailed}
	}
	return nil
}

// evidence is gathered, or read from what was recorded.
func (e *env) evidence(ctx context.Context, q evidence.Question, flags explainFlags) (explain.Evidence, mesh.Mesh, error) {
	var seen explain.Evidence
	if flags.replay != "" {
		data, err := input.ReadFile(flags.replay, input.Files)
		if err != nil {
			return seen, mesh.Mesh{}, fmt.Errorf("read --replay: %w", err)
		}
		if err := json.Unmarshal(data, &seen); err != nil {
			return seen, mesh.Mesh{}, fmt.Errorf("read --replay %s: %w", flags.replay, err)
		}
		return seen, mesh.Mesh{}, nil
	}
	m, err := e.mesh()
	if err != nil {
		return seen, m, err
	}
	bounded, cancel := context.WithTimeout(ctx, flags.deadline)
	defer cancel()
	wait := screen.NewProgress(e.Streams)
	wait.Set("explain", "asking clusters and proxies")
	seen, err = evidence.Gatherer{Mesh: m, Dial: e.dial, Now: time.Now}.Gather(bounded, q)
	wait.Close()
	switch {
	case ctx.Err() != nil:
		return seen, m, errors.New("interrupted; nothing was changed")
	case bounded.Err() != nil && err != nil:
		return seen, m, fmt.Errorf("not everything was read within %s (--deadline): %w", flags.deadline, err)
	case err != nil:
		return seen, m, err
	}
	if flags.record != "" {
		data, err := json.MarshalIndent(seen, "", " ")
		if err != nil {
			return seen, m, err
		}
		if err := os.WriteFile(flags.record, data, 0o600); err != nil {
			return seen, m, fmt.Errorf("write --record: %w", err)
		}
	}
	return seen, m, nil
}

// placer writes what a probe needs, through the only writer.
var placer = evidence.Placer{
	Place: func(ctx context.Context, conn *cluster.Conn, set string, objects []object.Object) error {
		a := &apply.Applier{RetryFor: 10 * time.Second, ReadyFor: time.Minute, Detach: true}
		_, err := a.ApplySet(ctx, conn, objects, facts.InventoryName(set), nil)
		return err
	},
	Remove: func(ctx context.Context, conn *cluster.Conn, set string) error {
		a := &apply.Applier{RetryFor: 10 * time.Second, ReadyFor: time.Minute, Detach: true}
		_, err := a.DeleteSet(ctx, conn, facts.InventoryName(set), nil)
		return err
	},
}
