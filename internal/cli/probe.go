package cli

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/input"
	"isthmus.dev/isthmus/internal/probe"
	"isthmus.dev/isthmus/internal/screen"
)

// newProbe is what verify's pods run. It is not for people's everyday use, so the main help leaves it out.
func newProbe(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:    "probe",
		Short:  "What verify's pods run: a server that says what it saw, a caller that says how it went",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newProbeServe(e), newProbeCall(e), newProbeLoad(e))
	return c
}

func newProbeServe(e *env) *cobra.Command {
	var s probe.Server
	c := &cobra.Command{
		Use:   "serve",
		Short: "Answer HTTP, gRPC and TCP by saying what was seen of the call",
		Long: `Serve answers every call by saying what it saw of it. An HTTP call's path can ask for more:

  /-/count                      how many calls came, by path
  /-/status/503                 an answer with that status
  /-/status/503?cluster=east    with that status in that cluster alone
  /-/status/503?attempts=2      with that status to the first two attempts (X-Envoy-Attempt-Count)
  /-/wait/5s                    an answer after that time, a minute at most`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s.Pod = cmp.Or(s.Pod, e.Env("POD_NAME"), e.Env("HOSTNAME"))
			runtime.GC() // it lives for long, and from here on keeps no garbage: see package garbage
			return s.Serve(c.Context(), func(at probe.Addresses) {
				fmt.Fprintf(e.Err, "serving http %s, grpc %s, tcp %s\n", at.HTTP, at.GRPC, at.TCP)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&s.Cluster, "cluster", "", "the cluster to put into replies")
	f.StringVar(&s.Version, "version", "", "the version to put into replies")
	f.StringVar(&s.Pod, "pod", "", "the pod to put into replies (default: POD_NAME, then HOSTNAME)")
	f.StringVar(&s.HTTP, "http", fmt.Sprintf(":%d", probe.PortHTTP), "address for HTTP/1.1 and HTTP/2 without TLS; - for none")
	f.StringVar(&s.GRPC, "grpc", fmt.Sprintf(":%d", probe.PortGRPC), "address for gRPC's health service; - for none")
	f.StringVar(&s.TCP, "tcp", fmt.Sprintf(":%d", probe.PortTCP), "address for lines over TCP; - for none")
	return c
}

// probeFlags are how a caller is told what to call.
type probeFlags struct {
	to                       []string
	plan                     string
	count                    int
	timeout                  time.Duration
	address, sni, forge      string
	noCertificate, plaintext bool
}

func newProbeCall(e *env) *cobra.Command {
	var flags probeFlags
	c := &cobra.Command{
		Use:   "call",
		Short: "Make calls and say how they went",
		Long: `Call makes calls and says how each went: delivered and by whom, or what class of failure and what was said.

  isthmus probe call --to http://to-west/ --to grpc://to-west:9090 --to tcp://to-west:9000 --count 5
  isthmus probe call --tls-no-cert --address 198.18.0.12:15443 --sni outbound_.80_._.to-west.isthmus-verify.svc.cluster.local
  isthmus probe call --tls-forged-cert spiffe://cluster.local/ns/a/sa/b --address 198.18.0.12:15443 --sni ...
  isthmus probe call --plaintext --address 100.64.0.7:8080

The last three are meant to be refused. Exits 4 when a call that should be delivered is not, or one that should be
refused is not; always 0 with --plan, where the results say it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if flags.plan == "-" {
				plan, err := input.All(e.In, input.Document)
				if err != nil {
					return fmt.Errorf("read --plan from standard input: %w", err)
				}
				flags.plan = string(plan)
			}
			calls, err := flags.calls()
			if err != nil {
				return err
			}
			caller := probe.Caller{Now: time.Now, Rand: rand.Reader}
			results := caller.All(c.Context(), calls)
			bad := false
			for i, r := range results {
				bad = bad || !asMeant(calls[i], r, flags.plaintext)
			}
			err = e.show(results, func(p *screen.Page) {
				for i, r := range results {
					callLine(p, calls[i], r, flags.plaintext)
				}
			})
			if err == nil && bad && flags.plan == "" {
				return checksFailed()
			}
			return err
		},
	}
	f := c.Flags()
	f.StringArrayVar(&flags.to, "to", nil, "http://, grpc://, tcp:// or tls:// address to call; may be repeated")
	f.StringVar(&flags.plan, "plan", "", "a JSON array of calls instead; - reads it from standard input")
	f.IntVar(&flags.count, "count", 1, "how many calls to each")
	f.DurationVar(&flags.timeout, "timeout", 3*time.Second, "for each call")
	f.StringVar(&flags.address, "address", "", "host:port for the calls that are to be refused")
	f.StringVar(&flags.sni, "sni", "", "server name to ask for in TLS")
	f.BoolVar(&flags.noCertificate, "tls-no-cert", false, "speak TLS to --address without a certificate")
	f.StringVar(&flags.forge, "tls-forged-cert", "", "speak TLS to --address with a forged certificate for this SPIFFE identity")
	f.BoolVar(&flags.plaintext, "plaintext", false, "speak plain HTTP to --address, where mutual TLS is expected")
	return c
}

func newProbeLoad(e *env) *cobra.Command {
	var l probe.Load
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "load",
		Short: "Make calls at an even rate and say which were missed, second by second",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if l.To == "" || l.Rate < 1 || l.For < time.Second {
				return usagef("a load needs --to, a --rate of 1 or more and --for a second or more")
			}
			l.TimeoutMillis = int(timeout.Milliseconds())
			result, err := probe.Caller{Now: time.Now, Rand: rand.Reader}.Load(c.Context(), l)
			if err != nil {
				return usagef("%w", err)
			}
			return e.show(result, func(p *screen.Page) {
				fmt.Fprintf(p, "%s  %d of %d answered\n", l.To, result.Answered, result.Sent)
				for _, s := range result.Seconds {
					fmt.Fprintf(p, "  %s  sent %d, missed %d, slowest %d ms, by %v\n", s.At.Format(time.TimeOnly), s.Sent, s.Missed, s.SlowestMillis, s.Clusters)
				}
			})
		},
	}
	f := c.Flags()
	f.StringVar(&l.To, "to", "", "http://, grpc:// or tcp:// address to call")
	f.IntVar(&l.Rate, "rate", 10, "calls a second")
	f.DurationVar(&l.For, "for", 10*time.Second, "how long")
	f.DurationVar(&timeout, "timeout", 3*time.Second, "for each call")
	return c
}

// calls are what the flags ask for.
func (f probeFlags) calls() ([]probe.Call, error) {
	if f.plan != "" {
		var calls []probe.Call
		if err := json.Unmarshal([]byte(f.plan), &calls); err != nil {
			return nil, usagef("--plan is not a JSON array of calls: %w", err)
		}
		return calls, nil
	}
	common := probe.Call{Count: f.count, TimeoutMillis: int(f.timeout.Milliseconds())}
	var calls []probe.Call
	add := func(to, sni, forge string) {
		call := common
		call.To, call.SNI, call.Forge = to, sni, forge
		calls = append(calls, call)
	}
	for _, to := range f.to {
		add(to, f.sni, "")
	}
	if (f.noCertificate || f.forge != "" || f.plaintext) && f.address == "" {
		return nil, usagef("--tls-no-cert, --tls-forged-cert and --plaintext need --address HOST:PORT")
	}
	if f.noCertificate {
		add("tls://"+f.address, f.sni, "")
	}
	if f.forge != "" {
		add("tls://"+f.address, f.sni, f.forge)
	}
	if f.plaintext {
		add("http://"+f.address, "", "")
	}
	if len(calls) == 0 {
		return nil, usagef("nothing to call; see: isthmus probe call --help")
	}
	return calls, nil
}

// meantToFail tells calls that should be refused from those that should be delivered.
func meantToFail(c probe.Call, plaintext bool) bool {
	return strings.HasPrefix(c.To, "tls://") || plaintext
}

func asMeant(c probe.Call, r probe.Result, plaintext bool) bool {
	if meantToFail(c, plaintext) {
		return r.Verdict() == probe.TurnedAway
	}
	return r.OK
}

func callLine(p *screen.Page, c probe.Call, r probe.Result, plaintext bool) {
	mark := p.Mark(screen.No)
	if asMeant(c, r, plaintext) {
		mark = p.Mark(screen.Yes)
	}
	switch {
	case meantToFail(c, plaintext):
		fmt.Fprintf(p, "%s %s  %s", mark, c.To, r.Verdict())
		if r.Shown != nil {
			fmt.Fprintf(p, " by %s (root %.12s)", strings.Join(r.Shown.Identities, ", "), cmp.Or(r.Shown.Root, "not shown"))
		}
		fmt.Fprintf(p, "  %s\n", cmp.Or(r.Error, r.Body))
	case r.OK:
		fmt.Fprintf(p, "%s %s  %d/%d  %.1f ms  cluster %s, pod %s, caller %s\n", mark, c.To, r.Answered, r.Sent,
			r.LatencyMillis, r.Reply.Cluster, r.Reply.Pod, cmp.Or(r.Reply.Caller, "not seen"))
	default:
		fmt.Fprintf(p, "%s %s  %d/%d  %s  %s\n", mark, c.To, r.Answered, r.Sent, r.Class, r.Error)
	}
}
