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

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	// Component of the cluster, for stop, pause and slow.
	Component string `json:"component,omitempty"`
	// Peer is the other side, for cut; empty for everybody.
	Peer string `json:"peer,omitempty"`
	// Link is the distance, for link.
	Link *config.Link `json:"link,omitempty"`
	// Namespace and Pod say which pods, or for scale which Deployments: Pod is a name, or a label selector if it has a
	// "="; an empty Namespace is all of them.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	// Container of those pods; all when empty.
	Container string `json:"container,omitempty"`
	// Groups remembers, for pause-pods, the cgroups that were paused.
	Groups []string `json:"groups,omitempty"`
	// Replicas remembers, for scale, how many there were, by NAMESPACE/NAME.
	Replicas map[string]int32 `json:"replicas,omitempty"`
	// Slow is how long the component is frozen at a time, for slow.
	Slow metav1.Duration `json:"slow,omitzero"`
	// Account is the ServiceAccount in Namespace, for token, and Stored remembers it as it lay in etcd.
	Account string `json:"account,omitempty"`
	Stored  []byte `json:"stored,omitempty"`
	// Since is when it began.
	Since time.Time `json:"since,omitempty"`
	// Seen says what it did, for people.
	Seen string `json:"seen,omitempty"`
}

// kind is one sort of fault. Both functions are given all faults that hold once they are done.
type kind struct {
	// begin may fill in fields of the fault that end needs. It may be called again for a fault that holds already,
	// after the supervisor was started anew.
	begin func(ctx context.Context, s *Supervisor, f *Fault, all []Fault) error
	// end mends it; a kind without end is over as soon as it has happened.
	end func(ctx context.Context, s *Supervisor, f Fault, all []Fault) error
}

var kinds = map[string]kind{
	"stop":       {begin: stopComponent, end: startComponent},
	"pause":      {begin: pauseComponent, end: resumeComponent},
	"slow":       {begin: slowComponent, end: quickenComponent},
	"token":      {begin: endTokens, end: reviveTokens},
	"cut":        {begin: beginCut, end: endCut},
	"link":       {begin: beginLink, end: endLink},
	"kill-pods":  {begin: killPods},
	"pause-pods": {begin: pausePods, end: resumePods},
	"scale":      {begin: scaleDown, end: scaleUp},
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

// hold keeps components back that a fault has stopped, before anything is started.
func (f *faults) hold() {
	for _, x := range f.list {
		if x.Kind != "stop" {
			continue
		}
		list, err := f.s.components(x)
		if err != nil {
			f.s.log.Warn("keep component stopped", "fault", x.ID, "error", err)
		}
		for _, p := range list {
			p.setHold(true)
		}
	}
}

// keep begins again, once, what an earlier supervisor had begun.
func (f *faults) keep(ctx context.Context) {
	for _, x := range f.all() {
		for wait := minBackoff; ctx.Err() == nil; wait = min(2*wait, maxBackoff) {
			err := kinds[x.Kind].begin(ctx, f.s, &x, f.all())
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
	if err := k.begin(ctx, f.s, &x, append(slices.Clone(f.list), x)); err != nil {
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

// end mends the fault with that id; every fault if id is empty, the last one first. It returns what it mended.
func (f *faults) end(ctx context.Context, id string) ([]Fault, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var mended []Fault
	var problems []error
	for _, x := range slices.Backward(slices.Clone(f.list)) {
		if id != "" && x.ID != id {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(f.list), func(y Fault) bool { return y.ID == x.ID })
		if err := kinds[x.Kind].end(ctx, f.s, x, left); err != nil {
			problems = append(problems, fmt.Errorf("mend %s: %w", x.ID, err))
			continue
		}
		f.s.log.Info("fault mended", "kind", x.Kind, "cluster", x.Cluster, "id", x.ID)
		f.list = left
		mended = append(mended, x)
	}
	if id != "" && len(mended) == 0 && len(problems) == 0 {
		return nil, fmt.Errorf("there is no fault %q; see isthmus-lab fault list", id)
	}
	problems = append(problems, writeJSON(f.path, f.list))
	return mended, errors.Join(problems...)
}
