package mesh

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"isthmus.dev/isthmus/api/v1alpha1"
	objects "isthmus.dev/isthmus/internal/object"
)

// What one part of a document says against another, and what depends on this program or on the file: the rules
// that CEL cannot say, because it does not see into free-form values or would cost too much in a big mesh.

func (j *judge) agree(doc v1alpha1.Mesh) {
	j.name(doc.Name)
	j.releases(doc.Spec)
	j.pins(doc.Spec)
	j.contexts(doc.Spec.Clusters)
	j.controlPlanes(doc.Spec)
	j.together(doc.Spec)
	j.former(doc.Spec)
	j.waves(doc.Spec)
	j.owned(doc)
	j.places(doc)
	j.tokens(doc)
}

// say refuses the value at a path.
func (j *judge) say(path, message, hint string) {
	if !j.spoiled(path) {
		j.refuse(j.value(path), path, message, hint)
	}
}

// name looks at the mesh's name. An API server has the characters of every object's name checked before it asks the
// CRD, so the CRD's own rule is only about what is left.
func (j *judge) name(name string) {
	if len(validation.IsDNS1123Label(name)) > 0 {
		j.say("metadata.name", fmt.Sprintf("%q: %s", name, meshName), tryName(name, 63))
	}
}

// releases looks whether the embedded charts are those of the version, where they are used. What other charts are of
// is known when they are read.
func (j *judge) releases(spec v1alpha1.MeshSpec) {
	say := func(path, version string) {
		if version != "" && minor(version) != minor(Release) {
			j.say(path, fmt.Sprintf("Istio %s, and this program carries the charts of %s", version, minor(Release)),
				fmt.Sprintf("write %s, name charts of %s in spec.istio.charts, or take the isthmus of Istio %s", Release, minor(version), minor(version)))
		}
	}
	if spec.Istio.Charts == "" {
		say("spec.istio.version", spec.Istio.Version)
	}
	for i, c := range spec.Clusters {
		if spec.Istio.Charts == "" && c.Istio.Charts == "" {
			say(item("spec.clusters", i)+".istio.version", c.Istio.Version)
		}
	}
}

// pins looks whether there are charts for the digests that are given.
func (j *judge) pins(spec v1alpha1.MeshSpec) {
	none := v1alpha1.ChartDigests{}
	look := func(path, charts string, pins v1alpha1.ChartDigests) {
		digests := digestsOf(pins)
		_, archive := digests[Archive]
		switch packed := strings.HasPrefix(charts, OCI); {
		case pins == none:
		case charts == "":
			j.say(path, "there are digests, and no charts are named whose they could be", "name them in spec.istio.charts; what this program carries needs no digest")
		case packed && (pins.Base == "" || pins.Istiod == "" || archive):
			j.say(path, "charts in a registry are pinned by base and istiod at least, and by no archive", "write base and istiod, and cni and ztunnel where a profile needs them")
		case !packed && (!archive || len(digests) > 1):
			j.say(path, "charts in files are pinned as a whole", "write archive: and the SHA-256 of the .tar.gz, and nothing else")
		}
	}
	for i, c := range spec.Clusters {
		look(item("spec.clusters", i)+".istio.chartDigests", cmp.Or(c.Istio.Charts, spec.Istio.Charts), c.Istio.ChartDigests)
	}
	look("spec.istio.chartDigests", spec.Istio.Charts, spec.Istio.ChartDigests)
}

// minor is "1.31" of "1.31.1".
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// contexts looks for two clusters that are reached in the same way.
func (j *judge) contexts(clusters []v1alpha1.Cluster) {
	first := map[v1alpha1.Access]int{}
	for i, c := range clusters {
		access := v1alpha1.Access{Context: cmp.Or(c.Access.Context, c.Name), Kubeconfig: c.Access.Kubeconfig}
		if access.Context == "" {
			continue
		}
		before, taken := first[access]
		if !taken {
			first[access] = i
			continue
		}
		if clusters[before].Name == c.Name {
			continue // the name is refused already
		}
		path := item("spec.clusters", i) + ".access.context"
		j.say(path, fmt.Sprintf("%s has the context %q, which is %s's too: %s", c.Name, access.Context, clusters[before].Name,
			j.cite(item("spec.clusters", before)+".access.context")), "every cluster has a context of its own")
	}
}

