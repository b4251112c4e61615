package verify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"isthmus.dev/isthmus/internal/probe"
)

// A Proof is what real calls between the clusters of a mesh showed. Its JSON form is part of the interface.
type Proof struct {
	Mesh string `json:"mesh"`
	// Taken is when the last call ended; TookMillis how long everything took.
	Taken      time.Time `json:"taken"`
	TookMillis int64     `json:"tookMillis"`
	// Passed tells whether everything that was asked was proved.
	Passed   bool            `json:"passed"`
	Clusters []ProvedCluster `json:"clusters"`
	// Cells are the ordered pairs of clusters, each cluster with itself too, in document order.
	Cells []Cell `json:"cells"`
	// Refusals are the calls that must be turned away.
	Refusals []Refusal `json:"refusals"`
	// Any are the calls to a service that every cluster has, one entry for each caller.
	Any []AnyCall `json:"any,omitempty"`
	// Failover are the calls to a service whose endpoints at home are gone, one entry for each caller; none where the
	// document has no failover.
	Failover []Failover `json:"failover,omitempty"`
	// Ingress are the calls from outside through ingress gateways, one entry for each ordered pair of clusters of which
	// the first has such a gateway.
	Ingress []IngressCall `json:"ingress,omitempty"`
	// Tokens are the calls where a token is asked for, of a proof with a person's own.
	Tokens []TokenCall `json:"tokens,omitempty"`
	// Failures are what went wrong, each cause once.
	Failures []Failure `json:"failures,omitempty"`
	// Kept tells that the workloads were left where they are on request; Left names clusters where they could
	// not be removed.
	Kept bool     `json:"kept,omitempty"`
	Left []string `json:"left,omitempty"`
}

// A ProvedCluster is a member and, if it could not take part as it should, why.
type ProvedCluster struct {
	Name    string `json:"name"`
	Network string `json:"network"`
	Problem string `json:"problem,omitempty"`
}

// A Path is the way that calls between two clusters take.
type Path string

// The paths.
const (
	Local   Path = "local"   // within one cluster
	Direct  Path = "direct"  // from pod to pod, on a shared network
	Gateway Path = "gateway" // through the target's east-west gateway
)

// A Cell is what calls from one cluster to another showed.
type Cell struct {
	From string `json:"from"`
	To   string `json:"to"`
	Path Path   `json:"path"`
	OK   bool   `json:"ok"`
	// Drained tells that To is drained, so that no call from here is meant to reach it, and none was made.
	Drained bool `json:"drained,omitempty"`
	// LatencyMillis is the median of the HTTP calls.
	LatencyMillis float64     `json:"latencyMillis,omitempty"`
	Calls         []CallProof `json:"calls,omitempty"`
	// Wrong is the first thing that went wrong, in a few words.
	Wrong string `json:"wrong,omitempty"`
	// Reasons are the broken links, the one to mend first first.
	Reasons []Reason `json:"reasons,omitempty"`
}

// A CallProof is what calls over one protocol showed.
type CallProof struct {
	Protocol string `json:"protocol"`
	// Delivered: answered by a server of the cluster that was meant.
	Delivered bool `json:"delivered"`
	// Encrypted: the server's proxy saw the caller's certificate, and both identities are the expected ones.
	// Nil for TCP, which has no place to say it: there, that plain text is refused is the proof.
	Encrypted *bool  `json:"encrypted,omitempty"`
	OK        bool   `json:"ok"`
	Wrong     string `json:"wrong,omitempty"`
	// Tries is how many times the call was made until this result.
	Tries int `json:"tries"`
	// Repeated is how often it was made again after it first passed, and Lost how many of those did not.
	Repeated int          `json:"repeated"`
	Lost     int          `json:"lost"`
	Result   probe.Result `json:"result"`
}

// Delivered tells whether every protocol's calls arrived where they should.
func (c Cell) Delivered() bool {
	return len(c.Calls) > 0 && !slices.ContainsFunc(c.Calls, func(p CallProof) bool { return !p.Delivered })
}

