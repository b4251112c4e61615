package verify

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

const (
	ownerIsthmus    = "isthmus"
	revisionDefault = "default"
	istioNamespace  = object.IstioNamespace
)

// ours tells whether Isthmus runs this control plane for this very mesh. One without a mesh label was labelled
// by nobody else either.
func ours(i facts.Istiod, m mesh.Mesh) bool {
	return i.Owner == ownerIsthmus && (i.Mesh == "" || i.Mesh == m.Name)
}

func revisionOf(r string) string {
	if r == "" {
		return revisionDefault
	}
	return r
}

func istioIsOurs(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		for _, i := range m.Facts.Istiods {
			if i.Owner == ownerIsthmus {
				continue
			}
			version := i.Version
			if version == "" {
				version = "of unknown version"
			}
			f := Finding{
				Cluster: m.Name, Object: "Deployment " + i.Namespace + "/" + i.Name,
				Seen: fmt.Sprintf("has Istio %s (revision %s) that isthmus did not install; owner: %s%s", version, revisionOf(i.Revision), i.Owner, partsOf(m.Facts, i.Owner)),
				Do:   "see what taking it over would change: isthmus plan --adopt (a document that fits it: isthmus init --adopt); or " + removal(m.Cluster, i),
			}
			if in.Options.Adopt || slices.Contains(in.Options.TakeOver, plan.TakeOverAll) || slices.Contains(in.Options.TakeOver, i.Owner) {
				f.Severity, f.Do = Note, "it is taken over; what stands in the way is a conflict of the plan"
			}
			out = append(out, f)
		}
	}
	return out
}

// partsOf counts what else an installer has in a cluster.
func partsOf(f *facts.Cluster, owner string) string {
	n, records := 0, 0
	for _, x := range f.Foreign {
		switch {
		case x.Owner != owner:
		case x.Record != "":
			records++
		default:
			n++
		}
	}
	switch {
	case n == 0:
		return ""
	case records == 0:
		return fmt.Sprintf(", %s of it", plural(n, "object"))
	}
	return fmt.Sprintf(", %s of it and %s of its installer", plural(n, "object"), plural(records, "record"))
}

// removal says how to remove an Istio, in the words of the tool that installed it.
func removal(c mesh.Cluster, i facts.Istiod) string {
	if release, ok := strings.CutPrefix(i.Owner, "helm:"); ok {
		return fmt.Sprintf("remove it (helm uninstall %s -n %s --kube-context %s)", release, i.Namespace, c.Context)
	}
	return fmt.Sprintf("remove it (istioctl uninstall --context %s --revision %s)", c.Context, revisionOf(i.Revision))
}

func meshIsOurs(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		for _, i := range m.Facts.Istiods {
			if i.Owner == ownerIsthmus && !ours(i, in.Mesh) {
				out = append(out, Finding{
					Cluster: m.Name, Object: "Deployment " + i.Namespace + "/" + i.Name,
					Seen: fmt.Sprintf("belongs to mesh %q, and this document is mesh %q", i.Mesh, in.Mesh.Name),
					Do:   fmt.Sprintf("if it is the same mesh, set metadata.name: %s; if it is to leave that one: isthmus uninstall -f THAT_DOCUMENT", i.Mesh),
				})
			}
		}
	}
	return out
}

func crdsHaveOneOwner(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		byOwner := map[string][]string{}
		var owners []string
		for _, c := range m.Facts.CRDs {
			if c.Owner == "" || c.Owner == ownerIsthmus || !strings.HasSuffix(c.Name, ".istio.io") {
				continue
			}
			if byOwner[c.Owner] == nil {
				owners = append(owners, c.Owner)
			}
			byOwner[c.Owner] = append(byOwner[c.Owner], c.Name)
		}
		slices.Sort(owners)
		for _, owner := range owners {
			names := byOwner[owner]
			out = append(out, Finding{
				Cluster: m.Name, Object: "CustomResourceDefinition " + names[0],
				Seen: fmt.Sprintf("%s of Istio already there, owner: %s", plural(len(names), "CustomResourceDefinition"), owner),
				Do:   "they are left to it as long as they serve what this Istio needs, and plan says where they do not; to keep them with isthmus: --adopt",
			})
		}
	}
	return out
}

