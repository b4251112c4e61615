package supervise

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"

	"isthmus.dev/isthmus/lab/component"
	"isthmus.dev/isthmus/lab/layout"
	"isthmus.dev/isthmus/lab/wire"
)

// asker asks one component whether it is ready, from inside its network namespace.
type asker struct {
	probe  component.Probe
	client *http.Client
}

func newAsker(i component.Instance) *asker {
	probe := i.Ready(i.Site)
	// Only the path from the supervisor to a program it has started itself: the certificate is one that we know.
	tlsConfig := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // see above
	if probe.Leaf != "" {
		crt := i.Site.Cluster.Path("pki", probe.Leaf+".crt")
		key := i.Site.Cluster.Path("pki", probe.Leaf+".key")
		tlsConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(crt, key)
			return &c, err
		}
	}
	t := &http.Transport{DialContext: dialFrom(i.Site.Node), TLSClientConfig: tlsConfig}
	return &asker{probe: probe, client: &http.Client{Transport: t, Timeout: 2 * time.Second}}
}

// dialFrom connects from inside a node's network namespace.
func dialFrom(n layout.Node) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		err = wire.In(n.NetNS, func() error {
			d := net.Dialer{Timeout: time.Second}
			conn, err = d.DialContext(ctx, network, addr)
			return err
		})
		return conn, err
	}
}

func (a *asker) ready(ctx context.Context) bool {
	if a.probe.Socket != "" {
		conn, err := net.DialTimeout("unix", a.probe.Socket, time.Second)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.probe.URL, nil)
	if err != nil {
		return false
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (a *asker) close() { a.client.CloseIdleConnections() }