// former looks whether a cluster is a member and a former one at once.
func (j *judge) former(spec v1alpha1.MeshSpec) {
	for i, f := range spec.Former {
		if at := slices.IndexFunc(spec.Clusters, func(c v1alpha1.Cluster) bool { return c.Name == f.Name }); at >= 0 {
			j.say(item("spec.former", i)+".name", fmt.Sprintf("%s is a member too: %s", f.Name, j.cite(item("spec.clusters", at)+".name")),
				"take it out of spec.clusters if it leaves, or out of spec.former if it stays")
		}
	}
}

// waves looks whether every cluster is in exactly one wave.
func (j *judge) waves(spec v1alpha1.MeshSpec) {
	if len(spec.Rollout.Waves) == 0 {
		return
	}
	var names []string
	for _, c := range spec.Clusters {
		names = append(names, c.Name)
	}
	known := setOf(names)
	in := map[string]string{}
	for w, wave := range spec.Rollout.Waves {
		path := item("spec.rollout.waves", w)
		if len(wave) == 0 {
			j.say(path, "a wave of no clusters", "take it out")
		}
		for i, name := range wave {
			p := item(path, i)
			switch {
			case j.spoiled(p):
			case !known[name]:
				j.say(p, fmt.Sprintf("there is no cluster %q", name), didYouMean(name, names))
			case in[name] != "":
				j.say(p, fmt.Sprintf("%s is in a wave already: %s", name, j.cite(in[name])), "name every cluster once")
			default:
				in[name] = p
			}
		}
	}
	for p := range j.bad {
		if within(p, "spec.rollout") || strings.HasPrefix(p, "spec.clusters[") {
			return // who is left out cannot be told before that is mended
		}
	}
	j.served(spec, in)
	left := slices.DeleteFunc(slices.Compact(names), func(n string) bool { return in[n] != "" })
	if len(left) > 0 {
		j.refuse(j.key("spec.rollout.waves"), "spec.rollout.waves", "in no wave: "+strings.Join(left, ", "),
			"name every cluster once, or take waves out and they are made by themselves")
	}
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set
}

// An own is a setting of Istio that the document decides elsewhere; to set it otherwise in the values would have
// half of the mesh believe the one and half the other.
type own struct {
	// path of the setting as istioctl --set takes it.
	path string
	// by is the field that decides it for cluster i of the document, and its value; nil where Isthmus itself does.
	by func(doc v1alpha1.Mesh, i int) (field, value string)
	// must is the only value that Isthmus itself takes, and because says why.
	must, because string
}

var owns = []own{
	{path: "values.global.meshID", by: func(d v1alpha1.Mesh, _ int) (string, string) { return "metadata.name", d.Name }},
	{path: "values.global.multiCluster.clusterName", by: func(d v1alpha1.Mesh, i int) (string, string) {
		return item("spec.clusters", i) + ".name", d.Spec.Clusters[i].Name
	}},
	{path: "values.global.network", by: func(d v1alpha1.Mesh, i int) (string, string) {
		return item("spec.clusters", i) + ".network", cmp.Or(d.Spec.Clusters[i].Network, d.Spec.Clusters[i].Name)
	}},
	{path: "hub", by: hub},
	{path: "values.global.hub", by: hub},
	{path: "tag", by: tag},
	{path: "values.global.tag", by: tag},
	{path: "meshConfig.trustDomain", by: trustDomain},
	{path: "values.meshConfig.trustDomain", by: trustDomain},
	{path: "profile", by: profile},
	{path: "values.global.externalIstiod", because: byControlPlane},
	{path: "values.global.configCluster", because: byControlPlane},
	{path: "values.istiodRemote.enabled", because: byControlPlane},
	{path: "revision", by: revision},
	{path: "values.revision", by: revision},
	{path: "namespace", must: istioNamespace, because: inIstioSystem},
	{path: "values.global.istioNamespace", must: istioNamespace, because: inIstioSystem},
	{path: "meshConfig.rootNamespace", must: istioNamespace, because: inIstioSystem},
	{path: "values.meshConfig.rootNamespace", must: istioNamespace, because: inIstioSystem},
	{path: "installPackagePath", because: "spec.istio.charts says where the charts are"},
}

const (
	istioNamespace = objects.IstioNamespace
	inIstioSystem  = "Isthmus installs Istio into " + istioNamespace
	byControlPlane = "spec.clusters[].controlPlane decides that"
)

