package registry

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// A guard lets requests out. It stands below all that adds credentials and follows redirects, so it sees every request
// as it is sent: one with a secret in it goes to the registry, or to its own realm of tokens, over TLS or within this
// machine. It also ends answers that are longer than anybody needs.
type guard struct {
	// registry is HOST[:PORT], whose credentials these are; secret tells that there are any.
	registry string
	secret   bool
	// open tells that the registry itself is one that the library asks without TLS: on this machine, or at an address of
	// a private network. Nobody else is then.
	open  bool
	plain []string
	most  int64
	inner http.RoundTripper
}

// A CredentialsError says why credentials were not sent.
type CredentialsError struct{ Registry, To, Why string }

func (e *CredentialsError) Error() string {
	return fmt.Sprintf("the credentials of registry %s are not sent to %s: %s", e.Registry, e.To, e.Why)
}

// RoundTrip makes a request, or refuses to.
func (g guard) RoundTrip(q *http.Request) (*http.Response, error) {
	if err := g.lets(q); err != nil {
		if q.Body != nil {
			_ = q.Body.Close() // as every RoundTripper does
		}
		return nil, err
	}
	a, err := g.inner.RoundTrip(q)
	if err != nil {
		return nil, err
	}
	a.Body = &bounded{ReadCloser: a.Body, left: g.most}
	return a, nil
}

// holdsSecret tells whether a request has credentials, or a token that was got for them: in its header or, where a
// token is asked for as OAuth does, in its form.
func holdsSecret(q *http.Request) bool {
	return q.Header.Get("Authorization") != "" || strings.HasPrefix(q.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}

func (g guard) lets(q *http.Request) error {
	to := q.URL.Scheme + "://" + q.URL.Host
	secure := q.URL.Scheme == "https" || isLoopback(q.URL.Hostname()) ||
		slices.ContainsFunc(g.plain, func(host string) bool { return sameHost(host, q.URL.Host) })
	own := sameHost(q.URL.Host, g.registry)
	if !g.secret || !holdsSecret(q) {
		if mayAnswer := secure || own && g.open; !mayAnswer {
			return fmt.Errorf("registry %s leads to %s, and without TLS everybody on the way may answer", g.registry, to)
		}
		return nil
	}
	refuse := func(why string) error { return &CredentialsError{Registry: g.registry, To: to, Why: why} }
	switch {
	case !own && (q.URL.Scheme != "https" || !sameSite(q.URL.Host, g.registry)):
		return refuse("that is another host; only one of the registry's own domain may ask for them. docker logout " + g.registry +
			" if none are needed, or mirror what is there to a registry of yours")
	case !secure:
		return refuse("without TLS everybody on the way reads them. --plain-http " + q.URL.Host + " allows it")
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// sameHost compares HOST[:PORT]. A port that is left out and one that is the scheme's own are two different texts, and
// count as different: nothing here ever changes the one into the other.
func sameHost(a, b string) bool { return strings.EqualFold(a, b) }

// sameSite tells whether two hosts are of one owner by their names: auth.docker.io and index.docker.io. Addresses have
// none.
func sameSite(a, b string) bool {
	site := func(host string) string {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if net.ParseIP(strings.Trim(host, "[]")) != nil {
			return ""
		}
		s, err := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(host))
		if err != nil {
			return ""
		}
		return s
	}
	return site(a) != "" && site(a) == site(b)
}

// bounded is an answer that ends with an error where it is too long.
type bounded struct {
	io.ReadCloser
	left int64
}

// Read reads what is left, and says when it was too much.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, fmt.Errorf("the registry's answer is longer than what is read of it")
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		return n, fmt.Errorf("the registry's answer is longer than what is read of it")
	}
	return n, err
}
