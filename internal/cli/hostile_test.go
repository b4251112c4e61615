package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/screen"
)

// A liar stands before a real API server and changes what it answers, in every field that is read: each world is other
// lies, drawn from a seed.
type liar struct {
	*httputil.ReverseProxy
	mu     sync.Mutex
	random *rand.Rand
	rate   float64 // of answers that are changed
	writes int
	// elsewhere is an address that only the liar names, and asked how often somebody followed.
	elsewhere string
	asked     int
}

func newLiar(t *testing.T, cfg *rest.Config) (*liar, string) {
	t.Helper()
	to, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	var l *liar
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.asked++
	}))
	t.Cleanup(other.Close)
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l = &liar{ReverseProxy: httputil.NewSingleHostReverseProxy(to), random: rand.New(rand.NewSource(0)), elsewhere: other.URL}
	l.Transport, l.ModifyResponse = transport, l.lie
	l.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.Header.Del("Accept-Encoding")
		if strings.Contains(req.Header.Get("Accept"), "protobuf") {
			req.Header.Set("Accept", "application/json")
		}
		review := strings.Contains(req.URL.Path, "/authorization.k8s.io/") // a question, though it is posted
		if req.Method != http.MethodGet && !review {
			l.mu.Lock()
			l.writes++
			l.mu.Unlock()
			w.WriteHeader(http.StatusForbidden)
			return
		}
		l.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	return l, server.URL
}

// world begins other lies.
func (l *liar) world(seed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.random, l.writes, l.asked = rand.New(rand.NewSource(seed)), 0, 0
	l.rate = []float64{0.02, 0.1, 0.5, 1}[seed%4]
}

func (l *liar) lie(res *http.Response) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.random.Float64() > l.rate {
		return nil
	}
	switch l.random.Intn(12) {
	case 0:
		code := []int{http.StatusGone, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusForbidden, http.StatusUnauthorized, http.StatusMovedPermanently}[l.random.Intn(6)]
		l.say(res, code, []byte(fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":%q}`, code, l.text(), l.text())))
		res.Header.Set("Location", l.elsewhere)
		return nil
	case 1:
		l.say(res, http.StatusOK, []byte(l.text()))
		return nil
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	var tree any
	if json.Unmarshal(body, &tree) != nil {
		l.say(res, res.StatusCode, body)
		return nil
	}
	for range 1 + l.random.Intn(6) {
		tree = l.change(tree, 0)
	}
	if body, err = json.Marshal(tree); err != nil {
		return err
	}
	if l.random.Intn(20) == 0 {
		body = body[:l.random.Intn(len(body)+1)]
	}
	l.say(res, res.StatusCode, body)
	return nil
}

func (l *liar) say(res *http.Response, code int, body []byte) {
	res.StatusCode, res.Body, res.ContentLength = code, io.NopCloser(bytes.NewReader(body)), int64(len(body))
	res.Header.Set("Content-Length", strconv.Itoa(len(body)))
}

// change changes one place in a tree, or several below it.
func (l *liar) change(v any, depth int) any {
	if depth > 0 && l.random.Intn(12) == 0 {
		return l.anything()
	}
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		switch n := l.random.Intn(15); {
		case len(keys) == 0 || n == 0:
			v[l.text()] = l.anything()
		case n == 1:
			delete(v, keys[l.random.Intn(len(keys))])
		default:
			k := keys[l.random.Intn(len(keys))]
			v[k] = l.change(v[k], depth+1)
		}
		return v
	case []any:
		switch n := l.random.Intn(15); {
		case len(v) == 0:
			return []any{l.anything()}
		case n == 0:
			return slices.Repeat(v, 1+l.random.Intn(50))
		case n == 1:
			return v[:l.random.Intn(len(v))]
		}
		i := l.random.Intn(len(v))
		v[i] = l.change(v[i], depth+1)
		return v
	case string:
		if l.random.Intn(3) == 0 {
			return l.anything()
		}
		return l.text()
	}
	return l.anything()
}

func (l *liar) anything() any {
	return []any{
		nil, true, -1.5, 1e300,
		[]any{},
		map[string]any{},
		l.text(),
		[]any{l.text(), 7.0},
		map[string]any{l.text(): l.text()},
		map[string]any{"isthmus.dev/mesh": "shop", "istio/multiCluster": "true"},
	}[l.random.Intn(10)]
}

// text is what somebody puts where a name is expected.
func (l *liar) text() string {
	all := []string{
		"", "east", "west", "shop", "kube-system", "istio-system", "isthmus-root", "../../etc/passwd", "\x1b[2J\x1b]0;title\x07", "\u009b31m", "\u202eevil",
		"a\nb\r✔ All is well", strings.Repeat("x", 1<<16), "%s%n%!d", "2099-01-01T00:00:00Z", l.elsewhere, "exec:touch", "\xff\xfe", "{{.}}", "99999999999999999999",
		`[{"name":"gone","context":"east","kubeconfig":"` + l.canary() + `","uid":"x"},{"name":"east","uid":"other","drain":{"on":true,"since":"9999-01-01T00:00:00Z","to":"west"}}]`,
		`[{"kind":"Namespace","name":"kube-system"},{"kind":"Secret","namespace":"isthmus-system","name":"isthmus-root"}]`,
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	}
	return all[l.random.Intn(len(all))]
}

// canary is a kubeconfig whose plugin leaves a mark where it is run.
func (l *liar) canary() string { return filepath.Join(os.TempDir(), "isthmus-hostile-canary") }

// worlds is how many lies are told. ISTHMUS_WORLDS is for long runs, ISTHMUS_SEED for the first of them.
func worlds(t *testing.T) (first, n int64) {
	t.Helper()
	read := func(name string, instead int64) int64 {
		text := os.Getenv(name)
		if text == "" {
			return instead
		}
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return v
	}
	return read("ISTHMUS_SEED", time.Now().Unix()), read("ISTHMUS_WORLDS", 200)
}

// TestAHostileClusterHarmsNobody: west lies in every way, and east is honest. Whatever is asked, nothing is written, nothing
// is run, nothing is opened that west names, no object of east is to be deleted that would not be without west, and what is
// printed orders no terminal anything. It costs 1 min.
func TestAHostileClusterHarmsNobody(t *testing.T) {
	d := newDesk(t)
	for _, c := range []string{"east", "west"} {
		d.namespace(c, "shop")
	}
	d.run("apply --skip-checks") // as far as it comes without nodes
	l, address := newLiar(t, d.servers.Configs["west"])
	d.throughLiar(address)
	mark := l.canary() + "-was-run"
	plugin := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\ncontexts: [{name: east, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: [%q], interactiveMode: Never}}}]\n", mark)
	if err := os.WriteFile(l.canary(), []byte(plugin), 0o600); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Remove(l.canary()) }()
	honest := deletions(t, d, "plan -o json")
	whole := deletions(t, d, "uninstall -o json")
	commands := []string{"plan", "plan -o json", "status", "check", "uninstall", "uninstall -o json", "plan --leave gone=west", "drain east --dry-run"}
	first, n := worlds(t)
	t.Logf("worlds %d to %d (ISTHMUS_SEED, ISTHMUS_WORLDS)", first, first+n-1)
	for seed := first; seed < first+n && !t.Failed(); seed++ {
		l.world(seed)
		command := commands[seed%int64(len(commands))]
		began := time.Now()
		out, errs := d.ask(command)
		took := time.Since(began)
		say := func(format string, args ...any) {
			t.Helper()
			t.Errorf("seed %d, %s: %s\n%.2000s\n%.2000s", seed, command, fmt.Sprintf(format, args...), out, errs)
		}
		if took > 45*time.Second { // three times the deadlines that it has
			say("it took %s", took)
		}
		if l.writes > 0 {
			say("%d requests to west would write", l.writes)
		}
		if l.asked > 0 {
			say("somebody asked an address that west named, %d times", l.asked)
		}
		if i := strings.IndexFunc(out+errs, func(r rune) bool { return r != '\n' && r != '\t' && (unicode.IsControl(r) || r == '\u202e') }); i >= 0 {
			say("it orders the terminal something at %d", i)
		}
		if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
			say("a plugin that west names was run")
		}
		if strings.HasSuffix(command, "-o json") {
			known := honest
			if strings.HasPrefix(command, "uninstall") {
				known = whole
			}
			for _, x := range deleted(out) {
				if x.Cluster == "east" && !slices.Contains(known, x) {
					say("%s of east is to be deleted", x.Object)
				}
				if x.Object.Name == "kube-system" || x.Object.Name == "default" {
					say("%s is to be deleted", x.Object)
				}
			}
		}
	}
}

