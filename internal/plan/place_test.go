package plan

import (
	"strings"
	"testing"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
)

func TestPlaces(t *testing.T) {
	rule := `{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a, namespace: pay}, spec: {}}`
	route := `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: a, namespace: pay}, spec: {}}`
	pay := []facts.Namespace{{Name: "pay"}}
	cases := []struct {
		reason      string
		object      string
		ifNamespace bool
		remote      []facts.Namespace // of a cluster that east's istiod serves
		namespaces  []facts.Namespace
		crds        []facts.CRD
		denied      []facts.Right
		conflict    string // "" none
		made        bool
	}{
		{reason: "its namespace is there", object: rule, namespaces: pay, made: true},
		{reason: "its namespace is not there", object: rule, namespaces: []facts.Namespace{{Name: "default"}}, conflict: "(istio/a.yaml:3): there is no namespace pay; make it (kubectl --context kind-east create namespace pay)"},
		{reason: "where there is no namespace there is nothing to protect", object: rule, ifNamespace: true, namespaces: []facts.Namespace{{Name: "default"}}},
		{
			reason: "but a remote that reads its configuration here has it", object: rule, ifNamespace: true, namespaces: []facts.Namespace{{Name: "default"}},
			remote: pay, conflict: "there is no namespace pay; make it",
		},
		{reason: "and where there is one there is", object: rule, ifNamespace: true, namespaces: pay, made: true},
		{reason: "who may not list namespaces learns it from the API server", object: rule, made: true},
		{reason: "the Gateway API is not installed", object: route, namespaces: pay, conflict: "install the Gateway API's CRDs there"},
		{reason: "it is", object: route, namespaces: pay, crds: []facts.CRD{{Name: "httproutes.gateway.networking.k8s.io"}}, made: true},
		{reason: "whether it is may not be seen", object: route, namespaces: pay, denied: []facts.Right{{Verb: "list", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}}, made: true},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			w := newWorld("east", "far")
			w.mesh.Clusters[1].RemoteOf = "east"
			w.now.Clusters["far"].Namespaces = c.remote
			w.mesh.Clusters[0].Context = "kind-east"
			o := obj(object.PartResources, c.object)
			o.Source, o.IfNamespace = "istio/a.yaml:3", c.ifNamespace
			w.want.Add("east", o)
			w.now.Clusters["east"].Namespaces, w.now.Clusters["east"].CRDs, w.now.Clusters["east"].Denied = c.namespaces, c.crds, c.denied
			p, err := Make(Input{Mesh: w.mesh, Want: w.want, Now: w.now, Judges: w.judges})
			if err != nil {
				t.Fatal(err)
			}
			made := false
			for _, x := range p.Waves[0].Changes {
				made = made || x.Object == o.Ref() && x.Action == Create && x.Stage == StagePolicy
			}
			if made != c.made {
				t.Errorf("made %t, want %t", made, c.made)
			}
			if (len(p.Conflicts) > 0) != (c.conflict != "") || c.conflict != "" && !strings.Contains(p.Conflicts[0].Why, c.conflict) {
				t.Errorf("conflicts %v, want %q", p.Conflicts, c.conflict)
			}
		})
	}
}
