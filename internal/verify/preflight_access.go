package verify

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
)

const (
	// slowAPI is the latency from which an API server counts as slow. A plan reads about a hundred objects of a
	// cluster and apply writes as many: at 300 ms a request that is half a minute where it should be seconds.
	slowAPI = 300 * time.Millisecond
	// skewSeen is the least difference between two clocks that is a finding. The Date header counts whole
	// seconds, so that two clocks that agree may seem up to 1 s apart; 2 s is a real difference.
	skewSeen = 2 * time.Second
	// skewBad is where a difference begins to break things. Tokens with times in them are refused from 1 min on
	// (go-jose's DefaultLeeway, which API servers use, and Envoy's clock_skew_seconds), and Istio's certificates
	// begin 2 min before they are made (ClockSkewGracePeriod in istio security/pkg/pki/util): a proxy whose clock
	// is further behind refuses every new one.
	skewBad = time.Minute
	// endsSoon is how long before its end a certificate or a credential is worth a warning: time for a person
	// to act, holidays included.
	endsSoon = 30 * 24 * time.Hour
)

// kubernetesMinors says which Kubernetes minors an Istio minor runs on. From: MinK8SVersion in istio
// istioctl/pkg/install/k8sversion; to: the k8s.io/client-go that Istio's own go.mod requires, which is the newest
// that it is tested with.
var kubernetesMinors = map[string]struct{ from, to int }{
	"1.31": {32, 36},
}

// kubectl is a command line for a person: kubectl on that cluster.
func kubectl(c mesh.Cluster, rest string) string {
	cmd := "kubectl"
	if c.Kubeconfig != "" {
		cmd += " --kubeconfig " + c.Kubeconfig
	}
	return cmd + " --context " + c.Context + " " + rest
}

func apiAnswers(in Input) []Finding {
	var out []Finding
	for _, c := range in.Mesh.Clusters {
		f := in.Now.Clusters[c.Name]
		if f == nil {
			out = append(out, Finding{Cluster: c.Name, Seen: "was not asked", Do: "run it again: isthmus check"})
			continue
		}
		if f.Err == "" || f.Cause == facts.CauseCredentials {
			continue
		}
		seen := "does not answer: " + plainErr(c, f)
		if f.Cause == facts.CauseContext {
			seen = "cannot be asked: " + plainErr(c, f)
		}
		out = append(out, Finding{Cluster: c.Name, Object: f.Server, Seen: seen, Do: noAnswerCure(c, f)})
	}
	return out
}

func noAnswerCure(c mesh.Cluster, f *facts.Cluster) string {
	switch f.Cause {
	case facts.CauseContext:
		return "mend spec.clusters[name:" + c.Name + "].access.context; the contexts there are: kubectl config get-contexts"
	case facts.CauseTLS:
		return "the kubeconfig's certificate-authority-data is not of this server: fetch the kubeconfig again"
	}
	return "is its API server up, and is there a way to it from here? Try: " + kubectl(c, "get --raw /readyz")
}

func plainErr(c mesh.Cluster, f *facts.Cluster) string {
	return strings.TrimPrefix(strings.TrimPrefix(f.Err, "cluster "+c.Name), ": ")
}

func credentialsAccepted(in Input) []Finding {
	var out []Finding
	for _, c := range in.Mesh.Clusters {
		if f := in.Now.Clusters[c.Name]; f != nil && f.Cause == facts.CauseCredentials {
			out = append(out, Finding{
				Cluster: c.Name, Object: f.Server, Seen: "answers, but does not accept the kubeconfig's credentials: " + strings.TrimPrefix(afterTries(plainErr(c, f)), "it "),
				Do: "log in again, or fetch the kubeconfig again. Try: " + kubectl(c, "auth whoami"),
			})
		}
	}
	return out
}

// afterTries leaves out how often which address was tried: "https://a:6443 (3 tries in 1 s): why" is "why".
func afterTries(err string) string {
	if _, why, found := strings.Cut(err, "): "); found && strings.HasPrefix(err, "http") {
		return why
	}
	return err
}

func apiQuick(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		if m.Facts.Latency > slowAPI {
			out = append(out, Finding{
				Cluster: m.Name, Object: m.Facts.Server,
				Seen: fmt.Sprintf("a small request takes %d ms (over %d ms)", m.Facts.Latency.Milliseconds(), slowAPI.Milliseconds()),
				Do:   "run isthmus nearer to it, or look at the API server's load: " + kubectl(m.Cluster, "get --raw /metrics | grep apiserver_current_inflight_requests"),
			})
		}
	}
	return out
}