// throughLiar lets west's context lead to an address.
func (d *desk) throughLiar(address string) {
	d.t.Helper()
	cfg, err := clientcmd.LoadFromFile(d.servers.Kubeconfig)
	if err != nil {
		d.t.Fatal(err)
	}
	c := cfg.Clusters[cfg.Contexts["west"].Cluster].DeepCopy()
	c.Server, c.CertificateAuthorityData, c.CertificateAuthority = address, nil, ""
	cfg.Clusters["liar"] = c
	cfg.Contexts["west"].Cluster = "liar"
	if err := clientcmd.WriteToFile(*cfg, d.path("kubeconfig")); err != nil {
		d.t.Fatal(err)
	}
}

// ask runs a command line over the prepared kubeconfig, as at a terminal without colours.
func (d *desk) ask(line string) (out, errs string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*time.Minute)
	defer cancel()
	args := append(strings.Fields(line), "--kubeconfig", d.path("kubeconfig"), "-f", d.path("mesh.yaml"))
	var o, e bytes.Buffer
	Run(ctx, screen.Streams{In: strings.NewReader(""), Out: &o, Err: &e, Env: func(string) string { return "" }}, args)
	return o.String(), e.String()
}

// A goner is an object that a plan deletes or replaces.
type goner struct {
	Cluster string
	Object  object.Ref
}

func deletions(t *testing.T, d *desk, line string) []goner {
	t.Helper()
	out, errs := d.ask(line)
	if out == "" {
		t.Fatalf("%s: %s", line, errs)
	}
	return deleted(out)
}

func deleted(out string) (all []goner) {
	var p plan.Plan
	if json.Unmarshal([]byte(out), &p) != nil {
		return nil // it was refused
	}
	for _, w := range p.Waves {
		for _, c := range w.Changes {
			if c.Action == plan.Delete || c.Action == plan.Replace {
				all = append(all, goner{c.Cluster, c.Object})
			}
		}
	}
	return all
}
