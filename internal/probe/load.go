package probe

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"isthmus.dev/isthmus/internal/patience"
)

// A Load is calls at an even rate for some time. Each call begins when its turn comes, however long earlier ones take,
// so that a mesh that stands still is not called less.
type Load struct {
	Call
	// Rate is calls a second, For how long they are begun.
	Rate int
	For  time.Duration
}

// A Miss is a call of a load that was not answered by a probe server.
type Miss struct {
	// At is when it began, Took how long it lasted.
	At         time.Time `json:"at"`
	TookMillis int64     `json:"tookMillis"`
	Class      Class     `json:"class"`
	Code       int       `json:"code,omitempty"`
	Flag       string    `json:"flag,omitempty"`
	Error      string    `json:"error"`
}

// Ended is when the caller knew that it had failed.
func (m Miss) Ended() time.Time { return m.At.Add(time.Duration(m.TookMillis) * time.Millisecond) }

// A Second is the calls of a load that began in one second.
type Second struct {
	At       time.Time      `json:"at"`
	Sent     int            `json:"sent"`
	Missed   int            `json:"missed"`
	Clusters map[string]int `json:"clusters,omitempty"` // where the others were answered
	// SlowestMillis is how long the slowest of the answered calls took.
	SlowestMillis int64 `json:"slowestMillis"`
}

// A LoadResult is how a load went.
type LoadResult struct {
	To       string         `json:"to"`
	Began    time.Time      `json:"began"`
	Sent     int            `json:"sent"`
	Answered int            `json:"answered"`
	Clusters map[string]int `json:"clusters,omitempty"`
	Misses   []Miss         `json:"misses,omitempty"`
	Seconds  []Second       `json:"seconds"`
}

// Load makes calls at a rate. How they went is the result; an error says that none could be made.
func (c Caller) Load(ctx context.Context, l Load) (LoadResult, error) {
	once, end, err := loadCaller(l.Call, l.Rate)
	if err != nil {
		return LoadResult{}, err
	}
	defer end()
	began := c.Now()
	total := int(l.For.Seconds() * float64(l.Rate))
	out := LoadResult{To: l.To, Began: began, Clusters: map[string]int{}}
	var mu sync.Mutex
	var calls sync.WaitGroup
	for n := range total {
		turn := began.Add(time.Duration(n) * time.Second / time.Duration(l.Rate))
		if patience.Sleep(ctx, turn.Sub(c.Now())) != nil {
			calls.Wait()
			return out, nil
		}
		calls.Go(func() {
			at, r := c.Now(), Result{}
			err := bounded(context.WithoutCancel(ctx), l.timeout(), func(ctx context.Context) error { return once(ctx, &r) })
			mu.Lock()
			defer mu.Unlock()
			out.count(at, c.Now().Sub(at), r, err)
		})
	}
	calls.Wait()
	return out, nil
}

// loadCaller is a caller for many calls at once, over as many connections as it takes.
func loadCaller(call Call, rate int) (func(context.Context, *Result) error, func(), error) {
	target, err := url.Parse(call.To)
	if err != nil {
		return nil, nil, fmt.Errorf("parse address: %w", err)
	}
	switch target.Scheme {
	case HTTP:
		once, end := httpCallerOver(target, call, &http.Transport{MaxIdleConnsPerHost: rate})
		return once, end, nil
	case GRPC:
		once, end := grpcCaller(target, call)
		return once, end, nil
	case TCP:
		once, end := tcpCaller(target)
		return once, end, nil
	}
	return nil, nil, fmt.Errorf("address %q begins with none of http://, grpc://, tcp://", call.To)
}

func (l *LoadResult) count(at time.Time, took time.Duration, r Result, err error) {
	for at.Sub(l.Began) >= time.Duration(len(l.Seconds))*time.Second {
		l.Seconds = append(l.Seconds, Second{At: l.Began.Add(time.Duration(len(l.Seconds)) * time.Second), Clusters: map[string]int{}})
	}
	s := &l.Seconds[int(at.Sub(l.Began)/time.Second)]
	l.Sent++
	s.Sent++
	if err != nil {
		r = r.failed(classify(err), err)
		s.Missed++
		l.Misses = append(l.Misses, Miss{At: at, TookMillis: took.Milliseconds(), Class: r.Class, Code: r.Code, Flag: r.Flag, Error: r.Error})
		return
	}
	l.Answered++
	l.Clusters[r.Reply.Cluster]++
	s.Clusters[r.Reply.Cluster]++
	s.SlowestMillis = max(s.SlowestMillis, took.Milliseconds())
}
