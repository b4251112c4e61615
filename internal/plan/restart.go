package plan

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/object"
)

// AnnotationRestarted is on the pods of a workload that was started anew for something that it had read, and says for
// what. As a part of what is applied it is a difference like any other: a plan shows it and the pods that it
// restarts, and it stays as it is afterwards, so that the next plan changes nothing.
const AnnotationRestarted = "isthmus.dev/restarted"

// revision is the Deployment controller's own count of pod templates.
const revision = "deployment.kubernetes.io/revision"

var restartedPath = []string{"spec", "template", "metadata", "annotations", AnnotationRestarted}

// withRestart returns the wanted workload with the mark of its last restart, or with a new one if it must start anew,
// and then why.
func (d *decider) withRestart(o object.Object, live *unstructured.Unstructured) (object.Object, string, error) {
	if d.in.Restart == nil || live == nil || o.Body.GetKind() != "Deployment" {
		return o, "", nil
	}
	mark, _, err := unstructured.NestedString(live.Object, restartedPath...)
	if err != nil {
		return o, "", fmt.Errorf("read annotation %s: %w", AnnotationRestarted, err)
	}
	why, err := d.in.Restart(d.in.Mesh, d.cluster, o, d.in.Now)
	if err != nil {
		return o, "", err
	}
	if why != "" {
		// Another one than before, and the same for the same facts.
		mark = "after revision " + live.GetAnnotations()[revision]
	}
	if mark == "" {
		return o, "", nil
	}
	o.Body = o.Body.DeepCopy()
	if err := unstructured.SetNestedField(o.Body.Object, mark, restartedPath...); err != nil {
		return o, "", fmt.Errorf("set annotation %s: %w", AnnotationRestarted, err)
	}
	return o, why, nil
}