func trustDomain(d v1alpha1.Mesh, _ int) (field, value string) {
	return "spec.trust.domain", d.Spec.Trust.Domain
}

// ownOr is the field of a cluster where that is set, else the mesh's, and the value of it.
func ownOr(i int, field, own, all, otherwise string) (path, value string) {
	if own != "" {
		return item("spec.clusters", i) + ".istio." + field, own
	}
	return "spec.istio." + field, cmp.Or(all, otherwise)
}

func hub(d v1alpha1.Mesh, i int) (field, value string) {
	return ownOr(i, "hub", d.Spec.Clusters[i].Istio.Hub, d.Spec.Istio.Hub, DefaultHub)
}

func tag(d v1alpha1.Mesh, i int) (field, value string) {
	field, _ = ownOr(i, "tag", d.Spec.Clusters[i].Istio.Tag, "", "")
	return field, istioOf(d.Spec.Istio, d.Spec.Clusters[i].Istio, "").Tag
}

func profile(d v1alpha1.Mesh, i int) (field, value string) {
	if c := d.Spec.Clusters[i].ControlPlane; c != (v1alpha1.ControlPlane{}) {
		return item("spec.clusters", i) + ".controlPlane", remoteProfile
	}
	return ownOr(i, "profile", d.Spec.Clusters[i].Istio.Profile, d.Spec.Istio.Profile, "")
}

func revision(d v1alpha1.Mesh, i int) (field, value string) {
	field, _ = ownOr(i, "revision", d.Spec.Clusters[i].Istio.Revision, "", "")
	return field, cmp.Or(revisionOf(d.Spec.Istio, d.Spec.Clusters[i].Istio), defaultRevision)
}

// owned looks for values, mesh configuration and set entries that contradict the rest of the document.
func (j *judge) owned(doc v1alpha1.Mesh) {
	all := make([]int, len(doc.Spec.Clusters))
	for i := range all {
		all[i] = i
	}
	istio := doc.Spec.Istio
	j.ownedIn(doc, "spec.istio", object(istio.Values), object(istio.MeshConfig), istio.Set, all)
	for i, c := range doc.Spec.Clusters {
		j.ownedIn(doc, item("spec.clusters", i)+".istio", object(c.Istio.Values), object(c.Istio.MeshConfig), c.Istio.Set, []int{i})
	}
}

func (j *judge) ownedIn(doc v1alpha1.Mesh, path string, values, meshConfig map[string]any, set []string, clusters []int) {
	all := map[string]any{"values": values, "meshConfig": meshConfig}
	for _, o := range owns {
		keys := strings.Split(o.path, ".")
		if v := at(all, keys...); v != nil {
			j.contradicts(doc, o, path+"."+o.path, fmt.Sprint(v), clusters)
		}
		for i, s := range set {
			p, v, _ := strings.Cut(s, "=")
			if strings.TrimPrefix(strings.TrimSpace(p), ".") == o.path {
				j.contradicts(doc, o, item(path+".set", i), strings.TrimSpace(v), clusters)
			}
		}
	}
	for i, s := range set {
		if !strings.Contains(s, "=") {
			j.say(item(path+".set", i), fmt.Sprintf("%q has no =", s), "write path=value")
		}
	}
}

// contradicts refuses a setting at a path that is not what it has to be for one of the clusters that it is for.
func (j *judge) contradicts(doc v1alpha1.Mesh, o own, path, value string, clusters []int) {
	if o.by == nil {
		if value != o.must {
			j.say(path, fmt.Sprintf("%q has no place here: %s", value, o.because), "take it out")
		}
		return
	}
	for _, i := range clusters {
		field, want := o.by(doc, i)
		if value == want || j.spoiled(field) {
			continue
		}
		what := ""
		if !strings.HasSuffix(path, o.path) {
			what = o.path + " is "
		}
		message := fmt.Sprintf("%s%q here, and %q by %s", what, value, want, j.citeOr(field, i))
		if want == "" {
			message = fmt.Sprintf("%s%q here, and %s is not set", what, value, field)
		}
		j.say(path, message, "take it out, or set "+field)
		return
	}
}

// citeOr cites a field, or the cluster's name, from which a network's default comes.
func (j *judge) citeOr(field string, cluster int) string {
	if name := item("spec.clusters", cluster) + ".name"; strings.HasSuffix(field, ".network") && !j.written(field) {
		return j.cite(name)
	}
	return j.cite(field)
}
