package explain

import (
	"fmt"
	"strings"
)

// away is the hop of a cluster that does not answer.
func (j *judge) away(h Hop, s *Site) (Hop, bool) {
	if s.Err == "" {
		return h, false
	}
	h.Seen = "nothing could be read"
	return h.broken("cluster-away", s.kubectl("get --raw /readyz"), "%s's API server does not answer: %s", s.Cluster, s.Err), true
}

// caller: is there a pod that calls, and has it a proxy that takes what its control plane says?
func (j *judge) caller() (Hop, bool) {
	s := j.from()
	h := hop("proxy", s.Cluster, "")
	if h, away := j.away(h, s); away {
		return h, true
	}
	p := s.Caller
	if p == nil {
		h.Seen = "no such workload"
		return h.broken("caller-missing", s.kubectl("get pods -n %s", j.From.Namespace), "no workload %s runs in namespace %s of %s",
			j.From.Name, j.From.Namespace, s.Cluster), true
	}
	h.Seen = fmt.Sprintf("pod %s, identity %s", p.Name, j.principal(p))
	if !p.Sidecar {
		h.Seen = fmt.Sprintf("pod %s has no proxy", p.Name)
		j.plain = true
		mode := j.peerMode()
		if j.From.Cluster == j.To.Cluster && mode.mode != strict {
			return h.with("plain text is taken: %s", mode), true
		}
		why := fmt.Sprintf("so it knows no endpoint in %s", j.To.Cluster)
		if j.From.Cluster == j.To.Cluster {
			why = fmt.Sprintf("so it sends plain text, and %s", mode)
		}
		return h.broken("caller-no-proxy", injectionMend(s, p), "the caller %s in %s has no proxy%s, %s", p.Name, s.Cluster, whyNoProxy(s, p), why), true
	}
	return j.proxyState(h, s, p), true
}

func (j *judge) proxyState(h Hop, s *Site, p *Pod) Hop {
	if s.CallerProxy == nil || s.CallerProxy.Err != "" {
		why := "was not asked"
		if s.CallerProxy != nil {
			why = s.CallerProxy.Err
		}
		return h.unknown("the proxy of pod %s could not be asked: %s", p.Name, why)
	}
	if why := rejects(s, s.CallerProxy, p); why != "" {
		return h.doubtful("proxy-rejects", s.kubectl("logs -n %s %s -c istio-proxy --tail=20", p.Namespace, p.Name),
			"the caller's proxy in %s rejects %s, and goes on with what it had before", s.Cluster, why)
	}
	if n, ready := istiods(s); n > 0 && ready == 0 {
		return h.doubtful("control-plane-not-ready", s.kubectl("get pods -n %s -l app=istiod", rootNamespace),
			"%s's control plane has no ready pod: its proxies go on with what they know", s.Cluster)
	}
	if !p.Ready {
		h = h.with("the pod is not ready: %s", p.Problem)
	}
	return h
}

// rejects is what a pod's proxy refused of what it was last sent, in its own words; "" where it took everything.
func rejects(s *Site, proxy *Proxy, p *Pod) string {
	if proxy != nil {
		for _, l := range proxy.Listeners {
			if l.Err != "" {
				return oneLine(fmt.Sprintf("listener %s: %s", l.Name, l.Err))
			}
		}
	}
	for _, x := range s.Pages.Proxies {
		if x.Proxy != p.Name+"."+p.Namespace {
			continue
		}
		for _, kind := range sortedKeys(x.Resources) {
			if why := x.Resources[kind].LastError; why != "" {
				return oneLine(kind[strings.LastIndexByte(kind, '.')+1:] + ": " + why)
			}
		}
	}
	return ""
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func istiods(s *Site) (n int, ready int32) {
	if s.Facts == nil {
		return 0, 0
	}
	for _, i := range s.Facts.Istiods {
		ready += i.Ready
	}
	return len(s.Facts.Istiods), ready
}

// whyNoProxy is what keeps a pod from having one.
func whyNoProxy(s *Site, p *Pod) string {
	if p.Labels["sidecar.istio.io/inject"] == "false" {
		return " (its label sidecar.istio.io/inject: \"false\")"
	}
	labels, ok := s.namespace(p.Namespace)
	if ok && labels["istio-injection"] != "enabled" && labels["istio.io/rev"] == "" {
		return fmt.Sprintf(" (namespace %s is not labelled for injection there)", p.Namespace)
	}
	return ""
}

func injectionMend(s *Site, p *Pod) string {
	if strings.Contains(whyNoProxy(s, p), "sidecar.istio.io") {
		return "take the label sidecar.istio.io/inject off the pod's template"
	}
	if whyNoProxy(s, p) != "" {
		return s.kubectl("label namespace %s istio-injection=enabled --overwrite", p.Namespace) + ", then restart its workloads"
	}
	return "restart the workload, so that it is injected"
}

// name: does the host resolve where the call starts?
func (j *judge) name() (Hop, bool) {
	s := j.from()
	if s.Err != "" {
		return Hop{}, false
	}
	h := hop("name", s.Cluster, "%s", j.Call.Host)
	if why := s.Unread["Service"]; why != "" {
		return h.unknown("Services of %s could not be read: %s", s.Cluster, why), true
	}
	service := s.service(j.Call.Host)
	if service == nil {
		if s.DNSCapture {
			return h.with("no Service there; the proxy answers DNS itself (ISTIO_META_DNS_CAPTURE)"), true
		}
		missing := "Service"
		if _, ok := s.namespace(j.To.Namespace); !ok {
			missing = "namespace " + j.To.Namespace + " and no Service"
		}
		other, _, _ := strings.Cut(j.Call.Host, ".")
		mend := fmt.Sprintf("create the Service %s/%s in %s too, without pods", j.To.Namespace, other, s.Cluster)
		return h.broken("no-local-name", mend, "%s has no %s %s, so its DNS does not know %s and the call never reaches the proxy",
			s.Cluster, missing, other, j.Call.Host), true
	}
	port := service.port(j.Call.Port)
	if port == nil {
		return h.broken("port-missing", fmt.Sprintf("--port %s", portsOf(service)), "Service %s/%s in %s has no port %d; it has %s",
			service.Namespace, service.Name, s.Cluster, j.Call.Port, portsOf(service)), true
	}
	h.Seen = fmt.Sprintf("%s → %s, port %d %s (%s)", j.Call.Host, orNone(service.ClusterIP), port.Port, port.Name, protocolOf(*port))
	return h, true
}

func orNone(s string) string {
	if s == "" || s == "None" {
		return "headless"
	}
	return s
}

func portsOf(s *Service) string {
	var all []string
	for _, p := range s.Ports {
		all = append(all, fmt.Sprint(p.Port))
	}
	return strings.Join(all, ", ")
}

// protocolOf is what Istio takes a port to speak: appProtocol, then the beginning of its name.
func protocolOf(p ServicePort) string {
	if p.AppProtocol != "" {
		return strings.TrimPrefix(strings.ToLower(p.AppProtocol), "kubernetes.io/")
	}
	first, _, _ := strings.Cut(strings.ToLower(p.Name), "-")
	switch first {
	case "http", "http2", "grpc", "tcp", "tls", "https", "mongo", "mysql", "redis", "udp":
		return first
	}
	return "detected"
}

// speaksHTTP tells whether a proxy routes calls of a protocol by their content.
func speaksHTTP(protocol string) bool {
	switch protocol {
	case "http", "http2", "grpc", "detected", "h2c", "ws", "grpc-web":
		return true
	}
	return false
}
