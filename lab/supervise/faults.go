package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"isthmus.dev/isthmus/lab/config"
)

// A Fault is something that was broken on purpose, and can be mended again.
type Fault struct {
	// ID is given by the supervisor: f1, f2, ...
	ID string `json:"id,omitempty"`
	// Kind is one of the keys of kinds.
	Kind string `json:"kind"`
	// Cluster is the one it happens to.
	Cluster string `json:"cluster,omitempty"`
	// Component of the cluster, for stop and pause.
	Component string `json:"component,omitempty"`
	// Peer is the other side, for cut; empty for everybody.
	Peer string `json:"peer,omitempty"`
	// Link is the distance, for link.
	Link *config.Link `json:"link,omitempty"`
	// Namespace and Pod say which pods: Pod is a name, or a label selector if it has a "=".
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	// Replicas remembers, for scale, how many there were, by NAMESPACE/NAME.
	Replicas map[string]int32 `json:"replicas,omitempty"`
	// Since is when it began.
	Since time.Time `json:"since,omitempty"`
	// Seen says what it did, for people.
	Seen string `json:"seen,omitempty"`
}

// kind is one sort of fault. begin may fill in fields of the fault that end needs; it may be called again for a fault
// that holds already, after the supervisor was started anew. A kind without end is over as soon as it has happened.
type kind struct {
	begin func(ctx context.Context, s *Supervisor, f *Fault) error
	end   func(ctx context.Context, s *Supervisor, f Fault) error
}

var kinds = map[string]kind{
	"stop":  {begin: stopComponent, end: startComponent},
	"pause": {begin: pauseComponent, end: resumeComponent},
}

// faults are those that hold now.
type faults struct {
	s    *Supervisor
	path string

	mu   sync.Mutex
	next int
	list []Fault
}

func loadFaults(s *Supervisor) (*faults, error) {
	f := &faults{s: s, path: filepath.Join(s.lab.Run, "faults.json"), next: 1}
	data, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read faults: %w", err)
	}
	if err := json.Unmarshal(data, &f.list); err != nil {
		return nil, fmt.Errorf("read faults, %s: %w", f.path, err)
	}
	for _, x := range f.list {
		if n, err := strconv.Atoi(x.ID[1:]); err == nil {
			f.next = max(f.next, n+1)
		}
	}
	return f, nil
}

// keep begins again, once, what an earlier supervisor had begun.
func (f *faults) keep(ctx context.Context) {
	for _, x := range f.all() {
		for wait := minBackoff; ctx.Err() == nil; wait = min(2*wait, maxBackoff) {
			err := kinds[x.Kind].begin(ctx, f.s, &x)
			if err == nil {
				break
			}
			f.s.log.Warn("begin fault again", "fault", x.ID, "error", err)
			sleep(ctx, wait)
		}
	}
}

func (f *faults) all() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

// begin makes the fault happen. It returns it with its ID, empty if it is over already.
func (f *faults) begin(ctx context.Context, x Fault) (Fault, error) {
	k, ok := kinds[x.Kind]
	if !ok {
		return Fault{}, fmt.Errorf("there is no fault %q", x.Kind)
	}
	if _, err := f.s.cluster(x.Cluster); err != nil && x.Cluster != "" {
		return Fault{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	x.Since = f.s.clock()
	if k.end != nil {
		x.ID = "f" + strconv.Itoa(f.next)
	}
	if err := k.begin(ctx, f.s, &x); err != nil {
		return Fault{}, err
	}
	f.s.log.Info("fault", "kind", x.Kind, "cluster", x.Cluster, "id", x.ID)
	if k.end == nil {
		return x, nil
	}
	f.next++
	f.list = append(f.list, x)
	return x, writeJSON(f.path, f.list)
}

// end mends the fault with that id; every fault if id is empty. It returns what it mended.
func (f *faults) end(ctx context.Context, id string) ([]Fault, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var mended, left []Fault
	var problems []error
	for _, x := range slices.Backward(f.list) {
		if id != "" && x.ID != id {
			left = append(left, x)
			continue
		}
		if err := kinds[x.Kind].end(ctx, f.s, x); err != nil {
			problems = append(problems, fmt.Errorf("mend %s: %w", x.ID, err))
			left = append(left, x)
			continue
		}
		f.s.log.Info("fault mended", "kind", x.Kind, "cluster", x.Cluster, "id", x.ID)
		mended = append(mended, x)
	}
	if id != "" && len(mended) == 0 && len(problems) == 0 {
		return nil, fmt.Errorf("there is no fault %q; see isthmus-lab fault list", id)
	}
	slices.Reverse(left)
	f.list = left
	problems = append(problems, writeJSON(f.path, f.list))
	return mended, errors.Join(problems...)
}
