package explain

import (
	"fmt"
	"net"
	"slices"
	"strconv"
)

// calleePort is the port of the pod that the Service's port leads to; 0 where that is not known.
func (j *judge) calleePort() int {
	s := j.to()
	service := s.service(j.Call.Host)
	if service == nil {
		return 0
	}
	p := service.port(j.Call.Port)
	if p == nil {
		return 0
	}
	if n, err := strconv.Atoi(p.Target); err == nil {
		return n
	}
	if len(s.Callees) > 0 {
		return s.Callees[0].Ports[p.Target]
	}
	return 0
}

// callee: is its pod ready, does its proxy take the call, and does its program listen?
func (j *judge) callee() (Hop, bool) {
	s := j.to()
	if s.Err != "" {
		return Hop{}, false
	}
	h := hop("callee", s.Cluster, "")
	if why := s.Unread["Pod"]; why != "" {
		return h.unknown("pods could not be read: %s", why), true
	}
	ready, proxied := 0, 0
	for _, p := range s.Callees {
		if p.Ready {
			ready++
		}
		if p.Sidecar {
			proxied++
		}
	}
	h.Seen = fmt.Sprintf("%d of %d pods ready, %d with a proxy", ready, len(s.Callees), proxied)
	if h, ok := j.calleeUnready(h); ok {
		return h, true
	}
	if proxied == 0 {
		if j.multiNetwork() && j.From.Cluster != j.To.Cluster {
			h, _ = j.calleeUnproxied(h)
			return h, true
		}
		return h.with("plain text, no policy holds for it"), true
	}
	return j.inbound(h), true
}

// inbound looks at the callee's own proxy.
func (j *judge) inbound(h Hop) Hop {
	s, port := j.to(), j.calleePort()
	p := s.CalleeProxy
	if p == nil || p.Err != "" || port == 0 {
		return h
	}
	h = h.with("pod %s, port %d", p.Pod, port)
	if why := j.calleeRejects(); why != "" {
		return h.doubtful("proxy-rejects", s.kubectl("logs -n %s %s -c istio-proxy --tail=20", p.Namespace, p.Pod),
			"the callee's proxy in %s rejects %s, and goes on with what it had before", s.Cluster, why)
	}
	for _, l := range p.Listeners {
		if l.Name != "virtualInbound" {
			continue
		}
		if slices.ContainsFunc(l.Chains, func(c Chain) bool { return c.Port == port }) {
			h = h.with("inbound listener has a chain for %d", port)
		}
	}
	for name, u := range p.Clusters {
		n, ok := parseUpstream(name)
		if !ok || n.direction != "inbound" || n.port != port {
			continue
		}
		for _, e := range u.Endpoints {
			if e.ConnectFails > 0 {
				return h.broken("app-not-listening", fmt.Sprintf("correct targetPort of Service %s/%s in %s", j.To.Namespace, j.serviceName(), s.Cluster),
					"the program in %s's pod %s does not listen on port %d: its own proxy failed to connect %d times", s.Cluster, p.Pod, port, e.ConnectFails)
			}
		}
	}
	if pod := j.calleePod(); pod != nil && len(pod.Ports) > 0 && !declares(pod, port) {
		return h.with("no container declares port %d", port)
	}
	return h
}

// calleeRejects is what the callee's proxy refused; what was written since then does not hold there.
func (j *judge) calleeRejects() string {
	s := j.to()
	if s.CalleeProxy == nil {
		return ""
	}
	return rejects(s, s.CalleeProxy, &Pod{Namespace: s.CalleeProxy.Namespace, Name: s.CalleeProxy.Pod})
}

func (j *judge) serviceName() string {
	if s := j.to().service(j.Call.Host); s != nil {
		return s.Name
	}
	return j.To.Name
}

func declares(p *Pod, port int) bool {
	for _, n := range p.Ports {
		if n == port {
			return true
		}
	}
	return false
}

// calleePod is the pod that policies are judged for: one that is ready, if there is one.
func (j *judge) calleePod() *Pod {
	s := j.to()
	i := slices.IndexFunc(s.Callees, func(p Pod) bool { return p.Ready && p.Sidecar })
	switch {
	case i >= 0:
		return &s.Callees[i]
	case len(s.Callees) > 0:
		return &s.Callees[0]
	}
	return nil
}

// source is the address that the callee's proxy sees: the caller's, or its own gateway's.
func (j *judge) source() (ip string, known bool) {
	if j.through || j.from().Caller == nil {
		return "", false
	}
	return j.from().Caller.IP, net.ParseIP(j.from().Caller.IP) != nil
}
