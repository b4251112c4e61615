package verify

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// CallerName is the name of the Deployment that CallerBeside makes, and the label app of its pod.
const CallerName = "isthmus-explain"

// CallerBeside is a client that calls as somebody else of its namespace would: with that service account. It has
// none of the other's labels, or Services would send it the other's calls.
func CallerBeside(m mesh.Mesh, c mesh.Cluster, namespace, account string) object.Object {
	d := deployment(m, c, Client)
	d.Name, d.Namespace = CallerName, namespace
	labels := map[string]string{"app": CallerName}
	d.Labels, d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = labels, labels, labels
	d.Spec.Template.Spec.ServiceAccountName = account
	return object.Object{
		Part: object.PartProbes, Reason: fmt.Sprintf("calls as service account %s", account),
		Body: body(d, appsv1.SchemeGroupVersion.WithKind("Deployment")),
	}
}
