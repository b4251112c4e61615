package trust

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

var _ plan.Judge = JudgeIstiod

func TestJudgeIstiod(t *testing.T) {
	rootData, root := makeRoot(t, 10*year, now)
	strangerData, stranger := makeRoot(t, 10*year, now)
	shared := seen("isthmus-system", "isthmus-root", "shop", rootData, true)
	fingerprint := func(data map[string][]byte) string {
		return seen("", "", "", data, true).Certificates[RootCert][0].Fingerprint
	}
	cacerts := func(by Authority) *facts.Secret {
		return seen("istio-system", "cacerts", "shop", makeIntermediate(t, "west", by, year, now), true)
	}
	ours, other := fingerprint(rootData), fingerprint(strangerData)
	const wrote = 10 * time.Minute // after now
	tests := []struct {
		reason  string
		root    *facts.Secret
		cacerts *facts.Secret
		holds   []string // what istiod tells workloads to trust
		since   time.Duration
		at      time.Duration
		restart bool
	}{
		{"it holds the root that cacerts has", shared, cacerts(root), []string{ours}, 0, wrote, false},
		{"a new intermediate of the same root is taken up by itself", shared, cacerts(root), []string{ours}, 0, 8 * year / 10, false},
		{"cacerts is another root's and will be made anew; istiod holds that other root", shared, cacerts(stranger), []string{other}, wrote + time.Minute, wrote, true},
		{"cacerts is another root's and will be made anew; istiod never took that up", shared, cacerts(stranger), []string{ours}, 0, wrote, false},
		{"cacerts was mended and istiod is older than that", shared, cacerts(root), []string{other}, 0, wrote, true},
		{"cacerts was mended and istiod started since; what it tells workloads follows", shared, cacerts(root), []string{other}, wrote + time.Minute, wrote, false},
		{"it trusts both, the mesh's beside another", shared, cacerts(root), []string{other, ours}, 0, wrote, false},
		{"there was no cacerts: istiod made a root of its own", shared, nil, []string{other}, 0, wrote, true},
		{"the root is made by the same apply", nil, nil, []string{other}, 0, wrote, true},
		{"what it holds is not known", shared, cacerts(stranger), nil, 0, wrote, false},
	}
	deployment := func(name string) object.Object {
		return object.Object{Body: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"namespace": "istio-system", "name": name},
		}}}
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			w := world{root: tt.root, intermediate: map[string]*facts.Secret{"west": tt.cacerts}, at: now.Add(tt.at)}
			s := w.snapshot()
			live := &unstructured.Unstructured{Object: map[string]any{}}
			at := metav1.NewTime(now.Add(wrote))
			live.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "isthmus", Time: &at}})
			west := s.Clusters["west"]
			west.Live = map[object.Ref]*unstructured.Unstructured{{Kind: "Secret", Namespace: "istio-system", Name: "cacerts"}: live}
			west.Istiods = []facts.Istiod{{Namespace: "istio-system", Name: "istiod", Roots: tt.holds, Since: now.Add(tt.since)}}
			why, err := JudgeIstiod(shop(), "west", deployment("istiod"), s)
			if err != nil || (why != "") != tt.restart {
				t.Errorf("%q, %v; want a restart: %v", why, err, tt.restart)
			}
			if why, err := JudgeIstiod(shop(), "west", deployment("a-gateway"), s); why != "" || err != nil {
				t.Errorf("a gateway must start anew: %q, %v", why, err)
			}
		})
	}
}
