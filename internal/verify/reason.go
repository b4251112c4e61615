package verify

import (
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/probe"
)

// A Case is a failure together with what was seen around it.
type Case struct {
	Mesh     mesh.Mesh
	From, To mesh.Cluster
	// Kind is "" for calls that should have been delivered, else why the call should have been refused.
	Kind RefusalKind
	Path Path
	// Calls are the ones that failed; none if none could be made.
	Calls []CallProof
	// Knock is how a stranger's call at To's door ended; nil if there was none.
	Knock *probe.Result
	// Door is the address at which it knocked.
	Door string
	// Insider is how a call by a proxy of the mesh ended that should have been refused; nil for other kinds.
	Insider *probe.Result
	// Any is how calls ended to a service that every cluster has, and KeepsLocal tells that they should have stayed in
	// From, which To is then; nil for others. Rule is the DestinationRule that the caller's proxy has for it; "" if it has
	// none, or was not asked.
	Any        *probe.Result
	KeepsLocal bool
	Rule       string
	Evidence   Evidence
}

// A rule recognises one broken link. It says nothing (false) about what it cannot see.
type rule struct {
	code string
	// brief stands in the matrix where no call could be made; "" for rules that need a call.
	brief string
	judge func(Case) (Reason, bool)
}

// rules in the order in which links are to be mended: what comes first makes what comes later meaningless.
var rules = []rule{
	{"cluster-away", "API server away", clusterAway},
	{"control-plane-away", "control plane away", controlPlaneAway},
	{"control-plane-not-ready", "control plane not ready", controlPlaneNotReady},
	{"control-plane-unreachable", "control plane unreachable", controlPlaneUnreachable},
	{"not-placed", "workloads not placed", notPlaced},
	{"pod-not-ready", "pod not ready", podNotReady},
	{"no-sidecar", "no sidecar", noSidecar},
	{"not-asked", "client cannot be asked", notAsked},
	{"gateway-missing", "", gatewayMissing},
	{"gateway-not-ready", "", gatewayNotReady},
	{"gateway-no-address", "", gatewayNoAddress},
	{"other-root", "", otherRoot},
	{"root-not-taken-up", "", rootNotTakenUp},
	{"mtls-off", "", mtlsOff},
	{"remote-secret-missing", "", remoteSecretMissing},
	{"remote-credential-ended", "", remoteCredentialEnded},
	{"remote-not-synced", "", remoteNotSynced},
	{"dns", "", noName},
	{"forbidden", "", forbidden},
	{"gateway-unreachable", "", gatewayUnreachable},
	{"pods-unreachable", "", podsUnreachable},
	{"no-endpoint", "", noEndpoint},
	{"certificate-refused", "", certificateRefused},
	{"wrong-cluster", "", wrongCluster},
	{"not-encrypted", "", notEncrypted},
	{"stranger-served", "", strangerServed},
	{"uninvited-served", "", uninvitedServed},
	{"token-served", "", tokenServed},
	{"left-home", "", leftHome},
}

// briefly says in a few words why no call could be made.
func briefly(reasons []Reason) string {
	for _, r := range rules {
		if len(reasons) > 0 && r.code == reasons[0].Code && r.brief != "" {
			return r.brief
		}
	}
	return "no call could be made"
}

// unknown is the code of a failure that no rule knows.
const unknown = "unknown"

// Judge names the broken links behind a failure, the one to mend first first. It always names one: where no rule
// knows better, what was seen.
func Judge(c Case) []Reason {
	var reasons []Reason
	for _, r := range rules {
		if reason, ok := r.judge(c); ok {
			reason.Code = r.code
			reasons = append(reasons, reason)
		}
	}
	if len(reasons) == 0 {
		reasons = append(reasons, c.asSeen())
	}
	return reasons
}

// Proven tells whether the first reason is one that waiting will not change.
func Proven(reasons []Reason) bool { return len(reasons) > 0 && reasons[0].Proven }

// knows is the cluster whose istiod tells a caller's proxy of others, and beside which their remote secrets are: its
// own, or that of the primary that serves it.
func (c Case) knows() mesh.Cluster { return c.Mesh.Primary(c.From) }

