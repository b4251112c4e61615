package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	server "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// A net of hosts that are all on this machine. It notes which hosts were sent a password or a token, and how.
type network struct {
	t     *testing.T
	mu    sync.Mutex
	hosts map[string]http.Handler // by scheme://host
	told  []string
}

const (
	user, password = "me", "c4n4ry"
	token          = "t0k3n-for-c4n4ry"
)

// transport reaches every host of the network, whatever its name: over TLS or without, as the URL says.
func (n *network) transport() http.RoundTripper {
	serve := func(scheme string) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			n.note(scheme, q)
			h := n.hosts[scheme+"://"+q.Host]
			if h == nil {
				http.Error(w, "no such host", http.StatusBadGateway)
				return
			}
			h.ServeHTTP(w, q)
		}))
		if scheme == "https" {
			s.StartTLS()
		} else {
			s.Start()
		}
		n.t.Cleanup(s.Close)
		return s
	}
	secure, plain := serve("https"), serve("http")
	tr := secure.Client().Transport.(*http.Transport).Clone()
	tr.TLSClientConfig.InsecureSkipVerify = true
	tr.DialTLSContext = nil
	reached := &http.Transport{
		TLSClientConfig: tr.TLSClientConfig,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := plain.Listener.Addr().String()
			if _, port, _ := net.SplitHostPort(address); port == "443" {
				to = secure.Listener.Addr().String()
			}
			return new(net.Dialer).DialContext(ctx, network, to)
		},
	}
	n.t.Cleanup(reached.CloseIdleConnections)
	return reached
}

func (n *network) note(scheme string, q *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	body, _ := io.ReadAll(q.Body)
	_, word, _ := q.BasicAuth()
	if secret := q.Header.Get("Authorization") + string(body); word == password || strings.Contains(secret, token) || strings.Contains(secret, password) {
		n.told = append(n.told, scheme+"://"+q.Host)
	}
}

// tokens gives tokens to whom it knows.
func tokens() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		fmt.Fprintf(w, `{"token":%q}`, token)
	})
}

// asking asks for tokens of a realm, and then answers as h does.
func asking(realm string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Authorization") != "Bearer "+token {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="x"`, realm))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, q)
	})
}

func basic(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if _, _, ok := q.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, q)
	})
}

func elsewhere(to string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/v2/" {
			return
		}
		http.Redirect(w, q, to+q.URL.Path, http.StatusTemporaryRedirect)
	})
}

type keys struct{ config authn.AuthConfig }

func (k keys) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(k.config), nil
}

