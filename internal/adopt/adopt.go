// Package adopt writes the document of an Istio that runs already: values in, text out, and no client in sight. What it
// writes is only what differs from an installation of the same names rendered anew, so that the document stays short and
// a plan made from it has nothing to change where everything could be told. What could not be told is said.
package adopt

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/istio"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/trust"
)

// A Member is a cluster that is to be in the document, and what was seen of it.
type Member struct {
	Context string
	Facts   *facts.Cluster
}

// A Document is what was written, and what a person must know of it.
type Document struct {
	Name   string
	Text   string
	Untold []string
}

// Objects are those that tell how an Istio was installed; facts must have read them for Write. No Secret is among them.
func Objects(at *facts.Cluster) []object.Object {
	var all []object.Object
	add := func(api, kind, name string) {
		all = append(all, object.Object{Body: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": api, "kind": kind, "metadata": map[string]any{"namespace": istio.Namespace, "name": name},
		}}})
	}
	add("apps/v1", "Deployment", istio.EastWestGateway)
	add("security.istio.io/v1", "PeerAuthentication", "default")
	for _, i := range at.Istiods {
		add("apps/v1", "Deployment", i.Name)
		add("v1", "ConfigMap", "istio"+suffix(i))
		add("v1", "ConfigMap", "values"+suffix(i))
	}
	return all
}

func suffix(i facts.Istiod) string {
	if i.Revision == "" || i.Revision == "default" {
		return ""
	}
	return "-" + i.Revision
}

// Write makes the document of some clusters whose Istio runs. Name is the mesh's where its istiods name none.
func Write(name string, members []Member) (Document, error) {
	d := Document{Name: mesh.Label(name)}
	ids := map[string]bool{}
	for _, m := range members {
		for _, i := range m.Facts.Istiods {
			if i.MeshID != "" {
				ids[i.MeshID] = true
			}
		}
	}
	switch known := slices.Sorted(maps.Keys(ids)); {
	case len(known) == 1 && mesh.Label(known[0]) == known[0]:
		d.Name = known[0]
	case len(known) > 0:
		d.tellf("the mesh ids that run (%s) are not one that can name a mesh: it becomes %s, which running proxies learn when they restart", strings.Join(known, ", "), d.Name)
	}
	var clusters, settings []map[string]any
	var contexts []string
	for _, m := range members {
		contexts = append(contexts, m.Context)
	}
	names := mesh.ClusterNames(contexts)
	domain := ""
	for n, m := range members {
		c := map[string]any{"name": names[n], "access": map[string]any{"context": m.Context}}
		own := map[string]any{}
		if len(m.Facts.Istiods) == 0 {
			d.tellf("%s has no istiod: the document installs one", names[n])
		} else {
			i := m.Facts.Istiods[0]
			d.about(names[n], m.Facts, c)
			domain = cmp.Or(domain, i.TrustDomain)
			var err error
			if own, err = d.settings(c, m.Facts, i); err != nil {
				return Document{}, err
			}
		}
		clusters, settings = append(clusters, c), append(settings, own)
	}
	return d.text(members, clusters, settings, domain)
}

func (d *Document) tellf(format string, args ...any) {
	d.Untold = append(d.Untold, fmt.Sprintf(format, args...))
}

// about fills in what a cluster is called and where it is.
func (d *Document) about(name string, at *facts.Cluster, c map[string]any) {
	i := at.Istiods[0]
	if len(at.Istiods) > 1 {
		d.tellf("%s has %d control planes; the document is that of revision %s", name, len(at.Istiods), i.Revision)
	}
	if i.Version != "" && !strings.HasPrefix(i.Version, istio.Version()+".") && !strings.HasPrefix(i.Version, istio.Version()+"-") {
		d.tellf("%s runs Istio %s, and this program carries the charts of %s: the plan is an upgrade", name, i.Version, istio.Version())
	}
	switch {
	case i.ClusterName != "" && i.ClusterName != "Kubernetes" && len(mesh.ClusterNames([]string{i.ClusterName})) == 1 && mesh.ClusterNames([]string{i.ClusterName})[0] == i.ClusterName:
		c["name"] = i.ClusterName
	default:
		d.tellf("%s: its istiod calls it %q, which cannot stay where there are several: it becomes %s, and running proxies learn that when they restart", name, cmp.Or(i.ClusterName, "Kubernetes"), name)
	}
	if i.Network != "" {
		c["network"] = i.Network
	} else {
		d.tellf("%s is in no network yet: the document puts it into one of its own, which is a change; say which in spec.clusters[].network", name)
	}
}