func (c Case) from() SiteEvidence { return c.Evidence.Sites[c.From.Name] }
func (c Case) to() SiteEvidence   { return c.Evidence.Sites[c.To.Name] }

// saw tells whether a failed call's answer or error has a text in it.
func (c Case) saw(text string) bool {
	return slices.ContainsFunc(c.Calls, func(p CallProof) bool {
		return strings.Contains(p.Result.Body, text) || strings.Contains(p.Result.Error, text)
	})
}

// any tells whether a failed call fits.
func (c Case) any(fits func(CallProof) bool) (CallProof, bool) {
	i := slices.IndexFunc(c.Calls, fits)
	if i < 0 {
		return CallProof{}, false
	}
	return c.Calls[i], true
}

// asSeen is the reason where there is no better one.
func (c Case) asSeen() Reason {
	r := Reason{Code: unknown, Next: "isthmus status"}
	switch {
	case c.Any != nil:
		r.Text = fmt.Sprintf("calls from %s to a service that every cluster has end with: %s", c.From.Name, Describe(*c.Any))
	case c.Insider != nil && c.Kind == ForgedToken:
		r.Text = fmt.Sprintf("whether %s refuses forged tokens is not proved: the call from %s ends with: %s", c.To.Name, c.From.Name, Describe(*c.Insider))
	case c.Insider != nil:
		r.Text = fmt.Sprintf("whether %s refuses callers that no policy lets in is not proved: the call from %s ends with: %s", c.To.Name, c.From.Name, Describe(*c.Insider))
	case c.Kind != "" && c.Knock != nil:
		r.Text = fmt.Sprintf("whether %s refuses strangers (%s) is not proved: %s", c.To.Name, c.Kind, Describe(*c.Knock))
	case c.Kind != "":
		r.Text = fmt.Sprintf("whether %s refuses strangers (%s) is not proved: nobody could knock", c.To.Name, c.Kind)
	case len(c.Calls) > 0:
		r.Text = fmt.Sprintf("%s calls from %s to %s end with: %s", c.Calls[0].Protocol, c.From.Name, c.To.Name, c.Calls[0].Wrong)
	default:
		r.Text = fmt.Sprintf("no call from %s to %s could be made", c.From.Name, c.To.Name)
	}
	return r
}

// Describe says how a call ended, in a few words.
func Describe(r probe.Result) string {
	switch r.Class {
	case probe.Status, probe.Foreign:
		return short(r)
	case probe.DNS:
		return "name not found"
	case probe.Refused:
		return "connection refused"
	case probe.Unreachable:
		return "no route"
	case probe.Timeout:
		return "no answer in time"
	case probe.Reset:
		return "closed without an answer"
	case probe.TLSAlert:
		return "TLS alert: " + afterLast(r.Error, "tls: ")
	case "":
		return "answered"
	default:
		return r.Error
	}
}

// tlsErrors are the ends of BoringSSL's names for what goes wrong between two proxies.
var tlsErrors = []struct{ name, words string }{
	{"CERTIFICATE_VERIFY_FAILED", "certificate not trusted"},
	{"WRONG_VERSION_NUMBER", "plain text where TLS was expected"},
	{"CERTIFICATE_EXPIRED", "certificate has ended"},
	{"TLS_error", "TLS handshake failed"},
}

// short is an answer's body, and of what Envoy says of a failed connection only the cause.
func short(r probe.Result) string {
	for _, e := range tlsErrors {
		if strings.Contains(r.Body, e.name) {
			return e.words
		}
	}
	text := r.Body
	for _, noise := range []string{"reset reason: ", "transport failure reason: ", "delayed connect error: "} {
		if _, cause, found := strings.Cut(text, noise); found && cause != "" {
			text = cause
		}
	}
	const most = 60
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most-1]) + "…"
	}
	if text == "" {
		text = fmt.Sprintf("answered %d", r.Code)
	}
	return text
}

// afterLast is what stands behind the last mark in a text; all of it if the mark is not there.
func afterLast(text, mark string) string {
	if i := strings.LastIndex(text, mark); i >= 0 {
		return text[i+len(mark):]
	}
	return text
}
