package istio

import (
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

func names(uses []ImageUse) []string {
	var all []string
	for _, u := range uses {
		all = append(all, u.Image)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestImages(t *testing.T) {
	const hub = "example.test/istio/"
	pilot, proxy := hub+"pilot:1.31.1", hub+"proxyv2:1.31.1"
	tests := []struct {
		reason, profile string
		values          map[string]any
		set             []string
		want            []string
	}{
		{"control plane and proxies", "default", nil, nil, []string{pilot, proxy}},
		{"gateways run proxies too", "demo", nil, nil, []string{pilot, proxy}},
		{
			"ambient brings its agents, and its profile a variant", "ambient", nil, nil,
			[]string{hub + "install-cni:1.31.1-distroless", pilot + "-distroless", proxy + "-distroless", hub + "ztunnel:1.31.1-distroless"},
		},
		{"nothing but the east-west gateway", "empty", nil, nil, []string{proxy}},
		{
			"a variant is of every image, but for those that the document names otherwise", "default",
			map[string]any{"global": map[string]any{"variant": "distroless", "proxy": map[string]any{"image": "mirror.test/envoy:7"}}},
			nil,
			[]string{pilot + "-distroless", proxy + "-distroless", "mirror.test/envoy:7"}, // the second for istio-init
		},
		{"a tag of one component", "minimal", nil, []string{"values.pilot.tag=7"}, []string{hub + "pilot:7", proxy}},
		{
			"a template of one's own", "minimal",
			map[string]any{"sidecarInjectorWebhook": map[string]any{
				"defaultTemplates": []any{"sidecar", "logs"},
				"templates":        map[string]any{"logs": "spec:\n  containers:\n  - name: logs\n    image: mirror.test/logs:1\n"},
			}},
			nil,
			[]string{pilot, proxy, "mirror.test/logs:1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			m := shop("east", "west")
			m.Clusters[0].Istio.Profile, m.Clusters[0].Istio.Values, m.Clusters[0].Istio.Set = tt.profile, tt.values, tt.set
			uses, err := Images(must(t, m)["east"])
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(tt.want, names(uses)); diff != "" {
				t.Errorf("-want +got:\n%s\n%v", diff, uses)
			}
		})
	}
}

func TestImagesSayWhoRunsThem(t *testing.T) {
	uses, err := Images(must(t, revised("canary"))["east"])
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]bool{}
	for _, u := range uses {
		by[u.By] = true
	}
	for _, who := range []string{"Deployment istio-system/istiod-canary", "Deployment istio-system/istio-eastwestgateway", "injected proxies"} {
		if !by[who] {
			t.Errorf("nothing is said to be run by %s: %v", who, uses)
		}
	}
}