func webhooksAgree(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		for n, w := range m.Facts.Webhooks {
			if f, dead := deadWebhook(m, w); dead {
				out = append(out, f)
				continue
			}
			for _, other := range m.Facts.Webhooks[:n] {
				if w.Kind == other.Kind && revisionOf(w.Revision) == revisionOf(other.Revision) && w.Service != other.Service &&
					w.Service != "" && other.Service != "" && !tagged(w) && !tagged(other) {
					out = append(out, Finding{
						Cluster: m.Name, Object: w.Kind + " " + w.Name,
						Seen: fmt.Sprintf("answers for revision %s, as %s does, but calls %s instead of %s", revisionOf(w.Revision), other.Name, w.Service, other.Service),
						Do:   "delete the one that is not wanted: " + kubectl(m.Cluster, "delete "+strings.ToLower(w.Kind)+" "+w.Name),
					})
				}
			}
		}
	}
	return out
}

// tagged tells of a webhook that it calls a Service which istioctl made for a revision's tag: another name of its istiod.
func tagged(w facts.Webhook) bool { return strings.Contains(w.Service, "-revision-tag-") }

// deadWebhook judges a webhook that calls a control plane which is not there. One of ours apply mends.
func deadWebhook(m Member, w facts.Webhook) (Finding, bool) {
	there := slices.ContainsFunc(m.Facts.Istiods, func(i facts.Istiod) bool { return i.Namespace+"/"+i.Name == w.Service })
	elsewhere := w.Service == "" || tagged(w) && len(m.Facts.Istiods) > 0 || strings.Contains(w.Service, "://") // a URL: an istiod of another cluster
	if elsewhere || there || w.Owner == ownerIsthmus {
		return Finding{}, false
	}
	refuses := "pods that want a sidecar"
	if strings.HasPrefix(w.Kind, "Validating") {
		refuses = "Istio's configuration"
	}
	f := Finding{
		Cluster: m.Name, Object: w.Kind + " " + w.Name,
		Seen: fmt.Sprintf("calls %s, which is not there, and so refuses %s (failurePolicy Fail)", w.Service, refuses),
		Do:   "it is left over from an Istio that is gone: " + kubectl(m.Cluster, "delete "+strings.ToLower(w.Kind)+" "+w.Name),
	}
	if w.FailurePolicy == "Ignore" {
		f.Severity, f.Seen = Warning, fmt.Sprintf("calls %s, which is not there", w.Service)
	}
	return f, true
}

func versionsNear(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		wantMajor, want, ok := parseVersion(m.Istio.Version)
		if !ok {
			continue
		}
		for _, i := range m.Facts.Istiods {
			major, minor, ok := parseVersion(i.Version)
			if !ok || major != wantMajor || minor == want || minor == want-1 {
				continue
			}
			f := Finding{
				Cluster: m.Name, Object: "Deployment " + i.Namespace + "/" + i.Name,
				Seen: fmt.Sprintf("runs Istio %s; the document says %s, and Istio upgrades one minor at a time", i.Version, m.Istio.Version),
				Do:   fmt.Sprintf("go by way of spec.istio.version: 1.%d", minor+1),
			}
			if minor > want {
				f.Seen = fmt.Sprintf("runs Istio %s, newer than the document's %s: apply would take it back", i.Version, m.Istio.Version)
				f.Do = "set spec.istio.version to what runs, or use the isthmus that brought it"
			}
			out = append(out, f)
		}
	}
	return out
}

func istiodReady(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		for _, i := range m.Facts.Istiods {
			if i.Ready < i.Wanted {
				out = append(out, Finding{
					Cluster: m.Name, Object: "Deployment " + i.Namespace + "/" + i.Name,
					Seen: fmt.Sprintf("%d of %d ready", i.Ready, i.Wanted),
					Do:   kubectl(m.Cluster, fmt.Sprintf("-n %s describe pods -l app=istiod", i.Namespace)),
				})
			}
		}
	}
	return out
}