// settings are spec.istio of a cluster: what differs from an installation of the same names rendered anew.
func (d *Document) settings(c map[string]any, at *facts.Cluster, i facts.Istiod) (map[string]any, error) {
	out := map[string]any{}
	deployment := at.Object(object.Ref{Group: "apps", Kind: "Deployment", Namespace: istio.Namespace, Name: i.Name})
	hub, tag := image(deployment)
	base := mesh.Mesh{Name: d.Name, Trust: mesh.Trust{Domain: i.TrustDomain}, Clusters: []mesh.Cluster{{
		Name: c["name"].(string), Network: fmt.Sprint(cmp.Or(c["network"], c["name"])),
		Istio: mesh.Istio{Profile: "minimal", Hub: hub, Tag: tag},
	}}}
	objects, err := istio.Objects(base)
	if err != nil {
		return nil, err
	}
	fresh := map[object.Ref]*unstructured.Unstructured{}
	for _, o := range objects[base.Clusters[0].Name] {
		fresh[o.Ref()] = o.Body
	}
	live := func(kind, name string) object.Ref {
		return object.Ref{Kind: kind, Namespace: istio.Namespace, Name: name}
	}
	kept := at.Object(live("ConfigMap", "values"+suffix(i)))
	values := differing(parsed(kept, "original-values"), parsed(fresh[live("ConfigMap", "values")], "original-values"))
	meshConfig := differing(parsed(at.Object(live("ConfigMap", "istio"+suffix(i))), "mesh"), parsed(fresh[live("ConfigMap", "istio")], "mesh"))
	if kept == nil {
		d.tellf("%s: there is no ConfigMap values%s, so the values that Istio was installed with are not known; compare: isthmus plan --adopt", c["name"], suffix(i))
	}
	delete(values, "meshConfig") // told by the mesh configuration itself
	prune(values, "global", "hub", "tag", "meshID", "network", "multiCluster")
	if suffix(i) != "" {
		values["revision"] = i.Revision
	}
	variables(values, deployment, fresh[object.Ref{Group: "apps", Kind: "Deployment", Namespace: istio.Namespace, Name: "istiod"}])
	d.gateway(values, at, c["name"])
	out["hub"], out["tag"] = hub, tag
	if len(values) > 0 {
		out["values"] = values
	}
	if len(meshConfig) > 0 {
		out["meshConfig"] = meshConfig
	}
	return out, nil
}

// gateway reads how the east-west gateway's Deployment was rendered: by injection, as Istio's own script does, or whole.
func (d *Document) gateway(values map[string]any, at *facts.Cluster, name any) {
	live := at.Object(object.Ref{Group: "apps", Kind: "Deployment", Namespace: istio.Namespace, Name: istio.EastWestGateway})
	if live == nil {
		return
	}
	own := map[string]any{}
	if t, ok, _ := unstructured.NestedString(live.Object, "spec", "template", "metadata", "annotations", "inject.istio.io/templates"); ok {
		own["injectionTemplate"] = t
	}
	if r := resources(live, "istio-proxy"); r != nil {
		own["resources"] = r
	}
	if len(own) > 0 {
		values["gateways"] = map[string]any{"istio-ingressgateway": own}
	}
	d.tellf("%v: the east-west gateway's own settings are told by its template and resources alone; compare: isthmus plan --adopt", name)
}

