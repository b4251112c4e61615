package probe

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"isthmus.dev/isthmus/internal/patience"
)

// What an HTTP call can ask of a server, by its path. Every other path is answered with a Reply at once.
const (
	// pathCount is answered with a Reply that has Counts.
	pathCount = "/-/count"
	// pathStatus and a status: the Reply comes with that status. "?cluster=east": only where the server is told that it
	// runs there. "?attempts=2": only the first two attempts of a call, as its caller's proxy counts them.
	pathStatus = "/-/status/"
	// pathWait and a duration: the Reply comes after it, or never if the caller goes first.
	pathWait = "/-/wait/"
)

// More bounds on what a stranger may do to a server.
const (
	maxWait   = time.Minute
	maxCounts = 1000
)

// otherPaths is where calls are counted when there are maxCounts paths already.
const otherPaths = "others"

// A tally counts calls by their path.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (t *tally) count(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	if _, known := t.counts[path]; !known && len(t.counts) >= maxCounts {
		path = otherPaths
	}
	t.counts[path]++
}

func (t *tally) all() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}

// answerHTTP says what was seen of a call, in the way that its path asks for.
func (s Server) answerHTTP(calls *tally) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		reply := Reply{Cluster: s.Cluster, Version: s.Version, Pod: s.Pod, Protocol: strings.ToLower(r.Proto), Remote: r.RemoteAddr}
		reply.fill(headerOf(r))
		if r.URL.Path == pathCount {
			reply.Counts = calls.all() // how often it is asked is not counted
		} else {
			calls.count(r.URL.Path)
		}
		code, wait, err := s.asked(r.URL, r.Header.Get(headerAttempt))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if wait > 0 && patience.Sleep(r.Context(), wait) != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(reply) // the caller is gone: nobody to tell
	}
}

// asked reads from a path the status of the answer, and how long it takes.
func (s Server) asked(u *url.URL, attempt string) (code int, wait time.Duration, err error) {
	if text, ok := strings.CutPrefix(u.Path, pathWait); ok {
		wait, err = time.ParseDuration(text)
		if err != nil || wait < 0 || wait > maxWait {
			return 0, 0, fmt.Errorf("%q is no time to wait: %s5s, up to %s", text, pathWait, maxWait)
		}
		return http.StatusOK, wait, nil
	}
	text, ok := strings.CutPrefix(u.Path, pathStatus)
	if !ok {
		return http.StatusOK, 0, nil
	}
	code, err = strconv.Atoi(text)
	if err != nil || code < 200 || code > 599 { // 1xx do not end a call
		return 0, 0, fmt.Errorf("%q is no status: %s503, from 200 to 599", text, pathStatus)
	}
	if c := u.Query().Get("cluster"); c != "" && c != s.Cluster {
		return http.StatusOK, 0, nil
	}
	limit := u.Query().Get("attempts")
	if limit == "" {
		return code, 0, nil
	}
	most, err := strconv.Atoi(limit)
	if err != nil {
		return 0, 0, fmt.Errorf("attempts=%q is no number", limit)
	}
	n, err := strconv.Atoi(cmp.Or(attempt, "1")) // no proxy counts: every attempt is a call of its own
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %q is no number", headerAttempt, attempt)
	}
	if n > most {
		return http.StatusOK, 0, nil
	}
	return code, 0, nil
}