// Encrypted tells whether every protocol that can show it showed mutual TLS with the expected identities.
func (c Cell) Encrypted() bool {
	return len(c.Calls) > 0 && !slices.ContainsFunc(c.Calls, CallProof.bare)
}

// bare tells that a call was not seen to be encrypted, though it could have been.
func (p CallProof) bare() bool { return p.Encrypted != nil && !*p.Encrypted }

// A RefusalKind is why a call must be turned away.
type RefusalKind string

// The kinds.
const (
	NoCertificate RefusalKind = "no certificate"
	Forged        RefusalKind = "forged certificate"
	PlainText     RefusalKind = "plain text"
	// NotAllowed is a caller of the mesh whom the called one's policy does not let in.
	NotAllowed RefusalKind = "not allowed"
	// ForgedToken is a caller who is let in and brings a token that its issuer did not sign.
	ForgedToken RefusalKind = "forged token"
)

// inside tells whether a proxy of the mesh calls; of calls that should be delivered too.
func (k RefusalKind) inside() bool { return k == "" || k == NotAllowed || k == ForgedToken }

// A Refusal is a call by a stranger, which must be turned away, and how it ended.
type Refusal struct {
	From string      `json:"from"`
	To   string      `json:"to"`
	Kind RefusalKind `json:"kind"`
	// Issuer is whose token was forged: its name in the document.
	Issuer string `json:"issuer,omitempty"`
	// Door is the address at which the stranger knocked; empty if there was none to try.
	Door    string        `json:"door,omitempty"`
	OK      bool          `json:"ok"`
	Verdict probe.Verdict `json:"verdict,omitempty"`
	Wrong   string        `json:"wrong,omitempty"`
	Tries   int           `json:"tries"`
	// Repeated is how often it was made again after it was first turned away, and Lost how often it was not then.
	Repeated int           `json:"repeated"`
	Lost     int           `json:"lost"`
	Result   *probe.Result `json:"result,omitempty"`
	Reasons  []Reason      `json:"reasons,omitempty"`
}

// A Reason is a broken link.
type Reason struct {
	// Code is stable: "gateway-not-ready".
	Code string `json:"code"`
	// Text is one sentence for people; Next the command that mends it or shows more.
	Text string `json:"text"`
	Next string `json:"next"`
	// Proven: waiting will not change it. Otherwise things may still be on their way.
	Proven bool `json:"proven"`
}

// A Failure is a reason and everything that failed because of it.
type Failure struct {
	// Subjects: "east → west", "stranger from east at west (no certificate)".
	Subjects []string `json:"subjects"`
	Reason   Reason   `json:"reason"`
	// Why is the command that explains it hop by hop; "" where no call between two clusters failed.
	Why string `json:"why,omitempty"`
}

// A Tally counts what was proved of what was asked.
type Tally struct{ Proved, Asked int }

// Tallies are the promises: delivered and encrypted; strangers, plain text, who is not let in and forged tokens refused;
// calls kept in the caller's cluster, of those that are expected to stay there; and calls that went elsewhere when they
// had to, or came in from outside; and calls with a person's own token, let in or not as it says.
type Tallies struct{ Delivered, Encrypted, Strangers, Plain, Unallowed, Tokens, Local, Failover, Ingress, Own Tally }

// Tallies counts.
func (p Proof) Tallies() Tallies {
	var t Tallies
	for _, c := range p.Cells {
		if c.Drained {
			continue
		}
		t.Delivered.add(c.Delivered())
		t.Encrypted.add(c.Encrypted())
	}
	for _, r := range p.Refusals {
		switch r.Kind {
		case PlainText:
			t.Plain.add(r.OK)
		case NotAllowed:
			t.Unallowed.add(r.OK)
		case ForgedToken:
			t.Tokens.add(r.OK)
		default:
			t.Strangers.add(r.OK)
		}
	}
	for _, a := range p.Any {
		if a.Local {
			t.Local.add(a.OK)
		}
	}
	for _, f := range p.Failover {
		if f.Skipped == "" {
			t.Failover.add(f.OK)
		}
	}
	for _, c := range p.Ingress {
		if c.Skipped == "" {
			t.Ingress.add(c.OK)
		}
	}
	for _, c := range p.Tokens {
		t.Own.add(c.OK)
	}
	return t
}

