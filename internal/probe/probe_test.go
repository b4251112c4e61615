package probe

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	clientID = "spiffe://cluster.local/ns/isthmus-verify/sa/client"
	serverID = "spiffe://cluster.local/ns/isthmus-verify/sa/server"
)

func newCaller() Caller { return Caller{Now: time.Now, Rand: rand.Reader} }

// serve starts a server on loopback and ends it with the test.
func serve(t *testing.T) Addresses {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	at := make(chan Addresses, 1)
	done := make(chan error, 1)
	s := Server{Cluster: "west", Version: "v2", Pod: "server-1", HTTP: "127.0.0.1:0", GRPC: "127.0.0.1:0", TCP: "127.0.0.1:0"}
	go func() { done <- s.Serve(ctx, func(a Addresses) { at <- a }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	select {
	case a := <-at:
		return a
	case err := <-done:
		done <- nil
		t.Fatalf("serve: %v", err)
		return Addresses{}
	}
}

func TestCallsAreAnswered(t *testing.T) {
	at := serve(t)
	calls := []Call{
		{ID: "1", To: "http://" + at.HTTP + "/", Count: 3},
		{ID: "2", To: "grpc://" + at.GRPC, Count: 3},
		{ID: "3", To: "tcp://" + at.TCP, Count: 3},
	}
	want := []Result{
		{
			ID: "1", OK: true, Sent: 3, Answered: 3, Clusters: map[string]int{"west": 3}, Code: 200,
			Reply: &Reply{Cluster: "west", Version: "v2", Pod: "server-1", Protocol: "http/1.1"},
		},
		{
			ID: "2", OK: true, Sent: 3, Answered: 3, Clusters: map[string]int{"west": 3},
			Reply: &Reply{Cluster: "west", Version: "v2", Pod: "server-1", Protocol: "grpc"},
		},
		{
			ID: "3", OK: true, Sent: 3, Answered: 3, Clusters: map[string]int{"west": 3},
			Reply: &Reply{Cluster: "west", Version: "v2", Pod: "server-1", Protocol: "tcp", Echo: "isthmus-probe"},
		},
	}
	got := newCaller().All(t.Context(), calls)
	opts := cmp.Options{
		cmpopts.IgnoreFields(Result{}, "To", "LatencyMillis"), cmpopts.IgnoreFields(Reply{}, "Remote", "Headers"),
	}
	if diff := cmp.Diff(want, got, opts); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, r := range got {
		if !strings.HasPrefix(r.Reply.Remote, "127.0.0.1:") {
			t.Errorf("%s: remote %q is not the caller's address", r.To, r.Reply.Remote)
		}
	}
}

func TestServerSpeaksHTTP2WithoutTLS(t *testing.T) {
	at := serve(t)
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: &protocols}}
	resp, err := client.Get("http://" + at.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var r Result
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.take(body); err != nil {
		t.Fatal(err)
	}
	if r.Reply.Protocol != "http/2.0" {
		t.Errorf("protocol %q, want http/2.0", r.Reply.Protocol)
	}
}

func TestReplyTellsTheLastProxysWordOnIdentity(t *testing.T) {
	at := serve(t)
	cases := []struct{ reason, xfcc, caller, server string }{
		{"one proxy", "By=" + serverID + ";Hash=1;URI=" + clientID, clientID, serverID},
		{"an element that the caller made up comes first", "By=spiffe://x;URI=spiffe://liar,By=" + serverID + ";URI=" + clientID, clientID, serverID},
		{"a header that cannot be read is no identity", "By", "", ""},
		{"no header", "", "", ""},
		{"a name that is no SPIFFE identity is none", "By=http://x;URI=http://y", "", ""},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at.HTTP, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.xfcc != "" {
				req.Header.Set("X-Forwarded-Client-Cert", c.xfcc)
			}
			req.Header.Set("X-Request-ID", "r1")
			req.Header.Set("Authorization", "Bearer secret")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			var r Result
			if err := r.take(body); err != nil {
				t.Fatal(err)
			}
			if r.Reply.Caller != c.caller || r.Reply.Server != c.server {
				t.Errorf("%s: caller %q, server %q; want %q, %q", c.reason, r.Reply.Caller, r.Reply.Server, c.caller, c.server)
			}
			if r.Reply.Headers["x-request-id"] != "r1" {
				t.Errorf("%s: the request's id is not in %v", c.reason, r.Reply.Headers)
			}
			if strings.Contains(string(body), "secret") {
				t.Errorf("%s: the reply repeats a credential: %s", c.reason, body)
			}
		})
	}
}

