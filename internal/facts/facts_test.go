package facts

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestAnswered(t *testing.T) {
	var unknown *Cluster
	for _, c := range []struct {
		reason  string
		cluster *Cluster
		want    bool
	}{{"not known", unknown, false}, {"no answer", &Cluster{Err: "connection refused"}, false}, {"read", &Cluster{}, true}} {
		if got := c.cluster.Answered(); got != c.want {
			t.Errorf("%s: %t", c.reason, got)
		}
	}
}

// TestNoAnnotationOfASecretHoldsACopy: which tools keep copies in annotations nobody can list.
func TestNoAnnotationOfASecretHoldsACopy(t *testing.T) {
	const canary = "c4n4ry-do-not-print"
	s := corev1.Secret{}
	s.Namespace, s.Name, s.Data = "istio-system", "cacerts", map[string][]byte{"ca-key.pem": []byte(canary)}
	kept := map[string]string{
		"isthmus.dev/issued": "2026-11-24T12:00:00Z", "meta.helm.sh/release-name": "istiod", "networking.istio.io/cluster": "west",
		"kubernetes.io/service-account.name": "reader",
	}
	s.Annotations = maps.Clone(kept)
	for _, k := range []string{
		"kubectl.kubernetes.io/last-applied-configuration", "kapp.k14s.io/original", "objectset.rio.cattle.io/applied",
		"banzaicloud.com/last-applied", "example.org/backup", "reflector.v1.k8s.emberstack.com/source", "isthmus.dev/too-long", "config.kubernetes.io/origin",
	} {
		s.Annotations[k] = canary
		if strings.HasPrefix(k, "isthmus.dev/") {
			s.Annotations[k] = strings.Repeat(canary, 100)
		}
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&s)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: content}
	hide(u)
	for what, v := range map[string]any{"facts of it": Reduce(s), "the object": u.Object} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), canary) || strings.Contains(string(text), base64.StdEncoding.EncodeToString([]byte(canary))) {
			t.Errorf("%s: %s", what, text)
		}
	}
	if d := cmp.Diff(kept, u.GetAnnotations()); d != "" {
		t.Errorf("annotations (-want +got):\n%s", d)
	}
	sum := sha256.Sum256([]byte(canary))
	if text := Digest([]byte(canary)); strings.Contains(text, hex.EncodeToString(sum[:])) || text != Digest([]byte(canary)) || text == Digest([]byte("x")) {
		t.Errorf("the digest lets somebody try values: %s", text)
	}
}