func (t *Tally) add(proved bool) {
	t.Asked++
	if proved {
		t.Proved++
	}
}

// complete fills in what follows from cells and refusals.
func (p *Proof) complete() {
	p.Passed = true
	p.Failures = nil
	for _, c := range p.Cells {
		if !c.OK {
			f := p.fail(c.From+" → "+c.To, c.From+" → "+c.To, c.Reasons, c.Wrong)
			if f.Why == "" && c.From != c.To {
				f.Why = fmt.Sprintf("isthmus explain --from %s --to %s", c.From, c.To)
			}
		}
	}
	for _, r := range p.Refusals {
		if !r.OK {
			p.fail(r.From+" → "+r.To, fmt.Sprintf("%s%s at %s (%s)", r.Kind.caller(), r.From, r.To, r.Kind), r.Reasons, r.Wrong)
		}
	}
	for _, a := range p.Any {
		if !a.OK {
			subject := a.From + " → " + anyCluster
			p.fail(subject, subject, a.Reasons, a.Wrong)
		}
	}
	for _, f := range p.Failover {
		if !f.OK {
			subject := f.From + " → " + elsewhereOnly
			p.fail(subject, subject, f.Reasons, f.Wrong)
		}
	}
	for _, c := range p.Ingress {
		if !c.OK {
			p.fail(c.Via+" → "+c.To, c.subject(), c.Reasons, c.Wrong)
		}
	}
	for _, c := range p.Tokens {
		if !c.OK {
			p.fail(c.From+" → "+c.To, c.subject(), c.Reasons, c.Wrong)
		}
	}
}

// fail adds a subject to the failure that has the same cause: the same words, or the same broken link between the
// same two clusters, of which two calls may have seen different sides.
func (p *Proof) fail(pair, subject string, reasons []Reason, wrong string) *Failure {
	p.Passed = false
	reason := Reason{Code: "unknown", Text: wrong}
	if len(reasons) > 0 {
		reason = reasons[0]
	}
	i := slices.IndexFunc(p.Failures, func(f Failure) bool {
		return f.Reason.Code == reason.Code && (f.Reason.Text == reason.Text || slices.Contains(f.Subjects, pair))
	})
	if i < 0 {
		p.Failures = append(p.Failures, Failure{Reason: reason})
		i = len(p.Failures) - 1
	}
	p.Failures[i].Subjects = append(p.Failures[i].Subjects, subject)
	return &p.Failures[i]
}

// Title is what failed in a few words: the calls, or if there are none the strangers; all of a short list, the
// first of a long one.
func (f Failure) Title() string {
	subjects := slices.DeleteFunc(slices.Clone(f.Subjects), func(s string) bool {
		return strings.HasPrefix(s, stranger) || strings.HasPrefix(s, intruder) || strings.HasPrefix(s, bearer)
	})
	if len(subjects) == 0 {
		subjects = f.Subjects
	}
	const most = 4
	if len(subjects) <= most {
		return strings.Join(subjects, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(subjects[:most], ", "), len(subjects)-most)
}

// What begins a subject that is a call to be refused.
const (
	stranger = "stranger from "
	intruder = "uninvited from "
	bearer   = "client from "
)

// anyCluster is whom calls to a service that every cluster has are for.
const anyCluster = "any cluster"

// elsewhereOnly is whom calls are for to a service that the caller's cluster has no more.
const elsewhereOnly = "elsewhere"

// caller begins the subject of a call that must be refused.
func (k RefusalKind) caller() string {
	switch k {
	case NotAllowed:
		return intruder
	case ForgedToken:
		return bearer
	}
	return stranger
}
