package facts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/patience"
	"isthmus.dev/isthmus/internal/redact"
)

const (
	pings    = 3                      // requests that latency is the median of
	tries    = 3                      // attempts to reach an API server that refuses or resets
	tryAgain = 300 * time.Millisecond // between them
)

// A ping is one small request that an API server answered.
type ping struct {
	took time.Duration
	skew time.Duration
}

// reach asks the API server a few times for its version, which needs no rights, and learns how fast it answers,
// what its clock says and when its certificate ends.
func (g *gatherer) reach(ctx context.Context) error {
	g.serverFacts()
	client, err := rest.HTTPClientFor(g.conn.Config)
	if err != nil {
		return &reachError{cause: CauseContext, why: "the kubeconfig cannot be used: " + err.Error()}
	}
	base, _, err := rest.DefaultServerUrlFor(g.conn.Config)
	if err != nil {
		return &reachError{cause: CauseContext, why: fmt.Sprintf("server %q of the kubeconfig: %v", g.conn.Config.Host, err)}
	}
	began := g.now()
	var got []ping
	for try := 1; len(got) < pings; {
		p, err := g.ask(ctx, client, base)
		if err == nil {
			got = append(got, p)
			continue
		}
		if try == tries || ctx.Err() != nil || CauseOf(err) != CauseUnreachable {
			return g.unreachable(err, try, began)
		}
		try++
		_ = patience.Sleep(ctx, tryAgain) // asking once more tells that it is over
	}
	// The first one opened the connection; the later ones tell how long a request takes.
	got = got[1:]
	slices.SortFunc(got, func(a, b ping) int { return int(a.took - b.took) })
	g.out.Latency, g.out.ClockSkew = got[len(got)/2].took, got[0].skew
	return nil
}

func (g *gatherer) serverFacts() {
	cfg := g.conn.Config
	g.out.Server = cfg.Host
	g.out.Insecure = cfg.Insecure
	ca := cfg.CAData
	if len(ca) == 0 && cfg.CAFile != "" {
		ca, _ = os.ReadFile(cfg.CAFile) // the request that follows says it better
	}
	g.out.CABundle = certificatesOnly(ca)
}

// certificatesOnly leaves nothing of a PEM file but its certificates.
func certificatesOnly(data []byte) string {
	var b strings.Builder
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return b.String()
		}
		if block.Type == "CERTIFICATE" {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
		}
	}
}

func (g *gatherer) ask(ctx context.Context, client *http.Client, base *url.URL) (ping, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("/version").String(), http.NoBody)
	if err != nil {
		return ping{}, err
	}
	began := g.now()
	resp, err := client.Do(req)
	if err != nil {
		return ping{}, err
	}
	defer resp.Body.Close() // read only
	took := g.now().Sub(began)
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return ping{}, err
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusForbidden:
	case http.StatusUnauthorized:
		return ping{}, apierrors.NewUnauthorized("the API server does not know the caller")
	default:
		return ping{}, fmt.Errorf("it answers %s", resp.Status)
	}
	var v struct{ GitVersion string }
	if json.Unmarshal(body, &v) == nil && v.GitVersion != "" {
		g.out.Version = v.GitVersion
	}
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		g.out.ServerNotAfter = resp.TLS.PeerCertificates[0].NotAfter
	}
	return ping{took: took, skew: skew(resp.Header.Get("Date"), began, took)}, nil
}

// skew is how far a Date header is from the middle of the request. The header has whole seconds: what it says
// began up to a second ago, so a difference within that second is none.
func skew(date string, began time.Time, took time.Duration) time.Duration {
	at, err := http.ParseTime(date)
	if err != nil {
		return 0
	}
	middle := began.Add(took / 2)
	switch d := at.Sub(middle); {
	case d > 0:
		return d.Truncate(time.Second)
	case d < -time.Second:
		return (d + time.Second).Truncate(time.Second)
	}
	return 0
}

// A reachError is why a cluster did not answer.
type reachError struct {
	cause Cause
	why   string
}

func (e *reachError) Error() string { return e.why }

func (g *gatherer) unreachable(err error, tried int, began time.Time) error {
	took := g.now().Sub(began).Round(100 * time.Millisecond)
	times := fmt.Sprintf("%d tries in %s", tried, took)
	if tried == 1 {
		times = fmt.Sprintf("1 try in %s", took)
	}
	return &reachError{cause: CauseOf(err), why: fmt.Sprintf("%s (%s): %s", g.out.Server, times, Plain(err))}
}

// CauseOf tells why a request had no answer, or none that helps.
func CauseOf(err error) Cause {
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &verify), errors.As(err, &authority):
		return CauseTLS
	case apierrors.IsUnauthorized(err), strings.Contains(err.Error(), "getting credentials"):
		return CauseCredentials
	}
	return CauseUnreachable
}

// Plain says in a few words why a request had no answer, without the address and without Go's own words. What looks like
// a key or a token in an answer is not in it.
func Plain(err error) string {
	var dns *net.DNSError
	var verify *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to it"
	case errors.As(err, &dns):
		return fmt.Sprintf("name %s not found", dns.Name)
	case errors.As(err, &verify):
		return "its certificate is not trusted: " + verify.Err.Error()
	case apierrors.IsUnauthorized(err):
		return "it does not know the caller (401)"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it closed the connection"
	}
	text := err.Error()
	if u, ok := errors.AsType[*url.Error](err); ok {
		text = u.Err.Error()
	}
	return redact.Secrets{}.Text(text)
}

// NoAnswer tells an error of the network from one that an API server gave.
func NoAnswer(err error) bool {
	var u *url.Error
	var n net.Error
	var status apierrors.APIStatus
	if errors.As(err, &status) || errors.Is(err, context.Canceled) {
		return false
	}
	return errors.As(err, &u) || errors.As(err, &n) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
}

// connOf dials and turns a kubeconfig that cannot be used into a cause.
func connOf(dial func() (*cluster.Conn, error)) (*cluster.Conn, error) {
	conn, err := dial()
	if err != nil {
		return nil, &reachError{cause: CauseContext, why: err.Error()}
	}
	return conn, nil
}
