package probe

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// metadataReply is the gRPC response header that carries a Reply as JSON: the health service's own answer has
// no place for it. "-bin" lets gRPC encode it.
const metadataReply = "isthmus-reply-bin"

// Bounds on what a stranger may do to a server: anybody who reaches the pod may call it. A proof makes some dozen calls at
// once to each server.
const (
	maxLine     = 4 << 10
	maxHeader   = 64 << 10 // bytes; Envoy takes 60 KiB
	maxConns    = 512      // of each protocol at once; one more waits until another ends
	maxStreams  = 100      // of one gRPC connection at once, as nginx has it for HTTP/2
	idleTimeout = 2 * time.Minute
	headTimeout = 10 * time.Second
	callTimeout = 30 * time.Second // for all of one call
)

// A Server answers calls by saying what it saw of them.
type Server struct {
	// Cluster, Version and Pod are put into every reply.
	Cluster, Version, Pod string
	// HTTP, GRPC and TCP are addresses to listen on; empty: the usual ports on every address. "-": do not.
	HTTP, GRPC, TCP string
}

// Addresses are where a server listens; empty for what it does not serve.
type Addresses struct {
	HTTP string `json:"http,omitempty"`
	GRPC string `json:"grpc,omitempty"`
	TCP  string `json:"tcp,omitempty"`
}

// Serve listens until ctx ends, then lets running calls finish for a moment. ready is called once, as soon as
// every address is bound. An error says which address could not be had, or what ended the server before ctx did.
func (s Server) Serve(ctx context.Context, ready func(Addresses)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var at Addresses
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range []struct {
		name, want string
		port       int
		at         *string
		serve      func(context.Context, net.Listener) error
	}{
		{HTTP, s.HTTP, PortHTTP, &at.HTTP, s.serveHTTP},
		{GRPC, s.GRPC, PortGRPC, &at.GRPC, s.serveGRPC},
		{TCP, s.TCP, PortTCP, &at.TCP, s.serveTCP},
	} {
		if p.want == "-" {
			continue
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", cmp.Or(p.want, fmt.Sprintf(":%d", p.port)))
		if err != nil {
			cancel()
			return errors.Join(fmt.Errorf("listen for %s: %w", p.name, err), group.Wait())
		}
		*p.at = l.Addr().String()
		l = netutil.LimitListener(l, maxConns)
		group.Go(func() error { return p.serve(ctx, l) })
	}
	ready(at)
	return group.Wait()
}

// serveHTTP speaks HTTP/1.1 and, without TLS, HTTP/2.
func (s Server) serveHTTP(ctx context.Context, l net.Listener) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler: s.answerHTTP(new(tally)), Protocols: &protocols,
		ReadHeaderTimeout: headTimeout, ReadTimeout: callTimeout, WriteTimeout: callTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
	}
	stop := context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := server.Shutdown(last); err != nil {
			_ = server.Close() // calls that outlast the second are cut
		}
	})
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http on %s: %w", l.Addr(), err)
	}
	return nil
}

// serveGRPC serves the standard health service; the reply goes with it as metadata.
func (s Server) serveGRPC(ctx context.Context, l net.Listener) error {
	server := grpc.NewServer(
		grpc.UnaryInterceptor(s.answerGRPC), grpc.ConnectionTimeout(headTimeout), grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(maxLine), grpc.MaxHeaderListSize(maxHeader),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout}),
	)
	healthpb.RegisterHealthServer(server, health.NewServer())
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := server.Serve(l); err != nil {
		return fmt.Errorf("serve grpc on %s: %w", l.Addr(), err)
	}
	return nil
}

func (s Server) answerGRPC(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	reply := Reply{Cluster: s.Cluster, Version: s.Version, Pod: s.Pod, Protocol: GRPC}
	if p, ok := peer.FromContext(ctx); ok {
		reply.Remote = p.Addr.String()
	}
	reply.fill(func(name string) string {
		if name == "Host" {
			name = ":authority"
		}
		return strings.Join(metadata.ValueFromIncomingContext(ctx, strings.ToLower(name)), ",")
	})
	body, err := json.Marshal(reply)
	if err != nil {
		return nil, fmt.Errorf("encode reply: %w", err)
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs(metadataReply, string(body))); err != nil {
		return nil, fmt.Errorf("send reply: %w", err)
	}
	return next(ctx, req)
}

// serveTCP answers every line with a reply of one line.
func (s Server) serveTCP(ctx context.Context, l net.Listener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve tcp on %s: %w", l.Addr(), err)
		}
		conns.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			s.answerTCP(conn)
		})
	}
}

func (s Server) answerTCP(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(make([]byte, 0, 256), maxLine)
	out := json.NewEncoder(conn)
	for {
		if err := conn.SetDeadline(time.Now().Add(idleTimeout)); err != nil || !lines.Scan() {
			return
		}
		reply := Reply{
			Cluster: s.Cluster, Version: s.Version, Pod: s.Pod, Protocol: TCP, Remote: conn.RemoteAddr().String(), Echo: lines.Text(),
		}
		if out.Encode(reply) != nil {
			return
		}
	}
}
