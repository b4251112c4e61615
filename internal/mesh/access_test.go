package mesh_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/mesh"
)

// TestADryRunIsWrittenDown: while rules are only tried, every cluster's proxies know the log for it, beside the logs
// that the document gives them; and at no other time.
func TestADryRunIsWrittenDown(t *testing.T) {
	const document = head + `spec:
  clusters:
  - name: east
    istio: {meshConfig: {extensionProviders: [{name: mine}]}}
  - {name: west}
`
	for _, c := range []struct {
		reason, access string
		east, west     []string
	}{
		{"a dry run", "  access: {default: deny, mode: dryRun}\n", []string{"mine", mesh.DryRunProvider}, []string{mesh.DryRunProvider}},
		{"enforced", "  access: {default: deny}\n", []string{"mine"}, nil},
		{"a dry run of nothing", "  access: {mode: dryRun}\n", []string{"mine"}, nil},
	} {
		m := load(t, document+c.access)
		for i, want := range [][]string{c.east, c.west} {
			var got []string
			list, _ := m.Clusters[i].Istio.MeshConfig["extensionProviders"].([]any)
			for _, p := range list {
				got = append(got, p.(map[string]any)["name"].(string))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", c.reason, m.Clusters[i].Name, diff)
			}
		}
	}
}
