package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	"isthmus.dev/isthmus/internal/input"
)

// Envoy returns a page of the admin interface of a pod's Envoy, such as "clusters?format=json". Envoy shows it to its own
// pod alone, so it is asked through the kubelet. Pages are to be JSON: by exec pilot-agent's own log comes before them, and
// is cut off.
func (c *Conn) Envoy(ctx context.Context, namespace, pod, page string) ([]byte, error) {
	return c.page(ctx, namespace, pod, 15000, page, "istio-proxy", "pilot-agent", "request", "GET", page)
}

// Istiod returns a debug page of an istiod, such as "/debug/syncz". It is asked as by a program in its pod, of which it
// asks no identity.
func (c *Conn) Istiod(ctx context.Context, namespace, pod, page string) ([]byte, error) {
	return c.page(ctx, namespace, pod, 15014, page, "discovery", "pilot-discovery", "request", "GET", page)
}

// page asks by port-forward, which takes milliseconds, and where that is refused by exec of a program that asks the same,
// whose start takes half a second of a processor. Who may neither is told that exec is forbidden.
func (c *Conn) page(ctx context.Context, namespace, pod string, port int, page, container string, argv ...string) ([]byte, error) {
	out, err := c.get(ctx, namespace, pod, port, page)
	var refused *statusError
	if err == nil || errors.As(err, &refused) || ctx.Err() != nil {
		return out, err
	}
	out, err = c.Exec(ctx, namespace, pod, container, argv...)
	return afterLog(out), err
}

// afterLog is what a program printed, without the lines of its log before the JSON that was asked for.
func afterLog(out []byte) []byte {
	for rest := out; len(rest) > 0; {
		if rest[0] == '{' || rest[0] == '[' {
			return rest
		}
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
	}
	return out
}

// A statusError is an answer that is no page.
type statusError struct {
	page   string
	status string
}

func (e *statusError) Error() string { return fmt.Sprintf("GET %s: %s", e.page, e.status) }

// get makes one request to a port of a pod, through a tunnel of its own.
func (c *Conn) get(ctx context.Context, namespace, pod string, port int, page string) ([]byte, error) {
	// Opening a tunnel does not end with ctx; what comes too late is closed.
	type opened struct {
		tunnel httpstream.Connection
		err    error
	}
	ready := make(chan opened, 1)
	go func() {
		tunnel, err := c.tunnel(namespace, pod)
		ready <- opened{tunnel, err}
	}()
	var tunnel httpstream.Connection
	select {
	case o := <-ready:
		if o.err != nil {
			return nil, fmt.Errorf("cluster %s: port-forward to pod %s/%s: %w", c.Name, namespace, pod, o.err)
		}
		tunnel = o.tunnel
	case <-ctx.Done():
		go func() {
			if o := <-ready; o.err == nil {
				_ = o.tunnel.Close()
			}
		}()
		return nil, ctx.Err()
	}
	defer tunnel.Close()
	unwatch := context.AfterFunc(ctx, func() { _ = tunnel.Close() })
	defer unwatch()
	body, err := ask(tunnel, port, page)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("cluster %s: port %d of pod %s/%s: %w", c.Name, port, namespace, pod, err)
	}
	return body, nil
}

// tunnel opens a port-forward to a pod: over a WebSocket, or over SPDY where an API server or a proxy before it has none.
func (c *Conn) tunnel(namespace, pod string) (httpstream.Connection, error) {
	url := c.Kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(rest.CopyConfig(c.Config))
	if err != nil {
		return nil, err
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	ws, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, c.Config)
	if err != nil {
		return nil, err
	}
	tunnel, _, err := portforward.NewFallbackDialerForStreaming(ws, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}).Dial(portforward.PortForwardProtocolV1Name)
	return tunnel, err
}

// ask makes an HTTP request over a tunnel's stream to a port. What the kubelet has to say comes over another stream.
func ask(tunnel httpstream.Connection, port int, page string) ([]byte, error) {
	headers := http.Header{}
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	complaints, err := tunnel.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	_ = complaints.Close() // nothing is written to it
	complaint := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(complaints, 4<<10)) // what there is, of a few words
		complaint <- string(text)
	}()
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := tunnel.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	body, err := request(data, page)
	_ = data.Close()
	if err != nil && !errors.As(err, new(*statusError)) {
		_ = tunnel.Close()
		if text := <-complaint; text != "" {
			return nil, errors.New(text)
		}
	}
	return body, err
}

// request makes one HTTP request over a stream.
func request(over io.ReadWriter, page string) ([]byte, error) {
	req, err := http.NewRequest(http.MethodGet, "http://localhost/"+strings.TrimPrefix(page, "/"), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Close = true
	if err := req.Write(over); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(bufio.NewReader(over), req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := input.All(res.Body, input.Answer)
	if err == nil && res.StatusCode != http.StatusOK {
		return nil, &statusError{page, res.Status}
	}
	return body, err
}
