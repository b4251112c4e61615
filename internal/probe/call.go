package probe

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Caller makes calls.
type Caller struct {
	// Now is the clock by which latencies are taken.
	Now func() time.Time
	// Rand is where forged certificates and tokens take their keys from.
	Rand io.Reader
	// Parallel is how many calls of a list run at once. Zero: 16.
	Parallel int
}

// maxBody is how much of an unexpected answer a result keeps, in bytes.
const maxBody = 512

// protocolOf is the scheme of an address.
func protocolOf(to string) string {
	scheme, _, _ := strings.Cut(to, "://")
	return scheme
}

// All makes every call of a list, some at once, and returns the results in the order of the list.
func (c Caller) All(ctx context.Context, calls []Call) []Result {
	results := make([]Result, len(calls))
	var group errgroup.Group
	group.SetLimit(cmp.Or(c.Parallel, 16))
	for i, call := range calls {
		group.Go(func() error {
			results[i] = c.Do(ctx, call)
			return nil
		})
	}
	_ = group.Wait() // no call returns an error: how it went is its result
	return results
}

// Do makes one call, or call.Count of them. How it went is the result; there is no error beside it.
func (c Caller) Do(ctx context.Context, call Call) Result {
	call, err := c.withToken(call)
	if err != nil {
		return Result{ID: call.ID, To: call.To}.failed(Other, err)
	}
	return Repeat(ctx, call.Repeat, func() Result { return c.do(ctx, call) }).redacted()
}

// maxRepeat bounds what a plan may ask for.
const maxRepeat = 1000

// Repeat does something a number of times, see Call.Repeat. Zero and one are once.
func Repeat(ctx context.Context, times int, do func() Result) Result {
	first := do()
	if times <= 1 {
		return first
	}
	shown, differed, done := first, 0, 1
	for ; done < min(times, maxRepeat) && ctx.Err() == nil; done++ {
		again := do()
		if again.end() != first.end() {
			if differed++; differed == 1 {
				shown = again
			}
		}
	}
	shown.Repeated, shown.Differed = done, differed
	return shown
}

// end is how a call ended, as far as that is the same for calls that end alike.
func (r Result) end() string {
	who := ""
	if r.Reply != nil {
		who = r.Reply.Caller + " " + r.Reply.Server
	}
	return fmt.Sprint(r.OK, r.Code, r.Flag, r.Verdict(), slices.Sorted(maps.Keys(r.Clusters)), who)
}

func (c Caller) do(ctx context.Context, call Call) Result {
	r := Result{ID: call.ID, To: call.To}
	target, err := url.Parse(call.To)
	if err != nil {
		return r.failed(Other, fmt.Errorf("parse address: %w", err))
	}
	var once func(context.Context, *Result) error
	var end func()
	switch target.Scheme {
	case HTTP:
		once, end = httpCaller(target, call)
	case GRPC:
		once, end = grpcCaller(target, call)
	case TCP:
		once, end = tcpCaller(target)
	case TLS:
		once, end = c.tlsCaller(target, call)
	default:
		return r.failed(Other, fmt.Errorf("address %q begins with none of http://, grpc://, tcp://, tls://", call.To))
	}
	defer end()
	var took []time.Duration
	for range max(1, call.Count) {
		r.Sent++
		begin := c.Now()
		err := bounded(ctx, call.timeout(), func(ctx context.Context) error { return once(ctx, &r) })
		if err != nil {
			return r.failed(classify(err), err)
		}
		took = append(took, c.Now().Sub(begin))
		r.Answered++
		if r.Reply != nil {
			if r.Clusters == nil {
				r.Clusters = map[string]int{}
			}
			r.Clusters[r.Reply.Cluster]++
		}
	}
	r.OK, r.LatencyMillis = true, median(took)
	return r
}

// failed completes a result with what went wrong; a class that was set already is the better one.
func (r Result) failed(class Class, err error) Result {
	if odd, ok := errors.AsType[*answerError](err); ok {
		class, r.Code, r.Body = odd.class, odd.code, odd.body
	}
	r.Class, r.Error = class, err.Error()
	r.Flag = flagOf(cmp.Or(r.Body, r.Error))
	return r
}

// bounded runs f with a deadline.
func bounded(ctx context.Context, timeout time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return f(ctx)
}

// median in milliseconds; the first call is left out where there are more, since it made the connection.
func median(took []time.Duration) float64 {
	if len(took) > 1 {
		took = took[1:]
	}
	slices.Sort(took)
	return float64(took[len(took)/2].Microseconds()) / 1000
}

// An answerError is an answer that is not a probe server's.
type answerError struct {
	class Class
	code  int
	body  string
}

func (e *answerError) Error() string {
	if e.class == Foreign {
		return fmt.Sprintf("answered %d, but not as a probe server does: %s", e.code, e.body)
	}
	return fmt.Sprintf("answered %d: %s", e.code, e.body)
}

// httpCaller calls over HTTP/1.1, one connection for all.
func httpCaller(target *url.URL, call Call) (func(context.Context, *Result) error, func()) {
	return httpCallerOver(target, call, &http.Transport{DialContext: new(net.Dialer).DialContext})
}

func httpCallerOver(target *url.URL, call Call, transport *http.Transport) (func(context.Context, *Result) error, func()) {
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, r *Result) error {
		req, err := http.NewRequestWithContext(ctx, cmp.Or(call.Method, http.MethodGet), target.String(), nil)
		if err != nil {
			return fmt.Errorf("make request: %w", err)
		}
		req.Header.Set("User-Agent", "isthmus-probe")
		for name, value := range call.Headers {
			if strings.EqualFold(name, "host") {
				req.Host = value
			}
			req.Header.Set(name, value)
		}
		resp, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("call: %w", err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		if resp.StatusCode != http.StatusOK {
			return &answerError{class: Status, code: resp.StatusCode, body: clip(body)}
		}
		r.Code = resp.StatusCode
		return r.take(body)
	}, transport.CloseIdleConnections
}

// tcpCaller sends a line and reads one, over a new connection each time: a reused one would say nothing about
// whether the next can be made.
func tcpCaller(target *url.URL) (func(context.Context, *Result) error, func()) {
	return func(ctx context.Context, r *Result) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", target.Host)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		defer conn.Close()
		if deadline, ok := ctx.Deadline(); ok {
			if err := conn.SetDeadline(deadline); err != nil {
				return fmt.Errorf("set deadline: %w", err)
			}
		}
		if _, err := io.WriteString(conn, "isthmus-probe\n"); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		line, err := bufio.NewReaderSize(conn, maxLine).ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		return r.take(line)
	}, func() {}
}

// take reads a reply.
func (r *Result) take(body []byte) error {
	var reply Reply
	if err := json.Unmarshal(body, &reply); err != nil || reply.Protocol == "" {
		return &answerError{class: Foreign, code: r.Code, body: clip(body)}
	}
	r.Reply = &reply
	return nil
}

// clip keeps the beginning of a body, as one line.
func clip(body []byte) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(body[:min(len(body), maxBody)]), "")), " ")
}