func serverVerified(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		switch {
		case m.Facts.Insecure:
			out = append(out, Finding{
				Cluster: m.Name, Object: m.Facts.Server, Seen: "the kubeconfig has insecure-skip-tls-verify: anybody in between can be the API server",
				Do: "put the cluster's certificate-authority-data into the kubeconfig and take insecure-skip-tls-verify out",
			})
		case m.Facts.CABundle == "" && len(in.Mesh.Clusters) > 1:
			out = append(out, Finding{
				Cluster: m.Name, Object: m.Facts.Server, Severity: Note,
				Seen: "the kubeconfig has no certificate-authority-data, so other clusters' istiods trust the public authorities in their image",
				Do:   "fine where a public authority signed the API server's certificate; else add certificate-authority-data",
			})
		}
	}
	return out
}

func versionSupported(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		major, minor, ok := parseVersion(m.Facts.Version)
		if !ok {
			out = append(out, Finding{Cluster: m.Name, Severity: Warning, Seen: fmt.Sprintf("its version %q cannot be read", m.Facts.Version), Do: kubectl(m.Cluster, "version")})
			continue
		}
		istioMajor, istioMinor, _ := parseVersion(m.Istio.Version)
		istio := fmt.Sprintf("%d.%d", istioMajor, istioMinor)
		want, known := kubernetesMinors[istio]
		switch {
		case !known:
			out = append(out, Finding{
				Cluster: m.Name, Severity: Note, Seen: fmt.Sprintf("this isthmus does not know which Kubernetes Istio %s supports; this is %s", m.Istio.Version, m.Facts.Version),
				Do: "see istio.io/latest/docs/releases/supported-releases",
			})
		case major != 1 || minor < want.from:
			out = append(out, Finding{
				Cluster: m.Name, Seen: fmt.Sprintf("Kubernetes %s is older than Istio %s supports (1.%d to 1.%d)", m.Facts.Version, istio, want.from, want.to),
				Do: fmt.Sprintf("upgrade the cluster to 1.%d or newer, or set spec.istio.version to an older Istio", want.from),
			})
		case minor > want.to:
			out = append(out, Finding{
				Cluster: m.Name, Severity: Warning, Seen: fmt.Sprintf("Kubernetes %s is newer than Istio %s was tested with (1.%d to 1.%d)", m.Facts.Version, istio, want.from, want.to),
				Do: "it mostly works; try it on a cluster that may break first",
			})
		}
	}
	return out
}

// parseVersion reads "v1.36.3-gke.1" or "1.31" as 1 and 36 or 31.
func parseVersion(v string) (major, minor int, ok bool) {
	a, rest, found := strings.Cut(strings.TrimPrefix(v, "v"), ".")
	b := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	major, errA := strconv.Atoi(a)
	minor, errB := strconv.Atoi(b)
	return major, minor, found && errA == nil && errB == nil
}

func callerMay(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		if len(m.Facts.Denied) == 0 {
			continue
		}
		first := m.Facts.Denied[0]
		out = append(out, Finding{
			Cluster: m.Name,
			Seen:    "the caller may not " + rights(m.Facts.Denied),
			Do: fmt.Sprintf("use a context whose user may (cluster-admin, say), or ask for these rights. Try: %s",
				kubectl(m.Cluster, "auth can-i "+first.Verb+" "+resourceOf(first)+inNamespace(first))),
		})
	}
	return out
}

// rights names the first few resources with the verbs that are missing, and counts the rest.
func rights(all []facts.Right) string {
	const most = 4
	var names []string
	verbs := map[string][]string{}
	for _, r := range all {
		name := resourceOf(r)
		if r.Namespace != "" {
			name += " in " + r.Namespace
		}
		if verbs[name] == nil {
			names = append(names, name)
		}
		verbs[name] = append(verbs[name], r.Verb)
	}
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	for i, name := range names {
		names[i] = strings.Join(verbs[name], "/") + " " + name
	}
	return strings.Join(names, ", ") + more
}

func resourceOf(r facts.Right) string {
	if r.Group == "" {
		return r.Resource
	}
	return r.Resource + "." + r.Group
}

func inNamespace(r facts.Right) string {
	if r.Namespace == "" {
		return ""
	}
	return " -n " + r.Namespace
}

