package apply_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
)

// remove deletes an object as somebody else.
func remove(t *testing.T, name string, ref object.Ref) {
	t.Helper()
	r, err := conn(t, name).Resource(schema.GroupVersionKind{Group: ref.Group, Kind: ref.Kind}, ref.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(t.Context(), ref.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestTheWorldMovedSinceThePlan: what somebody does between plan and apply is never overwritten.
func TestTheWorldMovedSinceThePlan(t *testing.T) {
	config := ref("", "ConfigMap", "moved", "istio")
	b := newBench(t, "moved")
	b.small()
	fresh := b.mustPlan()
	create(t, "east", "kubectl-create", `{apiVersion: v1, kind: Namespace, metadata: {name: moved}}`)
	create(t, "east", "kubectl-create", `{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: moved}, data: {mesh: mine}}`)
	_, err := b.apply(t.Context(), fresh)
	want := `cluster east: apply ConfigMap moved/istio: it has come to exist since the plan was made, and data.mesh is set by kubectl-create`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant %s", err, want)
	}
	if u := get(t, "east", config); u.Object["data"].(map[string]any)["mesh"] != "mine" {
		t.Error("somebody's object was overwritten")
	}

	remove(t, "east", config)
	create(t, "east", "kubectl-create", `{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: moved}, data: {other: mine}}`)
	_, err = b.apply(t.Context(), fresh)
	if err == nil || !strings.Contains(err.Error(), "cluster east: apply ConfigMap moved/istio: it has come to exist since the plan was made") {
		t.Errorf("%v, want that it has come to exist", err)
	}
	if u := get(t, "east", config); len(u.Object["data"].(map[string]any)) != 1 || len(u.GetLabels()) > 0 {
		t.Errorf("somebody's object was changed: %v %v", u.Object["data"], u.GetLabels())
	}
	if u := get(t, "east", ref("", "Namespace", "", "moved")); u.GetAnnotations()[plan.AnnotationAdopted] == "" {
		t.Error("somebody's namespace will be deleted with the mesh")
	}

	remove(t, "east", config)
	b.converge()
	patch(t, "east", config, "kubectl-edit", `{"data": {"mesh": "edited"}}`)
	stale := b.mustPlan()
	remove(t, "east", config)
	create(t, "east", "kubectl-create", `{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: moved}, data: {mesh: again}}`)
	_, err = b.apply(t.Context(), stale)
	want = `cluster east: apply ConfigMap moved/istio: it was deleted or made anew by somebody since the plan was made`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant %s", err, want)
	}
	if u := get(t, "east", config); u.Object["data"].(map[string]any)["mesh"] != "again" {
		t.Error("somebody's object was overwritten")
	}
}

// TestARefusalThatQuotesASecretIsScrubbed: an admission webhook may put what it was sent into its answer, in any form,
// and into the answers too that make a run try again and say why.
func TestARefusalThatQuotesASecretIsScrubbed(t *testing.T) {
	whole := regexp.MustCompile(canary + ` \d+`)
	for i, c := range []struct {
		reason string
		passes bool // the answer makes a run try again
		show   func(sent string) string
	}{
		{"the secret alone", false, func(sent string) string { return whole.FindString(sent) }},
		{"the secret alone, again and again", true, func(sent string) string { return whole.FindString(sent) }},
		{"all that was sent, in base64", false, func(sent string) string { return base64.StdEncoding.EncodeToString([]byte(sent)) }},
		{"all that was sent, in base64, again and again", true, func(sent string) string { return base64.StdEncoding.EncodeToString([]byte("x" + sent)) }},
		{"the first half", false, func(sent string) string { return canary[:len(canary)*3/4] }},
	} {
		t.Run(c.reason, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, fmt.Sprintf("quoted-%d", i))
			b.small()
			b.retryFor = 3 * time.Second
			b.wrap = func(_ string, rt http.RoundTripper) http.RoundTripper {
				return roundTripper(func(req *http.Request) (*http.Response, error) {
					if !isWrite(req) || !strings.Contains(req.URL.Path, "/secrets/cacerts") {
						return rt.RoundTrip(req)
					}
					sent, err := io.ReadAll(req.Body)
					if err != nil {
						return nil, err
					}
					said := c.show(string(sent))
					if c.passes {
						return answer(req, http.StatusInternalServerError, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "InternalError", "code": 500, "message": "failed calling webhook \"w\": no key like `+said+` here"}`), nil
					}
					return answer(req, http.StatusUnprocessableEntity, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": 422, "message": "denied: no key like `+said+` here"}`), nil
				})
			}
			p := b.mustPlan()
			set, err := b.apply(t.Context(), p)
			if err == nil || !strings.Contains(err.Error(), "no key like") || !strings.Contains(err.Error(), "(hidden)") && !strings.Contains(err.Error(), "…") {
				t.Fatalf("%v, want the refusal", err)
			}
			if c.passes && !strings.Contains(b.all.String(), "trying again: ") {
				t.Error("no notice says that it is tried again: this proves nothing about notices")
			}
			b.secretless(p)
			for _, form := range []string{canary[:12], base64.StdEncoding.EncodeToString([]byte(canary))[:12], base64.StdEncoding.EncodeToString([]byte("xx" + canary))[4:16], base64.StdEncoding.EncodeToString([]byte("x" + canary))[4:16]} {
				for _, text := range []string{err.Error(), marshal(t, set), b.all.String()} {
					if strings.Contains(text, form) {
						t.Errorf("a secret is in: %s", text)
					}
				}
			}
		})
	}
}