// text puts the document together. Settings that all clusters have are the mesh's.
func (d *Document) text(members []Member, clusters, settings []map[string]any, domain string) (Document, error) {
	spec := map[string]any{}
	if len(settings) > 0 && !slices.ContainsFunc(settings, func(s map[string]any) bool { return !reflect.DeepEqual(s, settings[0]) }) {
		if len(settings[0]) > 0 {
			spec["istio"] = settings[0]
		}
	} else {
		shared := map[string]any{"hub": settings[0]["hub"], "tag": settings[0]["tag"]}
		spec["istio"] = shared
		for n, s := range settings {
			if s["tag"] != nil && s["tag"] != shared["tag"] {
				d.tellf("%v runs images of tag %v, and a mesh has one: %v", clusters[n]["name"], s["tag"], shared["tag"])
			}
			delete(s, "hub")
			delete(s, "tag")
			if len(s) > 0 {
				clusters[n]["istio"] = s
			}
		}
	}
	root, all := map[string]any{}, true
	for n, m := range members {
		roots, _ := trust.Roots(m.Facts)
		first, _ := trust.Roots(members[0].Facts)
		all = all && len(roots) > 0 && trust.ShareRoot(roots, first)
		if !all {
			d.tellf("%v has no root in common with %v: a mesh has one. As it is, the plan makes a new one and says what that means", clusters[n]["name"], clusters[0]["name"])
			break
		}
	}
	if all {
		root["root"] = map[string]any{"existing": map[string]any{}}
	}
	if domain != "" && domain != "cluster.local" {
		root["domain"] = domain
	}
	if len(root) > 0 {
		spec["trust"] = root
	}
	spec["security"] = map[string]any{"mtls": mode(members)}
	list := make([]any, 0, len(clusters))
	for _, c := range clusters {
		list = append(list, c)
	}
	spec["clusters"] = list
	out, err := yaml.Marshal(map[string]any{"apiVersion": v1alpha1.APIVersion, "kind": v1alpha1.Kind, "metadata": map[string]any{"name": d.Name}, "spec": spec})
	if err != nil {
		return Document{}, fmt.Errorf("write the document: %w", err)
	}
	d.Text = "# The mesh that runs, as far as its objects tell. To compare: isthmus plan --adopt\n" + string(out)
	return *d, nil
}

// mode is STRICT only where every cluster demands mutual TLS of the whole mesh already.
func mode(members []Member) string {
	for _, m := range members {
		live := m.Facts.Object(object.Ref{Group: "security.istio.io", Kind: "PeerAuthentication", Namespace: istio.Namespace, Name: "default"})
		if live == nil {
			return "PERMISSIVE"
		}
		if mode, _, _ := unstructured.NestedString(live.Object, "spec", "mtls", "mode"); mode != "STRICT" {
			return "PERMISSIVE"
		}
	}
	return "STRICT"
}

func parsed(cm *unstructured.Unstructured, key string) map[string]any {
	if cm == nil {
		return nil
	}
	text, _, _ := unstructured.NestedString(cm.Object, "data", key) // not there: nothing is told
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil
	}
	out := map[string]any{}
	if json.Unmarshal(raw, &out) != nil {
		return nil
	}
	return out
}

// differing is what of live is not in base.
func differing(live, base map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range live {
		below, isMap := base[k].(map[string]any)
		above, isMapToo := v.(map[string]any)
		switch {
		case isMap && isMapToo:
			if rest := differing(above, below); len(rest) > 0 {
				out[k] = rest
			}
		case reflect.DeepEqual(v, base[k]), v == nil:
		case isMapToo && len(above) == 0:
		default:
			out[k] = v
		}
	}
	return out
}

func prune(values map[string]any, under string, keys ...string) {
	below, _ := values[under].(map[string]any)
	for _, k := range keys {
		delete(below, k)
	}
	if len(below) == 0 {
		delete(values, under)
	}
}
