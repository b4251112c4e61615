// Package probe is both ends of a proof: a small server that says what it saw of a call, and a caller that says
// how the call ended. What a reply claims about identities comes from what the server's own proxy saw in the
// caller's certificate, never from what the caller said of itself. It knows no cluster and no Kubernetes client,
// and judges nothing: internal/verify does.
package probe

import (
	"net/http"
	"slices"
	"strings"
)

// The ports that a server listens on unless told otherwise.
const (
	PortHTTP = 8080
	PortGRPC = 9090
	PortTCP  = 9000
)

// The protocols that a probe speaks, as they are written in the scheme of Call.To.
const (
	HTTP = "http"
	GRPC = "grpc"
	TCP  = "tcp"
	TLS  = "tls" // raw TLS with a certificate of no mesh, or none: it is meant to be refused
)

// A Reply is what a server says of one call.
type Reply struct {
	// Cluster and Pod are where the server runs, Version which of a service it is, as it was told at its start.
	Cluster string `json:"cluster"`
	Version string `json:"version,omitempty"`
	Pod     string `json:"pod,omitempty"`
	// Protocol is how the call came in: "http/1.1", "http/2.0", "grpc", "tcp".
	Protocol string `json:"protocol"`
	// Remote is the address that the server itself saw; behind a sidecar that is the sidecar's.
	Remote string `json:"remote"`
	// Caller is the SPIFFE identity in the caller's certificate, as seen by the server's proxy. Empty: the proxy
	// saw no certificate, or there is no proxy, or the protocol (tcp) has no place to say it.
	Caller string `json:"caller,omitempty"`
	// Server is the SPIFFE identity under which the server's proxy answered.
	Server string `json:"server,omitempty"`
	// Headers are those of the call that help to follow it; never one that may hold a credential.
	Headers map[string]string `json:"headers,omitempty"`
	// Echo is the line that a tcp call sent.
	Echo string `json:"echo,omitempty"`
	// Counts, for a call that asked for them (path /-/count), are the HTTP calls since the server began, by path.
	Counts map[string]int `json:"counts,omitempty"`
}

// told are the headers that a reply repeats: those by which a call is followed through proxies.
var told = []string{
	"Host", "User-Agent", headerAttempt, "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id",
	"X-Envoy-Peer-Metadata-Id", "Traceparent", "X-B3-Traceid",
}

// headerAttempt is where the caller's proxy says how often it has tried; the first time it says 1.
const headerAttempt = "X-Envoy-Attempt-Count"

// headerXFCC is where Envoy says what it saw of certificates.
const headerXFCC = "X-Forwarded-Client-Cert"

// fill completes a reply from what get returns for header names.
func (r *Reply) fill(get func(name string) string) {
	for _, name := range told {
		if v := get(name); v != "" {
			if r.Headers == nil {
				r.Headers = map[string]string{}
			}
			r.Headers[strings.ToLower(name)] = v
		}
	}
	certs, err := ParseXFCC(get(headerXFCC))
	if err != nil || len(certs) == 0 {
		return
	}
	// Proxies append: the last element is what the server's own proxy saw; the ones before are hearsay.
	last := certs[len(certs)-1]
	r.Caller, r.Server = spiffe(last.URI), spiffe(last.By)
}

// spiffe picks the first SPIFFE identity.
func spiffe(uris []string) string {
	i := slices.IndexFunc(uris, func(u string) bool { return strings.HasPrefix(u, "spiffe://") })
	if i < 0 {
		return ""
	}
	return uris[i]
}

// headerOf reads headers of a request; Host is not among a request's own.
func headerOf(r *http.Request) func(string) string {
	return func(name string) string {
		if name == "Host" {
			return r.Host
		}
		return strings.Join(r.Header.Values(name), ",")
	}
}
