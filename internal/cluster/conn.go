// Package cluster is a connection to one API server: how facts are read, plans written and probes run.
// It decides nothing; what may be written, and when, is internal/apply's alone.
package cluster

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"

	"isthmus.dev/isthmus/internal/input"
	"isthmus.dev/isthmus/internal/mesh"
)

// A Conn is a connection to one cluster. It is safe for use by many goroutines.
type Conn struct {
	Name    string
	Config  *rest.Config
	Kube    kubernetes.Interface
	Dynamic dynamic.Interface

	mapper *restmapper.DeferredDiscoveryRESTMapper
	mapMu  sync.Mutex
}

// A Dialer connects to a cluster. It makes no request: whether the cluster answers is a fact, not an error here.
type Dialer func(mesh.Cluster) (*Conn, error)

// Options of a connection; the zero value is what commands use.
type Options struct {
	// Kubeconfig is the file for clusters that name none. Empty: what kubectl would use.
	Kubeconfig string
	// Timeout bounds every single request that is not a watch, an exec or a port-forward. Zero: 10 s.
	Timeout time.Duration
	// Wrap goes around the transport of every connection, for tests that count or break writes.
	Wrap func(cluster string, rt http.RoundTripper) http.RoundTripper
}

// Dialer returns a Dialer with these options. It reads each kubeconfig once: a file that changes in the middle of a run
// does not lead half of it elsewhere.
func (o Options) Dialer() Dialer {
	var mu sync.Mutex
	read := map[string]*api.Config{}
	return func(c mesh.Cluster) (*Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		rules := clientcmd.NewDefaultClientConfigLoadingRules()
		if path := cmp.Or(c.Kubeconfig, o.Kubeconfig); path != "" {
			rules.ExplicitPath = path
		}
		raw := read[rules.ExplicitPath]
		if raw == nil {
			var err error
			if raw, err = load(c.Name, rules); err != nil {
				return nil, err
			}
			read[rules.ExplicitPath] = raw
		}
		return o.connect(c, raw, rules)
	}
}

// Dial connects to one cluster; see Dialer for more than one.
func (o Options) Dial(c mesh.Cluster) (*Conn, error) { return o.Dialer()(c) }

func load(name string, rules *clientcmd.ClientConfigLoadingRules) (*api.Config, error) {
	if slices.ContainsFunc(append([]string{rules.ExplicitPath}, rules.Precedence...), func(path string) bool { return strings.Contains(path, "\n") }) {
		// Said without quoting it: whoever mistakes content for a path has keys in it.
		return nil, fmt.Errorf("cluster %s: KUBECONFIG or --kubeconfig holds the content of a kubeconfig; give the path of the file", name)
	}
	for _, path := range append([]string{rules.ExplicitPath}, rules.Precedence...) {
		if err := input.Check(path, input.Document); path != "" && err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cluster %s: read kubeconfig: %w", name, err)
		}
	}
	raw, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("cluster %s: read kubeconfig: %w", name, err)
	}
	return raw, nil
}

func (o Options) connect(c mesh.Cluster, raw *api.Config, rules *clientcmd.ClientConfigLoadingRules) (*Conn, error) {
	if _, ok := raw.Contexts[c.Context]; !ok {
		return nil, &NoContextError{Cluster: c.Name, Context: c.Context, Have: contextNames(raw.Contexts)}
	}
	cfg, err := clientcmd.NewNonInteractiveClientConfig(*raw, c.Context, &clientcmd.ConfigOverrides{}, rules).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("cluster %s: context %q of the kubeconfig: %w", c.Name, c.Context, err)
	}
	// A plan reads a hundred objects at once; client-go's default of 5 requests a second would take 20 s.
	cfg.QPS, cfg.Burst = -1, -1
	cfg.UserAgent = "isthmus"
	cfg.WarningHandler = rest.NoWarnings{}
	if o.Wrap != nil {
		cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return o.Wrap(c.Name, rt) })
	}
	return New(c.Name, cfg, o.Timeout)
}

