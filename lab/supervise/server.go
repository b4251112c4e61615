package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// serve answers on the lab's socket until the function it returns is called.
func (s *Supervisor) serve() (func(), error) {
	path := s.lab.Socket()
	_ = os.Remove(path) // the lock is ours, so whoever listened there is gone
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.status(), nil) })
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var f Fault
		if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
			reply(w, nil, err)
			return
		}
		f, err := s.faults.begin(r.Context(), f)
		reply(w, f, err)
	})
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, r *http.Request) {
		list, err := s.faults.end(r.Context(), r.URL.Query().Get("id"))
		reply(w, list, err)
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		s.halt()
		reply(w, struct{}{}, nil)
		s.quit()
	})
	mux.HandleFunc("POST /leave", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, struct{}{}, nil)
		s.quit()
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("answer on the lab's socket", "error", err)
			s.quit()
		}
	}()
	return func() {
		time.Sleep(10 * time.Millisecond) // the answer to /stop is on its way
		_ = server.Close()
	}, nil
}

func reply(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		v = map[string]string{"error": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(v)
}

// halt ends every program at once and for good. It is for down, after which nothing of the lab is kept: so there is
// nothing to save, and an API server whose etcd is gone does not end on SIGTERM anyway.
func (s *Supervisor) halt() {
	var wg sync.WaitGroup
	for _, c := range s.clusters {
		for _, p := range c.processes {
			wg.Go(func() {
				p.setHold(true)
				r := p.snapshot()
				if p.signal(syscall.SIGKILL) == nil {
					gone(r, grace) // its remains are this process's to clear away
				}
			})
		}
	}
	wg.Wait()
}

func (s *Supervisor) status() Status {
	st := Status{
		Lab: s.lab.Name, Dir: s.lab.Dir, Kubeconfig: s.lab.Kubeconfig, Layout: s.lab.Digest(), PID: os.Getpid(), Since: s.began,
		Ready: true, Clusters: []ClusterStatus{}, Faults: s.faults.all(),
	}
	for _, c := range s.clusters {
		cs := c.status()
		st.Ready = st.Ready && cs.Ready
		st.Memory += cs.Memory
		st.Clusters = append(st.Clusters, cs)
	}
	return st
}

func (c *cluster) status() ClusterStatus {
	c.mu.Lock()
	cs := ClusterStatus{
		Name: c.Name, Network: c.Network, Region: c.Region, Hollow: c.Hollow, Server: c.APIServer(),
		Doing: c.doing, Problem: c.problem, ReadyAfter: c.readyAfter.Seconds(),
		Nodes: []NodeStatus{}, Components: []ComponentStatus{},
	}
	c.mu.Unlock()
	cs.Ready = cs.Doing == ""
	answers := false
	for _, p := range c.processes {
		r := p.snapshot()
		answers = answers || p.Name == "kube-apiserver" && r.State == Ready
		k := ComponentStatus{Name: p.Name, Node: p.NodeName(), Memory: residentBytes(r.PID), Log: p.Log(), Record: r}
		cs.Ready = cs.Ready && r.State == Ready
		cs.Memory += k.Memory
		cs.Components = append(cs.Components, k)
	}
	if c.Hollow {
		cs.LoadBalancers = c.loadBalancers()
		return cs
	}
	for _, n := range c.Nodes {
		ns := NodeStatus{Name: n.Name, Address: n.Address.String(), Region: n.Region, Zone: n.Zone, Pods: n.Pods.String(), Ready: answers && c.nodeReady(n.Name)}
		cs.Ready = cs.Ready && ns.Ready
		cs.Nodes = append(cs.Nodes, ns)
	}
	cs.LoadBalancers = c.loadBalancers()
	return cs
}