func revisionsExist(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		known := map[string]bool{revisionDefault: true}
		for _, i := range m.Facts.Istiods {
			known[revisionOf(i.Revision)] = true
		}
		for _, w := range m.Facts.Webhooks {
			known[revisionOf(w.Revision)] = true
			// A revision tag is a webhook of this name: istioctl tag set, pkg/revisions in Istio.
			if tag, ok := strings.CutPrefix(w.Name, "istio-revision-tag-"); ok {
				known[strings.TrimSuffix(tag, "-"+istioNamespace)] = true
			}
		}
		for _, ns := range m.Facts.Namespaces {
			rev, injection := ns.Labels["istio.io/rev"], ns.Labels["istio-injection"]
			switch {
			case rev != "" && injection != "":
				out = append(out, Finding{
					Cluster: m.Name, Object: "Namespace " + ns.Name,
					Seen: fmt.Sprintf("namespace %s has both istio-injection=%s and istio.io/rev=%s; the first wins", ns.Name, injection, rev),
					Do:   kubectl(m.Cluster, "label namespace "+ns.Name+" istio-injection-"),
				})
			case rev != "" && !known[rev]:
				out = append(out, Finding{
					Cluster: m.Name, Object: "Namespace " + ns.Name,
					Seen: fmt.Sprintf("namespace %s asks for revision %s, which no istiod has: its new pods get no sidecar", ns.Name, rev),
					Do:   kubectl(m.Cluster, "label --overwrite namespace "+ns.Name+" istio.io/rev=default"),
				})
			}
		}
	}
	return out
}

func namespacesStay(in Input) []Finding {
	needed := []string{istioNamespace, object.SystemNamespace, in.Mesh.Verify.Namespace}
	var out []Finding
	for _, m := range in.Members() {
		for _, ns := range m.Facts.Namespaces {
			if ns.Terminating && slices.Contains(needed, ns.Name) {
				var severity Severity
				if ns.Name == in.Mesh.Verify.Namespace {
					severity = Note // the last proof's workloads are on their way out; the next proof waits for that, apply need not
				}
				out = append(out, Finding{
					Severity: severity, Cluster: m.Name, Object: "Namespace " + ns.Name,
					Seen: fmt.Sprintf("namespace %s is being deleted: nothing can be made in it", ns.Name),
					Do:   "wait until it is gone; if it stays, its conditions name what holds it: " + kubectl(m.Cluster, "get namespace "+ns.Name+" -o yaml"),
				})
			}
		}
	}
	return out
}

func pullSecretsAreThere(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		for _, name := range m.Istio.ImagePullSecrets {
			s := m.Facts.Secrets[istioNamespace+"/"+name]
			var seen string
			switch {
			case s == nil:
				seen = "is not there, and images are to be pulled with it"
			case !slices.Contains(s.Keys, corev1.DockerConfigJsonKey) && !slices.Contains(s.Keys, corev1.DockerConfigKey):
				seen = "holds no registry's credentials (" + corev1.DockerConfigJsonKey + ")"
			default:
				continue
			}
			out = append(out, Finding{
				Cluster: m.Name, Object: "Secret " + istioNamespace + "/" + name,
				Seen: fmt.Sprintf("Secret %s/%s %s", istioNamespace, name, seen),
				Do:   kubectl(m.Cluster, "-n "+istioNamespace+" create secret docker-registry "+name+" --docker-server HOST --docker-username USER --docker-password PASSWORD"),
			})
		}
	}
	return out
}

func podSecurityAllows(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		if cniEnabled(m.Cluster) {
			continue
		}
		for _, ns := range m.Facts.Namespaces {
			level := ns.Labels["pod-security.kubernetes.io/enforce"]
			injected := ns.Labels["istio-injection"] == "enabled" || ns.Labels["istio.io/rev"] != ""
			if injected && (level == "baseline" || level == "restricted") {
				out = append(out, Finding{
					Cluster: m.Name, Object: "Namespace " + ns.Name,
					Seen: fmt.Sprintf("namespace %s enforces pod security %q, which refuses the NET_ADMIN of every injected pod's istio-init", ns.Name, level),
					Do:   "let the CNI plugin do that work: spec.istio.set: [components.cni.enabled=true]",
				})
			}
		}
	}
	return out
}

// cniEnabled tells whether the document installs Istio's CNI plugin, which makes istio-init needless.
func cniEnabled(c mesh.Cluster) bool {
	if c.Istio.Profile == "ambient" || strings.HasPrefix(c.Istio.Profile, "openshift") || c.Istio.Value("pilot", "cni", "enabled") == true {
		return true
	}
	return slices.ContainsFunc(c.Istio.Set, func(s string) bool {
		return s == "components.cni.enabled=true" || s == "values.pilot.cni.enabled=true"
	})
}