// TestCredentialsStayWithTheirRegistry looks who is sent a password, or a token that was got for it.
func TestCredentialsStayWithTheirRegistry(t *testing.T) {
	image := server.New(server.Logger(log.New(io.Discard, "", 0)))
	one, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	filled := httptest.NewServer(image)
	defer filled.Close()
	local := Client{Keychain: keys{}}
	ref, err := local.parse(strings.TrimPrefix(filled.URL, "http://") + "/a/b:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, one); err != nil {
		t.Fatal(err)
	}
	word := keys{authn.AuthConfig{Username: user, Password: password}}
	identity := keys{authn.AuthConfig{IdentityToken: password}}
	for _, tt := range []struct {
		reason string
		host   string
		hosts  map[string]http.Handler
		keys   keys
		plain  []string
		told   string // the hosts that may know
		want   string // of the error; "" is none
	}{
		{"over TLS", "r.example.com", map[string]http.Handler{"https://r.example.com": basic(image)}, word, nil, "https://r.example.com", ""},
		{
			"a realm of the registry's own domain, as Docker Hub's", "index.docker.io", map[string]http.Handler{
				"https://index.docker.io": asking("https://auth.docker.io/token", image), "https://auth.docker.io": tokens(),
			}, word, nil, "https://auth.docker.io https://index.docker.io", "",
		},
		{
			"a realm elsewhere", "r.example.com", map[string]http.Handler{
				"https://r.example.com": asking("https://thief.test/token", image), "https://thief.test": tokens(),
			}, word, nil, "", "not sent to https://thief.test: that is another host",
		},
		{
			"a realm elsewhere that is asked with a form", "r.example.com", map[string]http.Handler{
				"https://r.example.com": asking("https://thief.test/token", image), "https://thief.test": tokens(),
			}, identity, nil, "", "not sent to https://thief.test: that is another host",
		},
		{
			"a neighbour under a domain that anybody gets names of", "me.github.io", map[string]http.Handler{
				"https://me.github.io": asking("https://thief.github.io/token", image), "https://thief.github.io": tokens(),
			}, word, nil, "", "not sent to https://thief.github.io: that is another host",
		},
		{
			"another port of the same host", "r.example.com", map[string]http.Handler{
				"https://r.example.com": asking("http://r.example.com:8080/token", image),
			}, word, nil, "", `scheme "http" not allowed`,
		},
		{
			"a realm elsewhere, without credentials", "r.example.com", map[string]http.Handler{
				"https://r.example.com": asking("https://other.test/token", image), "https://other.test": tokens(),
			}, keys{}, nil, "https://r.example.com", "", // the token is one that everybody gets
		},
		{
			"a redirect elsewhere is followed without them", "r.example.com", map[string]http.Handler{
				"https://r.example.com": basic(elsewhere("https://store.test")), "https://store.test": image,
			}, word, nil, "https://r.example.com", "",
		},
		{
			"a redirect to the same host without TLS", "r.example.com", map[string]http.Handler{
				"https://r.example.com": basic(elsewhere("http://r.example.com:80")), "http://r.example.com:80": image, "http://r.example.com": image,
			}, word, nil, "https://r.example.com", "leads to http://r.example.com:80, and without TLS",
		},
		{
			"a token server that sends on to elsewhere", "r.example.com", map[string]http.Handler{
				"https://r.example.com": asking("https://r.example.com/token", image), "https://thief.test": tokens(),
			}, word, nil, "https://r.example.com", "",
		},
		{"an address of a private network, which the library asks without TLS", "10.1.2.3:5000", map[string]http.Handler{"http://10.1.2.3:5000": basic(image)}, word, nil, "", "--plain-http 10.1.2.3:5000"},
		{"the same without credentials", "10.1.2.3:5000", map[string]http.Handler{"http://10.1.2.3:5000": image}, keys{}, nil, "", ""},
		{"the same when that is said", "10.1.2.3:5000", map[string]http.Handler{"http://10.1.2.3:5000": basic(image)}, word, []string{"10.1.2.3:5000"}, "http://10.1.2.3:5000", ""},
		{"it is said of another", "10.1.2.3:5000", map[string]http.Handler{"http://10.1.2.3:5000": basic(image)}, word, []string{"10.1.2.4:5000"}, "", "--plain-http 10.1.2.3:5000"},
		{"a name without TLS, when that is said", "r.example.com:5000", map[string]http.Handler{"http://r.example.com:5000": basic(image)}, word, []string{"r.example.com:5000"}, "http://r.example.com:5000", ""},
		{"this machine", "127.0.0.1:5000", map[string]http.Handler{"http://127.0.0.1:5000": basic(image)}, word, nil, "http://127.0.0.1:5000", ""},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			n := &network{t: t, hosts: tt.hosts}
			if tt.reason == "a token server that sends on to elsewhere" {
				n.hosts["https://r.example.com"] = sendingOn(image)
			}
			c := Client{Keychain: tt.keys, PlainHTTP: tt.plain, Transport: n.transport()}
			m, err := c.Manifest(t.Context(), tt.host+"/a/b:1")
			told := strings.Join(unique(n.told), " ")
			switch {
			case told != tt.told:
				t.Errorf("told were %q, and not only %q (%v)", told, tt.told, err)
			case tt.want == "" && tt.reason != "a token server that sends on to elsewhere" && (err != nil || !strings.HasPrefix(m.Digest, "sha256:")):
				t.Errorf("%+v, %v", m, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("want %q, got %v", tt.want, err)
			}
			if strings.Contains(fmt.Sprint(err), password) || strings.Contains(fmt.Sprint(err), token) {
				t.Errorf("the error quotes a secret: %v", err)
			}
		})
	}
}

// sendingOn asks for tokens at itself, and sends whoever comes for one to a thief.
func sendingOn(h http.Handler) http.Handler {
	asks := asking("https://r.example.com/token", h)
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/token" {
			http.Redirect(w, q, "https://thief.test/token", http.StatusTemporaryRedirect)
			return
		}
		asks.ServeHTTP(w, q)
	})
}

func unique(hosts []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, h := range hosts {
		if !seen[h] {
			seen[h], out = true, append(out, h)
		}
	}
	return out
}

// endless writes until nobody listens.
func endless(w http.ResponseWriter, _ *http.Request) {
	for {
		if _, err := w.Write(make([]byte, 64<<10)); err != nil {
			return
		}
	}
}

// TestAnswersAreBounded: no answer is read for ever, and none into memory beyond what it may have.
func TestAnswersAreBounded(t *testing.T) {
	const sum = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for reason, h := range map[string]http.Handler{
		"the first greeting": http.HandlerFunc(endless),
		"a manifest": http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path != "/v2/" {
				endless(w, q)
			}
		}),
		"an error": http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path != "/v2/" {
				w.WriteHeader(http.StatusForbidden)
				endless(w, q)
			}
		}),
		"a token": http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/token" {
				endless(w, q)
				return
			}
			asking("http://"+q.Host+"/token", nil).ServeHTTP(w, q)
		}),
	} {
		s := httptest.NewServer(h)
		c, host := Client{Keychain: keys{authn.AuthConfig{Username: user, Password: password}}}, strings.TrimPrefix(s.URL, "http://")
		if _, err := c.Manifest(t.Context(), host+"/a/b:1"); err == nil {
			t.Errorf("%s without end: no error", reason)
		}
		if _, err := c.Blob(t.Context(), host+"/a/b", sum, 1000); err == nil {
			t.Errorf("%s without end, for a blob: no error", reason)
		}
		s.CloseClientConnections()
		s.Close()
	}
	if _, err := (Client{}).Blob(t.Context(), "127.0.0.1:1/a/b", sum, MostBlob+1); err == nil || !strings.Contains(err.Error(), "32 MiB") {
		t.Errorf("a blob of any size: %v", err)
	}
}

