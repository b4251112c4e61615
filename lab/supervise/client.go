package supervise

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// A Client speaks to the supervisor that listens on a socket.
type Client struct {
	http *http.Client
}

// NewClient returns a client of the supervisor behind socket. It connects with each call.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: time.Minute}}
}

// Status returns the lab's state.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.call(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}

// Begin makes a fault happen.
func (c *Client) Begin(ctx context.Context, f Fault) (Fault, error) {
	var out Fault
	err := c.call(ctx, http.MethodPost, "/faults", f, &out)
	return out, err
}

// End mends the fault with that id, or all of them if id is empty.
func (c *Client) End(ctx context.Context, id string) ([]Fault, error) {
	var out []Fault
	err := c.call(ctx, http.MethodDelete, "/faults?id="+url.QueryEscape(id), nil, &out)
	return out, err
}

// Stop ends every program of the lab, and the supervisor.
func (c *Client) Stop(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/stop", nil, &struct{}{})
}

// Leave ends the supervisor and nothing else: the programs run on for the next one.
func (c *Client) Leave(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/leave", nil, &struct{}{})
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the lab's supervisor: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		var e struct{ Error string }
		if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
			return fmt.Errorf("ask the lab's supervisor: %s", resp.Status)
		}
		return errors.New(e.Error)
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the supervisor's answer: %w", err)
	}
	return nil
}