// listen runs handle for each connection to a loopback port.
func listen(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// closed is a loopback address where nobody listens.
func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestFailuresAreClassed(t *testing.T) {
	says := func(code int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			fmt.Fprint(w, body)
		}))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	hangUp := listen(t, func(c net.Conn) { _, _ = bufio.NewReader(c).ReadString('\n') })
	silent := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	nobody := closed(t)
	uc := "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, " +
		"transport failure reason: TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED"
	cases := []struct {
		reason, to, flag string
		want             Class
	}{
		{"nobody listens", "http://" + nobody, "", Refused},
		{"nobody listens, grpc", "grpc://" + nobody, "", Refused},
		{"nobody listens, tcp", "tcp://" + nobody, "", Refused},
		{"closed without an answer", "http://" + hangUp, "", Reset},
		{"closed without an answer, grpc", "grpc://" + hangUp, "", Reset},
		{"closed without an answer, tcp", "tcp://" + hangUp, "", Reset},
		{"no answer", "http://" + silent, "", Timeout},
		{"no answer, grpc", "grpc://" + silent, "", Timeout},
		{"no answer, tcp", "tcp://" + silent, "", Timeout},
		{"no endpoint", "http://" + says(503, "no healthy upstream"), "UH", Status},
		{"policy", "http://" + says(403, "RBAC: access denied"), "RBAC", Status},
		{"another root", "http://" + says(503, uc), "UF", Status},
		{"somebody else", "http://" + says(200, "<html>"), "", Foreign},
		{"unknown scheme", "gopher://" + nobody, "", Other},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			t.Parallel()
			got := newCaller().Do(t.Context(), Call{To: c.to, TimeoutMillis: 300})
			if got.OK || got.Class != c.want || got.Flag != c.flag || got.Error == "" {
				t.Errorf("%s: %+v; want class %s, flag %q", c.reason, got, c.want, c.flag)
			}
		})
	}
}

func TestNameThatDoesNotExistIsDNS(t *testing.T) {
	err := fmt.Errorf("call: %w", &net.DNSError{Err: "no such host", Name: "to-west", IsNotFound: true})
	if got := classify(err); got != DNS {
		t.Errorf("class %q, want dns", got)
	}
}

// meshServer is a TLS server that wants a client certificate signed by its own root, as a sidecar does.
func meshServer(t *testing.T, auth tls.ClientAuthType, handle func(net.Conn)) string {
	t.Helper()
	cert, err := newCaller().forge(serverID)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(cert.Certificate[1])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	config := &tls.Config{
		Certificates: []tls.Certificate{*cert}, ClientAuth: auth, ClientCAs: pool, NextProtos: istioALPN[:1],
	}
	return listen(t, func(raw net.Conn) {
		conn := tls.Server(raw, config)
		if conn.Handshake() == nil {
			handle(conn)
		}
	})
}

func TestRawTLSTellsRefusalFromAcceptance(t *testing.T) {
	answer := func(c net.Conn) {
		_, _ = bufio.NewReader(c).ReadString('\n')
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	}
	silent := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	strict := meshServer(t, tls.RequireAndVerifyClientCert, answer)
	cases := []struct {
		reason, to, forge string
		want              Verdict
		class             Class
		shown             bool
	}{
		{"no certificate", strict, "", TurnedAway, TLSAlert, true},
		{"forged certificate", strict, clientID, TurnedAway, TLSAlert, true},
		{"a server that wants none", meshServer(t, tls.NoClientCert, answer), "", Accepted, "", true},
		{"a server that takes any", meshServer(t, tls.RequireAnyClientCert, answer), clientID, Accepted, "", true},
		{"neither yes nor no", meshServer(t, tls.NoClientCert, silent), "", Unclear, Timeout, true},
		{"a gateway that knows no such name", listen(t, func(net.Conn) {}), "", NotReached, Reset, false},
		{"nobody listens", closed(t), "", NotReached, Refused, false},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			t.Parallel()
			got := newCaller().Do(t.Context(), Call{
				To: "tls://" + c.to, SNI: "outbound_.80_._.to-west.isthmus-verify.svc.cluster.local",
				Forge: c.forge, TimeoutMillis: 1000,
			})
			if got.Verdict() != c.want || got.Class != c.class {
				t.Errorf("%s: verdict %s, class %s (%+v); want %s, %s", c.reason, got.Verdict(), got.Class, got, c.want, c.class)
			}
			if (got.Shown != nil) != c.shown {
				t.Fatalf("%s: shown %+v, want any: %t", c.reason, got.Shown, c.shown)
			}
			if c.shown && (!cmp.Equal(got.Shown.Identities, []string{serverID}) || len(got.Shown.Root) != 64) {
				t.Errorf("%s: shown %+v, want identity %s and a root's fingerprint", c.reason, got.Shown, serverID)
			}
		})
	}
}

func TestPlainTextVerdict(t *testing.T) {
	cases := []struct {
		reason string
		in     Result
		want   Verdict
	}{
		{"closed by the sidecar", Result{To: "http://x", Class: Reset}, TurnedAway},
		{"served", Result{To: "http://x", OK: true}, Accepted},
		{"an error page is an answer too", Result{To: "http://x", Class: Status, Code: 403}, Accepted},
		{"no connection proves nothing", Result{To: "http://x", Class: Refused}, NotReached},
		{"no answer proves nothing", Result{To: "http://x", Class: Timeout}, NotReached},
	}
	for _, c := range cases {
		if got := c.in.Verdict(); got != c.want {
			t.Errorf("%s: %s, want %s", c.reason, got, c.want)
		}
	}
}

func TestServeSaysWhichAddressIsTaken(t *testing.T) {
	at := serve(t)
	err := Server{HTTP: "127.0.0.1:0", GRPC: "-", TCP: at.HTTP}.Serve(t.Context(), func(Addresses) {
		t.Error("ready, though an address is taken")
	})
	var op *net.OpError
	if !errors.As(err, &op) || !strings.Contains(err.Error(), "listen for tcp") {
		t.Errorf("error %v, want one about the tcp port", err)
	}
}
