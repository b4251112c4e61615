package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/object"
)

// AnnotationAdopted marks a namespace that was there before Isthmus: it is never deleted. It is part of the very
// write that makes the namespace ours in part, so no crash can lose it.
const AnnotationAdopted = "isthmus.dev/adopted"

// prepare makes the body that is applied: with the labels that say whose it is and the digest of itself. It shares
// with o's body all that it does not change.
func prepare(o object.Object, owner string, adopted bool) (object.Object, error) {
	metadata, _ := o.Body.Object["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	delete(metadata, "creationTimestamp")
	delete(metadata, "managedFields")
	body := &unstructured.Unstructured{Object: maps.Clone(o.Body.Object)}
	body.Object["metadata"] = metadata
	delete(body.Object, "status")
	labels := copied(o.Body.GetLabels())
	labels[object.LabelMesh] = owner
	if o.Part != "" {
		labels[object.LabelPart] = o.Part.Label()
	}
	body.SetLabels(labels)
	notes := copied(o.Body.GetAnnotations())
	delete(notes, object.AnnotationApplied)
	if adopted {
		notes[AnnotationAdopted] = "true"
	}
	body.SetAnnotations(notes)
	digest, err := digest(body.Object)
	if err != nil {
		return object.Object{}, fmt.Errorf("digest %s: %w", o.Ref(), err)
	}
	notes[object.AnnotationApplied] = digest
	body.SetAnnotations(notes)
	o.Body = body
	return o, nil
}

// prepared are bodies that were prepared already: what is the same object in many clusters is prepared once.
type prepared struct {
	mu      sync.Mutex
	done    map[preparation]*unstructured.Unstructured
	ones    map[one]*object.Object // one in memory of those that are the same
	same    map[pair]bool          // see alike
	settled map[pair]bool          // see compareOnce
	sets    map[fieldEntry]fieldSet
}

type preparation struct {
	body    *unstructured.Unstructured
	part    object.Part
	owner   string
	adopted bool
}

// one is what tells most prepared objects apart.
type one struct {
	body   *unstructured.Unstructured
	sealed *object.Sealed
}

// prepare is the object as it is applied. Nobody may change it: other clusters have the same.
func (p *prepared) prepare(o object.Object, owner string, adopted bool) (*object.Object, error) {
	key := preparation{o.Body, o.Part, owner, adopted}
	p.mu.Lock()
	defer p.mu.Unlock()
	body := p.done[key]
	if body == nil {
		p.mu.Unlock()
		made, err := prepare(o, owner, adopted)
		p.mu.Lock()
		if err != nil {
			return nil, err
		}
		if p.done == nil {
			p.done, p.ones = map[preparation]*unstructured.Unstructured{}, map[one]*object.Object{}
		}
		if body = p.done[key]; body == nil { // somebody may have been faster
			body = made.Body
			p.done[key] = body
		}
	}
	o.Body = body
	if same := p.ones[one{body, o.Sealed}]; same != nil && *same == o {
		return same, nil
	}
	own := o
	p.ones[one{body, o.Sealed}] = &own
	return &own, nil
}

func copied(m map[string]string) map[string]string {
	out := make(map[string]string, len(m)+2)
	maps.Copy(out, m)
	return out
}

// digest is SHA-256 over the JSON form, whose keys are sorted; 16 bytes of it are plenty to tell bodies apart.
func digest(body map[string]any) (string, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16]), nil
}

// A keeper is a controller that keeps a field of what we apply, and rightly so.
type keeper struct {
	kinds   []string
	suffix  string // of the field's path
	manager string
}

var keepers = []keeper{
	// istiod turns Ignore into Fail once it serves its webhook (istio: pkg/webhooks/validation/controller), and fills
	// in its CA (pkg/webhooks/webhookpatch.go).
	{[]string{"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}, ".failurePolicy", "pilot-discovery"},
	{[]string{"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}, ".clientConfig.caBundle", "pilot-discovery"},
	// A HorizontalPodAutoscaler scales through this controller.
	{[]string{"Deployment", "StatefulSet"}, "spec.replicas", "kube-controller-manager"},
}

// yields tells whether a field that a manager took over is that manager's to keep.
func yields(kind, path, manager string) bool {
	return slices.ContainsFunc(keepers, func(k keeper) bool {
		return k.manager == manager && slices.Contains(k.kinds, kind) && strings.HasSuffix(path, k.suffix)
	})
}

// fixed are fields that the API server refuses to change, by kind (Kubernetes 1.36: the ValidateUpdate functions
// of pkg/apis/*/validation and pkg/registry/*/strategy.go). An object whose wanted value differs is replaced.
var fixed = map[string][]string{
	"Deployment":            {"spec.selector"},
	"DaemonSet":             {"spec.selector"},
	"StatefulSet":           {"spec.selector", "spec.serviceName", "spec.podManagementPolicy", "spec.volumeClaimTemplates"},
	"Job":                   {"spec.selector", "spec.template", "spec.completionMode"},
	"RoleBinding":           {"roleRef"},
	"ClusterRoleBinding":    {"roleRef"},
	"Service":               {"spec.clusterIP"},
	"Secret":                {"type"},
	"PersistentVolumeClaim": {"spec.storageClassName", "spec.volumeName", "spec.accessModes"},
	"StorageClass":          {"provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"},
	"PriorityClass":         {"value"},
	"IngressClass":          {"spec.controller"},
}

// mustReplace names the field that cannot be changed in place, or "".
func mustReplace(want, live *unstructured.Unstructured) string {
	for _, path := range fixed[want.GetKind()] {
		steps := strings.Split(path, ".")
		w, ok, err := unstructured.NestedFieldNoCopy(want.Object, steps...)
		if !ok || err != nil {
			continue
		}
		l, ok, err := unstructured.NestedFieldNoCopy(live.Object, steps...)
		if err == nil && (!same(w, l) || ok && path == "spec.selector" && !same(l, w)) {
			return path
		}
	}
	if frozen, _, _ := unstructured.NestedBool(live.Object, "immutable"); frozen { // a field of another type is no promise
		if w, ok := want.Object["data"]; ok && !same(w, live.Object["data"]) {
			return "data"
		}
	}
	return ""
}
