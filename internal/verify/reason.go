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
	Door     string
	Evidence Evidence
}

// A rule recognises one broken link. It says nothing ("", false) about what it cannot see.
type rule struct {
	code  string
	judge func(Case) (Reason, bool)
}

// rules in the order in which links are to be mended: what comes first makes what comes later meaningless.
var rules = []rule{
	{"caller-away", callerAway},
	{"target-away", targetAway},
	{"not-placed", notPlaced},
	{"control-plane-not-ready", controlPlaneNotReady},
	{"pod-not-ready", podNotReady},
	{"no-sidecar", noSidecar},
	{"not-asked", notAsked},
	{"gateway-missing", gatewayMissing},
	{"gateway-not-ready", gatewayNotReady},
	{"gateway-no-address", gatewayNoAddress},
	{"other-root", otherRoot},
	{"mtls-off", mtlsOff},
	{"remote-secret-missing", remoteSecretMissing},
	{"remote-credential-ended", remoteCredentialEnded},
	{"remote-not-synced", remoteNotSynced},
	{"dns", noName},
	{"forbidden", forbidden},
	{"gateway-unreachable", gatewayUnreachable},
	{"pods-unreachable", podsUnreachable},
	{"no-endpoint", noEndpoint},
	{"certificate-refused", certificateRefused},
	{"wrong-cluster", wrongCluster},
	{"not-encrypted", notEncrypted},
	{"stranger-served", strangerServed},
}

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

// kubectl is a command against a cluster of the document.
func kubectl(c mesh.Cluster, args string) string {
	return fmt.Sprintf("kubectl --context %s %s", c.Context, args)
}

// asSeen is the reason where there is no better one.
func (c Case) asSeen() Reason {
	r := Reason{Code: "unknown", Next: "isthmus status"}
	switch {
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
	switch {
	case strings.Contains(r.Body+r.Error, "CERTIFICATE_VERIFY_FAILED"):
		return "certificate not trusted"
	case r.Class == probe.Status || r.Class == probe.Foreign:
		return short(r)
	case r.Class == probe.DNS:
		return "name not found"
	case r.Class == probe.Refused:
		return "connection refused"
	case r.Class == probe.Unreachable:
		return "no route"
	case r.Class == probe.Timeout:
		return "no answer in time"
	case r.Class == probe.Reset:
		return "closed without an answer"
	case r.Class == probe.TLSAlert:
		return "TLS alert: " + r.Error[strings.LastIndex(r.Error, ": ")+1:]
	case r.Class == "":
		return "answered"
	}
	return r.Error
}

// short is an answer's body without what Envoy says of every failed connection.
func short(r probe.Result) string {
	const noise = "upstream connect error or disconnect/reset before headers. "
	text := strings.TrimPrefix(strings.TrimPrefix(r.Body, noise), "reset reason: ")
	const most = 60
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most-1]) + "…"
	}
	if text == "" {
		text = fmt.Sprintf("answered %d", r.Code)
	}
	return text
}
