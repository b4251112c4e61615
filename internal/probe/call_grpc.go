package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// dialer remembers why the last connection could not be made: gRPC itself only keeps its text.
type dialer struct {
	mu   sync.Mutex
	last error
}

func (d *dialer) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = err
	return conn, err
}

func (d *dialer) why() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

// grpcCaller asks the standard health service, over one connection for all.
func grpcCaller(target *url.URL, call Call) (func(context.Context, *Result) error, func()) {
	d := &dialer{}
	sent, authority := metadata.MD{}, target.Host
	for name, value := range call.Headers {
		if strings.EqualFold(name, "host") {
			authority = value
			continue
		}
		sent.Set(name, value)
	}
	conn, err := grpc.NewClient("passthrough:///"+target.Host, grpc.WithAuthority(authority),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(d.dial),
		grpc.WithDisableServiceConfig(), grpc.WithNoProxy(), grpc.WithUserAgent("isthmus-probe"))
	if err != nil {
		return func(context.Context, *Result) error { return fmt.Errorf("make client: %w", err) }, func() {}
	}
	client := healthpb.NewHealthClient(conn)
	once := func(ctx context.Context, r *Result) error {
		var header metadata.MD
		_, err := client.Check(metadata.NewOutgoingContext(ctx, sent), &healthpb.HealthCheckRequest{}, grpc.Header(&header))
		if err != nil {
			return grpcError(err, d.why())
		}
		replies := header.Get(metadataReply)
		if len(replies) == 0 {
			return &answerError{class: Foreign, body: "a health service without a reply"}
		}
		return r.take([]byte(replies[0]))
	}
	return once, func() { _ = conn.Close() }
}

// grpcError tells a call that found no connection from one that was answered with a status.
func grpcError(err, dial error) error {
	s := status.Convert(err)
	switch {
	case dial != nil:
		return fmt.Errorf("connect: %w", dial)
	case s.Code() == codes.DeadlineExceeded:
		return fmt.Errorf("call: %w", errors.Join(context.DeadlineExceeded, err))
	default:
		return &answerError{class: grpcClass(s), code: int(s.Code()), body: clip([]byte(s.Message()))}
	}
}

// grpcClass: what gRPC itself says of a connection that ended has these texts; what a proxy or server answered
// has others.
func grpcClass(s *status.Status) Class {
	for _, text := range []string{"error reading server preface", "connection reset by peer", "EOF", "transport is closing"} {
		if s.Code() == codes.Unavailable && strings.Contains(s.Message(), text) {
			return Reset
		}
	}
	return Status
}