// TestDigestsAreCompared: a registry that answers with other bytes than it was asked for is not believed.
func TestDigestsAreCompared(t *testing.T) {
	const manifest, sum = `{"schemaVersion":2,"layers":[]}`, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	kind := "application/vnd.oci.image.manifest.v1+json"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Docker-Content-Digest", sum) // the claim
		fmt.Fprint(w, manifest)
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	c := Client{Keychain: keys{}}
	// The library believes the header of a signed manifest of schema 1.
	for _, kind = range []string{kind, "application/vnd.docker.distribution.manifest.v1+prettyjws"} {
		if _, err := c.Manifest(t.Context(), host+"/a/b@"+sum); err == nil || !strings.Contains(err.Error(), sum) {
			t.Errorf("%s: %v", kind, err)
		}
		if m, err := c.Manifest(t.Context(), host+"/a/b:1"); err != nil || m.Digest != Digest([]byte(manifest)) {
			t.Errorf("%s: the digest is what the registry claims: %+v, %v", kind, m, err)
		}
	}
	if _, err := c.Blob(t.Context(), host+"/a/b", sum, int64(len(manifest))); err == nil || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("a blob: %v", err)
	}
	if _, err := c.Blob(t.Context(), host+"/a/b", Digest([]byte(manifest)), int64(len(manifest))-1); err == nil {
		t.Error("a blob of another size than the manifest says")
	}
	if text, err := c.Blob(t.Context(), host+"/a/b", Digest([]byte(manifest)), int64(len(manifest))); err != nil || string(text) != manifest {
		t.Errorf("%s, %v", text, err)
	}
}

// TestResolve takes the registry's word for a tag where it is one, and the manifest's digest otherwise.
func TestResolve(t *testing.T) {
	const manifest = `{"schemaVersion":2,"layers":[]}`
	claim := "sha256:" + strings.Repeat("a", 64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Content-Length", fmt.Sprint(len(manifest)))
		w.Header().Set("Docker-Content-Digest", claim)
		fmt.Fprint(w, manifest)
	}))
	defer s.Close()
	image, c := strings.TrimPrefix(s.URL, "http://")+"/a/b", Client{Keychain: keys{}}
	for _, tt := range []struct{ reason, claim, reference, want string }{
		{"a tag", claim, ":1", claim},
		{"no claim", "", ":1", Digest([]byte(manifest))},
		{"a claim that is no digest", "latest", ":1", Digest([]byte(manifest))},
		{"a claim that no lock can hold", "sha512:" + strings.Repeat("a", 128), ":1", Digest([]byte(manifest))},
		{"a digest is what it is", claim, "@sha256:" + strings.Repeat("b", 64), "sha256:" + strings.Repeat("b", 64)},
	} {
		claim = tt.claim
		if got, err := c.Resolve(t.Context(), image+tt.reference); err != nil || got != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.reason, got, err, tt.want)
		}
	}
}

// TestUnreachable tells what says nothing of a tag from what does.
func TestUnreachable(t *testing.T) {
	status := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path != "/v2/" {
			w.WriteHeader(status)
		}
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	for code, want := range map[int]bool{http.StatusNotFound: false, http.StatusForbidden: false, http.StatusNotImplemented: true} {
		status = code
		if _, err := (Client{Keychain: keys{}}).Resolve(t.Context(), host+"/a/b:1"); err == nil || Unreachable(err) != want || Missing(err) != (code == http.StatusNotFound) {
			t.Errorf("%d: unreachable %v, missing %v: %v", code, Unreachable(err), Missing(err), err)
		}
	}
	gone := "127.0.0.1:1"
	if _, err := (Client{Keychain: keys{}}).Resolve(t.Context(), gone+"/a/b:1"); !Unreachable(err) {
		t.Errorf("nobody listens: %v", err)
	}
	for _, err := range []error{nil, &DigestError{}, fmt.Errorf("x: %w", &CredentialsError{}), context.Canceled} {
		if Unreachable(err) {
			t.Errorf("%v is taken for a registry that cannot be reached", err)
		}
	}
	if err := errors.New("dial"); !Unreachable(err) {
		t.Error("a refused connection says something of a tag")
	}
}
