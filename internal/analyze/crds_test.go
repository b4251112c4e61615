package analyze

import (
	"slices"
	"testing"
)

// TestEverySchemaIsRead: the schemas are cut out of Istio's own file; every version of every kind must come out whole.
func TestEverySchemaIsRead(t *testing.T) {
	all, err := crds()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 15 {
		t.Errorf("only %d kinds", len(all))
	}
	for key, c := range all {
		for _, v := range c.versions {
			l, err := c.law(v)
			if err != nil {
				t.Errorf("%s %s: %v", key, v, err)
				continue
			}
			if spec, ok := l.shape.Properties["spec"]; !ok || len(spec.Properties) == 0 {
				t.Errorf("%s %s has no spec", key, v)
			}
		}
	}
	latest := map[string]string{
		networking + "/VirtualService": "v1", networking + "/EnvoyFilter": "v1alpha3", networking + "/ProxyConfig": "v1beta1",
		security + "/AuthorizationPolicy": "v1", telemetry + "/Telemetry": "v1", extensions + "/WasmPlugin": "v1alpha1",
	}
	for key, want := range latest {
		if c := all[key]; c == nil || c.latest() != want {
			t.Errorf("%s: %+v, want %s", key, c, want)
		}
	}
	if groups := istioGroups(); !slices.Equal(groups, []string{extensions, networking, security, telemetry}) {
		t.Errorf("groups %v", groups)
	}
}

// TestTable: ids are unique, in order, and every analyser says what it asks, why and what to do.
func TestTable(t *testing.T) {
	last := ""
	for _, a := range Analysers {
		if a.ID <= last {
			t.Errorf("%s stands behind %s", a.ID, last)
		}
		last = a.ID
		if a.Question == "" || a.Why == "" || a.Do == "" || a.Severity == "" || a.Run == nil {
			t.Errorf("%s is not whole: %+v", a.ID, a)
		}
		if got, ok := Lookup(a.ID); !ok || got.ID != a.ID {
			t.Errorf("%s is not found", a.ID)
		}
	}
	for code := range superseded {
		if _, ok := istioMessage(code[:7]); !ok {
			t.Errorf("Istio has no %s", code)
		}
	}
}
