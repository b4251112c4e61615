// Package label writes on an object whose it is. What bears these labels is what Isthmus may change and, once it
// is wanted no more, delete; so nothing gets them but through Own.
package label

import "isthmus.dev/isthmus/internal/object"

// Own returns o with the labels of the mesh of that name and of o's part, beside those it has. Its body is
// changed in place. Templates of pods are left alone: a label there would restart them.
func Own(mesh string, o object.Object) object.Object {
	labels := o.Body.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[object.LabelMesh] = mesh
	labels[object.LabelPart] = o.Part.Label()
	o.Body.SetLabels(labels)
	return o
}
