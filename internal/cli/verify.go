package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/input"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/seal"
	"isthmus.dev/isthmus/internal/verify"
)

type verifyFlags struct {
	image, junit    string
	token           string
	keep            bool
	calls           int
	settle, timeout time.Duration
}

func newVerify(e *env) *cobra.Command {
	var flags verifyFlags
	c := &cobra.Command{
		Use:   "verify",
		Short: "Prove it: real calls between every pair of clusters",
		Long: `Verify brings a server, a client and a stranger to every cluster, and has them call each other for real:
  delivered    HTTP, gRPC and TCP calls from every cluster arrive at a server of the cluster that was meant
  encrypted    with mutual TLS, and both ends are who they should be, by what the server's own proxy saw
  refused      a caller without a certificate of the mesh, or with a forged one, at the door of every cluster
  refused      plain text
  refused      a caller of the mesh whom the server's AuthorizationPolicy does not let in
  refused      a token that its issuer did not sign, where the document has issuers (spec.identity.jwt)
  own token    with --token: a token of yours is let in where one of its issuer is asked for, by each rule of spec.access
               that its claims satisfy, and by no other
  kept local   calls to a service that every cluster has are answered, and in the caller's own cluster where failover
               (spec.traffic) has callers prefer their region and the regions of the clusters differ
  failover     calls to a service that the caller's own cluster loses are answered in another cluster, and the caller's
               proxy leaves out endpoints that stop answering (spec.traffic.failover)
  ingress      calls from outside through the ingress gateway of each cluster that has one (profile default or demo)
               reach a server in each other cluster
Each call that passes is made some more times (--calls), and all of them must pass: one that goes now and then is not
proved, and how many were lost is told. Then it takes everything away again, also after Ctrl-C. A failure names the broken link and the next command.

The workloads run this very program: put it where the clusters can get it with isthmus image, and name it in the
document (spec.verify.image) or with --image.

Exits 0 when everything is proved, 4 when something is not, 1 when no proof could be made.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := e.format(screen.JSON, screen.YAML, screen.JUnit); err != nil {
				return err
			}
			eng, err := e.engine()
			if err != nil {
				return err
			}
			eng.Mesh.Verify.Image = cmp.Or(flags.image, eng.Mesh.Verify.Image)
			switch {
			case flags.calls < 1 || flags.calls > 1000:
				return usagef("--calls %d: from 1 to 1000", flags.calls)
			case eng.Mesh.Verify.Image == "":
				return usagef("no image to run: spec.verify.image in %s is empty, and there is no --image\n"+
					"  Make one of this program: isthmus image --push REGISTRY/isthmus:1   then name it there", e.file)
			}
			token, err := e.token(flags.token)
			if err != nil {
				return err
			}
			return e.verify(c.Context(), eng, flags, token)
		},
	}
	f := c.Flags()
	f.StringVar(&flags.image, "image", "", "image of the workloads (default: the document's spec.verify.image)")
	f.BoolVar(&flags.keep, "keep", false, "leave the workloads where they are; the next verify uses them and is faster")
	f.DurationVar(&flags.settle, "settle", 30*time.Second, "how long a call that fails is tried again, unless that is hopeless")
	f.DurationVar(&flags.timeout, "timeout", 3*time.Minute, "bounds everything")
	f.StringVar(&flags.token, "token", "", "file with a JWT of yours, or - for standard input, to be let in where the document asks for one; never shown")
	f.IntVar(&flags.calls, "calls", 20, "how often each call is made again after it first passed; all of them must pass")
	f.StringVar(&flags.junit, "junit", "", "also write a JUnit report to this file")
	return c
}

// token reads a person's own token from a file or from standard input; nil where none is given. No error repeats it.
func (e *env) token(file string) (*verify.Token, error) {
	if file == "" {
		return nil, nil
	}
	if file == "-" && e.file == "-" {
		return nil, usagef("standard input is the document (-f -): give the token in a file")
	}
	const most = 64 << 10 // more than any header may have
	from := e.In
	if file != "-" {
		f, err := input.Open(file, most)
		if err != nil {
			return nil, fmt.Errorf("read --token: %w", err)
		}
		defer f.Close()
		from = f
	}
	text, err := input.All(from, most)
	if err != nil {
		return nil, fmt.Errorf("read --token: %w", err)
	}
	claims, token, err := parseToken(string(text))
	if err != nil {
		return nil, err
	}
	return verify.NewToken(token, claims), nil
}

func (e *env) verify(ctx context.Context, eng engine.Engine, flags verifyFlags, token *verify.Token) error {
	bounded, cancel := context.WithTimeout(ctx, flags.timeout)
	defer cancel()
	conns, err := eng.Conns()
	if err != nil {
		return err
	}
	progress := screen.NewProgress(e.Streams)
	prover := prover(eng, conns, flags, stepsOn(progress))
	prover.Token = token
	proof, err := prover.Prove(bounded)
	progress.Close()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted\n  %s. Again: isthmus verify", whatIsLeft(eng.Mesh, flags.keep))
	case bounded.Err() != nil && err != nil:
		return fmt.Errorf("no proof within %s (--timeout): %w", flags.timeout, err)
	case err != nil:
		return err
	}
	if flags.junit != "" {
		if err := writeJUnitFile(flags.junit, proof); err != nil {
			return err
		}
	}
	if err := e.showProof(proof, eng.Mesh); err != nil {
		return err
	}
	if !proof.Passed {
		return checksFailed()
	}
	return nil
}

// prover puts a proof together over real clusters.
func prover(eng engine.Engine, conns map[string]*cluster.Conn, flags verifyFlags, report func(verify.Step)) *verify.Prover {
	namespace, inventory := eng.Mesh.Verify.Namespace, facts.InventoryName(verify.ProbeSet(eng.Mesh))
	applier := &apply.Applier{
		Conns: conns, RetryFor: 10 * time.Second, Detach: true, Unready: true,
		Sealers: seal.Sealers(eng.Mesh, conns, eng.Now, eng.Rand),
	}
	sites := map[string]verify.Site{}
	for name, conn := range conns {
		sites[name] = verify.ClusterSite{
			Conn: conn, Namespace: namespace,
			Apply: func(ctx context.Context, objects []object.Object) error {
				_, err := applier.ApplySet(ctx, conn, objects, inventory, nil)
				return err
			},
			Delete: func(ctx context.Context) error {
				_, err := applier.DeleteSet(ctx, conn, inventory, nil)
				return err
			},
		}
	}
	return &verify.Prover{
		Mesh: eng.Mesh, Sites: sites, Now: eng.Now, Keep: flags.keep, Report: report,
		Limits: verify.Limits{Settle: flags.settle, Calls: flags.calls},
		Facts:  func(ctx context.Context) facts.Snapshot { return eng.Facts(ctx, nil) },
		Look: func(ctx context.Context, name string, pods map[verify.Role]verify.Pod) verify.SiteEvidence {
			c, _ := eng.Mesh.Cluster(name) // it is one of the mesh's
			return verify.Witness(ctx, conns[name], c.IstioNamespace(), namespace, pods)
		},
	}
}

// stepsOn shows steps as progress. What ended well goes away with the progress: the matrix says it. What did not
// stays.
func stepsOn(p *screen.Progress) func(verify.Step) {
	return func(s verify.Step) {
		if s.Done && !s.OK {
			p.Done(s.Key, screen.No, s.Text)
			return
		}
		p.Set(s.Key, s.Text)
	}
}

func whatIsLeft(m mesh.Mesh, keep bool) string {
	if keep {
		return "The workloads were left in namespace " + m.Verify.Namespace
	}
	return "The workloads were taken away, unless a line above says otherwise"
}

func writeJUnitFile(file string, p verify.Proof) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	return errors.Join(writeSuite(f, p.JUnit()), f.Close())
}