// New makes a connection from a ready configuration. A zero timeout is 10 s.
func New(name string, cfg *rest.Config, timeout time.Duration) (*Conn, error) {
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return bodies{rt} })
	bounded := rest.CopyConfig(cfg)
	bounded.Timeout = timeout
	kube, err := kubernetes.NewForConfig(bounded)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: make client: %w", name, err)
	}
	dyn, err := dynamic.NewForConfig(bounded)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: make client: %w", name, err)
	}
	disco, err := discovery.NewDiscoveryClientForConfig(bounded)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: make client: %w", name, err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))
	return &Conn{Name: name, Config: cfg, Kube: kube, Dynamic: dyn, mapper: mapper}, nil
}

// bodies bounds what an API server answers. What is watched or followed goes on for as long as it is wanted.
type bodies struct{ next http.RoundTripper }

func (b bodies) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(req)
	if err == nil && res.StatusCode >= 300 && res.StatusCode < 400 && res.StatusCode != http.StatusNotModified {
		// No API server does that, and who follows asks whom a cluster names, from this machine.
		return nil, errors.Join(fmt.Errorf("it answers with a redirect (%s), which is not followed", res.Status), res.Body.Close())
	}
	if q := req.URL.Query(); err == nil && res.StatusCode != http.StatusSwitchingProtocols && q.Get("watch") == "" && q.Get("follow") == "" {
		res.Body = input.Limit(res.Body, input.Answer)
	}
	return res, err
}

// Resource returns a client for objects of a kind in a namespace (ignored for cluster-scoped kinds).
// A kind that is not known is asked for once more, since a CRD may have been created a moment ago.
func (c *Conn) Resource(gvk schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	c.mapMu.Lock()
	defer c.mapMu.Unlock()
	m, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		c.mapper.Reset()
		m, err = c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("cluster %s: find resource of %s: %w", c.Name, gvk.Kind, err)
	}
	r := c.Dynamic.Resource(m.Resource)
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		return r.Namespace(namespace), nil
	}
	return r, nil
}

// Serves tells whether the API server serves a resource, in some version.
func (c *Conn) Serves(r schema.GroupResource) bool {
	c.mapMu.Lock()
	defer c.mapMu.Unlock()
	found, err := c.mapper.ResourcesFor(r.WithVersion(""))
	return err == nil && len(found) > 0
}

// Exec runs a program in a container and returns what it printed. Errors carry the end of its stderr.
func (c *Conn) Exec(ctx context.Context, namespace, pod, container string, argv ...string) ([]byte, error) {
	return c.ExecInput(ctx, namespace, pod, container, nil, argv...)
}

// ExecInput is Exec with an input; nil for none. What is secret goes there: a command's words are in the logs of API
// servers.
func (c *Conn) ExecInput(ctx context.Context, namespace, pod, container string, in io.Reader, argv ...string) ([]byte, error) {
	req := c.Kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: argv, Stdin: in != nil, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	ws, err := remotecommand.NewWebSocketExecutor(c.Config, "GET", req.URL().String())
	if err != nil {
		return nil, fmt.Errorf("cluster %s: exec in pod %s/%s: %w", c.Name, namespace, pod, err)
	}
	spdy, err := remotecommand.NewSPDYExecutor(c.Config, "POST", req.URL())
	if err != nil {
		return nil, fmt.Errorf("cluster %s: exec in pod %s/%s: %w", c.Name, namespace, pod, err)
	}
	exec, err := remotecommand.NewFallbackExecutor(ws, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return nil, fmt.Errorf("cluster %s: exec in pod %s/%s: %w", c.Name, namespace, pod, err)
	}
	out, said := input.Buffer{Most: input.Output}, input.Tail{Most: 300}
	if err := exec.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: &out, Stderr: &said}); err != nil {
		return out.Bytes(), fmt.Errorf("cluster %s: exec %s in pod %s/%s: %w: %s", c.Name, argv[0], namespace, pod, err, bytes.TrimSpace(said.Bytes()))
	}
	return out.Bytes(), nil
}

// Close gives back idle connections.
func (c *Conn) Close() {
	if rc, ok := c.Kube.CoreV1().RESTClient().(*rest.RESTClient); ok && rc.Client != nil {
		rc.Client.CloseIdleConnections()
	}
}