func distinctClusters(in Input) []Finding {
	var out []Finding
	for a, b := range in.Couples() {
		if a.Facts.UID != "" && a.Facts.UID == b.Facts.UID {
			out = append(out, Finding{
				Cluster: b.Name, Other: a.Name, Object: "Namespace kube-system",
				Seen: fmt.Sprintf("is the same cluster as %s: contexts %q and %q lead to one kube-system (%s)", a.Name, b.Context, a.Context, b.Facts.UID),
				Do:   fmt.Sprintf("take one of them out of spec.clusters, or mend spec.clusters[name:%s].access.context", b.Name),
			})
		}
	}
	return out
}

func clocksAgree(in Input) []Finding {
	var out []Finding
	for a, b := range in.Couples() {
		apart := (a.Facts.ClockSkew - b.Facts.ClockSkew).Abs().Round(time.Second)
		if apart < skewSeen {
			continue
		}
		ahead, behind := a, b
		if b.Facts.ClockSkew > a.Facts.ClockSkew {
			ahead, behind = b, a
		}
		out = append(out, Finding{
			Cluster: ahead.Name, Other: behind.Name, Severity: skewSeverity(apart),
			Seen: fmt.Sprintf("its clock is %s ahead of %s's", apart, behind.Name),
			Do:   "see to time synchronisation on the control plane nodes of both: chronyc tracking, or timedatectl timesync-status",
		})
	}
	if len(out) > 0 {
		return out
	}
	for _, m := range in.Members() {
		if off := m.Facts.ClockSkew.Round(time.Second); off.Abs() >= skewSeen {
			word := "behind"
			if off < 0 {
				word = "ahead of"
			}
			return []Finding{{
				Severity: skewSeverity(off.Abs()), Seen: fmt.Sprintf("this machine's clock is %s %s the clusters'", off.Abs(), word),
				Do: "see to time synchronisation here: the certificates that isthmus makes carry this machine's time",
			}}
		}
	}
	return nil
}

func skewSeverity(d time.Duration) Severity {
	if d >= skewBad {
		return Error
	}
	return Warning
}

func serverCertificateLasts(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		if end := m.Facts.ServerNotAfter; !end.IsZero() && end.Sub(in.Now.Taken) < endsSoon {
			out = append(out, Finding{
				Cluster: m.Name, Object: m.Facts.Server, Seen: "the API server's own certificate " + ends(end, in.Now.Taken),
				Do: "renew it before everything in that cluster stops; with kubeadm: kubeadm certs renew apiserver",
			})
		}
	}
	return out
}

// ends says when something ends: "ended 3 d ago (2026-11-21)", "ends in 12 d (2026-12-06)".
func ends(at, now time.Time) string {
	d, day := at.Sub(now), at.UTC().Format(time.DateOnly)
	if d <= 0 {
		return fmt.Sprintf("ended %s ago (%s)", span(-d), day)
	}
	return fmt.Sprintf("ends in %s (%s)", span(d), day)
}

// span is a duration in the largest unit that says enough: "12 d", "5 h", "40 min".
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d d", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d min", int(d.Minutes()))
}

func serverReachable(in Input) []Finding {
	if len(in.Mesh.Clusters) < 2 {
		return nil
	}
	var out []Finding
	for _, m := range in.Members() {
		address := m.Server
		if address == "" {
			address = m.Facts.Server
		}
		why, severity := unusable(address)
		if why == "" {
			continue
		}
		out = append(out, Finding{
			Cluster: m.Name, Object: address, Severity: severity,
			Seen: fmt.Sprintf("other clusters' istiods would be sent to %s, which %s", address, why),
			Do:   fmt.Sprintf("set spec.clusters[name:%s].server to an address that pods of the other clusters reach%s", m.Name, kindHint(m.Context)),
		})
	}
	return out
}

// unusable says why an API server's address is of no use in other clusters; "" when it may be.
func unusable(address string) (why string, s Severity) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return "is no URL", Error
	}
	host := strings.ToLower(u.Hostname())
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".docker.internal") {
		return "is a name for this machine only", Error
	}
	if ip, err := netip.ParseAddr(host); err == nil && (ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast()) {
		return "is an address of this machine only", Error
	}
	if path := strings.Trim(u.Path, "/"); path != "" {
		return "goes through a proxy that may know no service account's token", Warning
	}
	return "", ""
}

// kindHint says where a kind cluster's address is, for a context that kind named.
func kindHint(context string) string {
	name, isKind := strings.CutPrefix(context, "kind-")
	if !isKind {
		return ""
	}
	return fmt.Sprintf(": https://ADDRESS:6443, with ADDRESS from: docker inspect -f '{{.NetworkSettings.Networks.kind.IPAddress}}' %s-control-plane", name)
}
