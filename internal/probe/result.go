package probe

import "time"

// A Call says whom to call and how. To begins with one of the protocols: "http://name:80/path", "grpc://name:90",
// "tcp://name:9000", "tls://address:15443".
type Call struct {
	// ID comes back in the result.
	ID string `json:"id,omitempty"`
	To string `json:"to"`
	// Count is how many calls are made, one after another, over one connection where the protocol has one.
	// Zero: 1.
	Count int `json:"count,omitempty"`
	// Repeat is how often all of that is done, each time anew, to see whether it always ends in the same way. The result
	// is the first that ends otherwise than the first one, if any does. Zero: once.
	Repeat int `json:"repeat,omitempty"`
	// TimeoutMillis bounds each call. Zero: 3000.
	TimeoutMillis int `json:"timeoutMillis,omitempty"`
	// SNI is the server name that a tls call asks for; empty: none.
	SNI string `json:"sni,omitempty"`
	// Method is an http call's; none: GET. Headers are an http or grpc call's; "host" is whom it asks for.
	Method  string            `json:"method,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	// Forge makes a tls call present a certificate for this SPIFFE identity, signed by a root made on the spot.
	// Empty: no certificate.
	Forge string `json:"forge,omitempty"`
	// Token makes an http call bring a token of this issuer, signed by a key made on the spot. Nil: none.
	Token *Token `json:"token,omitempty"`
}

// timeout of each call.
func (c Call) timeout() time.Duration {
	if c.TimeoutMillis <= 0 {
		return 3 * time.Second
	}
	return time.Duration(c.TimeoutMillis) * time.Millisecond
}

// A Class says how a call failed, in one word that does not change with a library's texts.
type Class string

// The classes. The empty one is success.
const (
	DNS         Class = "dns"         // the name does not exist or no DNS server answered
	Refused     Class = "refused"     // connection refused: nobody listens
	Unreachable Class = "unreachable" // no route to that address
	Timeout     Class = "timeout"     // no answer in time
	Reset       Class = "reset"       // connected, then closed or reset without an answer
	TLSAlert    Class = "tls-alert"   // the other side ended the handshake and said why
	Status      Class = "status"      // an answer that is no success: see Code, Body and Flag
	Foreign     Class = "foreign"     // an answer, but not from a probe server
	Other       Class = "other"
)

// A Result is how a call ended.
type Result struct {
	ID string `json:"id,omitempty"`
	To string `json:"to"`
	// OK tells whether every call was answered by a probe server. For a tls call it is true if anything was
	// answered at all, which is bad news: see Verdict.
	OK bool `json:"ok"`
	// Sent and Answered count calls; a first failure ends the row.
	Sent     int `json:"sent"`
	Answered int `json:"answered"`
	// Repeated is how often it was done where Call.Repeat asked for that, and Differed how often it ended otherwise than
	// the first time.
	Repeated int `json:"repeated,omitempty"`
	Differed int `json:"differed,omitempty"`
	// LatencyMillis is the median of the answered calls, with the connection's making left out where there
	// was more than one call.
	LatencyMillis float64 `json:"latencyMillis,omitempty"`
	// Reply is the last answer, Clusters where all the answers came from.
	Reply    *Reply         `json:"reply,omitempty"`
	Clusters map[string]int `json:"clusters,omitempty"`
	// Class, Error and, where something answered, Code (HTTP's or gRPC's) and the beginning of Body say what
	// went wrong. Flag is the Envoy response flag that the body betrays: UH, UF, UC, NR, RBAC...
	Class Class  `json:"class,omitempty"`
	Error string `json:"error,omitempty"`
	Code  int    `json:"code,omitempty"`
	Body  string `json:"body,omitempty"`
	Flag  string `json:"flag,omitempty"`
	// Shown is what the other side of a tls call showed of itself.
	Shown *Shown `json:"shown,omitempty"`
}

// Shown is what a TLS server showed before it took or refused the caller.
type Shown struct {
	// Identities are the SPIFFE names of its certificate.
	Identities []string `json:"identities,omitempty"`
	// Root is the SHA-256 of the self-signed certificate at the end of its chain, hex; empty if it sent none.
	Root string `json:"root,omitempty"`
	// Issuer is the name that signed the last certificate of the chain.
	Issuer string `json:"issuer,omitempty"`
	// AskedForCertificate tells whether it asked the caller for one.
	AskedForCertificate bool `json:"askedForCertificate"`
}

// A Verdict is what a call that should be refused shows.
type Verdict string

// The verdicts. Only the first is a proof that callers without a mesh identity are kept out.
const (
	TurnedAway Verdict = "refused"     // reached, and turned away for want of a mesh certificate
	Accepted   Verdict = "accepted"    // served: bad
	NotReached Verdict = "unreachable" // nothing is proved: no connection, or closed before it showed who it is
	Unclear    Verdict = "unclear"     // connected, and neither refused nor served in time
)

// Verdict judges a call that was made without a mesh certificate: raw TLS, or plain HTTP where mutual TLS is
// expected.
func (r Result) Verdict() Verdict {
	if r.OK || r.Class == Foreign {
		return Accepted
	}
	if r.Shown == nil { // plain text, or TLS that never showed a certificate
		switch {
		case protocolOf(r.To) == TLS:
			return NotReached
		case r.Class == Reset:
			return TurnedAway
		case r.Class == Status:
			return Accepted
		default:
			return NotReached
		}
	}
	switch {
	case r.Class == TLSAlert, r.Class == Reset && r.Shown.AskedForCertificate:
		return TurnedAway
	default:
		return Unclear
	}
}
