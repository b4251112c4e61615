// Package seal makes the secret content of objects at the moment in which they are applied: the mesh's root, a
// cluster's intermediate, a token for another cluster. Content goes from here into the request that writes it and
// nowhere else: nothing is logged, and no error quotes a byte of it.
package seal

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/trust"
)

// Sealers make the content of every kind of sealed object. conns must hold the home cluster for the root and for
// intermediates, and the cluster that a remote secret is about; random must be fit for cryptography.
func Sealers(m mesh.Mesh, conns map[string]*cluster.Conn, now func() time.Time, random io.Reader) map[object.SealKind]apply.Sealer {
	s := sealer{mesh: m, conns: conns, now: now, random: random}
	return map[object.SealKind]apply.Sealer{
		object.SealRoot:          s.root,
		object.SealIntermediate:  s.intermediate,
		object.SealRemoteSecret:  s.remoteSecret,
		object.SealConfigCluster: s.remoteSecret,
		object.SealPullSecret:    s.pullSecret,
	}
}

type sealer struct {
	mesh   mesh.Mesh
	conns  map[string]*cluster.Conn
	now    func() time.Time
	random io.Reader
}

// root makes a root, or takes it along from the cluster that kept it, unless there is by now one that can sign: a plan
// that says otherwise is out of date, and to replace that root would take the ground from under whatever it has signed
// since.
func (s sealer) root(ctx context.Context, _ string, o object.Object) (*unstructured.Unstructured, error) {
	home := s.mesh.Home().Name
	data, err := s.rootData(ctx, home)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	if root, broken := trust.ParseRoot(data); broken == nil && root.Cert.NotAfter.After(s.now()) {
		return nil, fmt.Errorf("cluster %s: Secret %s/%s holds a root that can sign, made since the plan was: it is not replaced; run isthmus apply again",
			home, object.SystemNamespace, trust.RootSecret)
	}
	if o.Sealed.From != "" {
		return s.movedRoot(ctx, o)
	}
	if data, err = trust.NewRoot(s.mesh.Name, s.mesh.Trust.RootTTL, s.now(), s.random); err != nil {
		return nil, err
	}
	return withData(o.Body, nil, data), nil
}

// movedRoot is the root as another cluster keeps it. It goes from that cluster into the request that writes it.
func (s sealer) movedRoot(ctx context.Context, o object.Object) (*unstructured.Unstructured, error) {
	data, err := s.rootData(ctx, o.Sealed.From)
	if err != nil {
		return nil, err
	}
	root, err := trust.ParseRoot(data)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: Secret %s/%s: %w", o.Sealed.From, object.SystemNamespace, trust.RootSecret, err)
	}
	if !root.Cert.NotAfter.After(s.now()) {
		return nil, fmt.Errorf("cluster %s: Secret %s/%s: the root ended on %s", o.Sealed.From, object.SystemNamespace, trust.RootSecret, root.Cert.NotAfter.UTC())
	}
	return withData(o.Body, nil, map[string][]byte{trust.RootCert: data[trust.RootCert], trust.RootKey: data[trust.RootKey]}), nil
}

// intermediate reads the root where it lives and signs with it.
func (s sealer) intermediate(ctx context.Context, _ string, o object.Object) (*unstructured.Unstructured, error) {
	home := s.mesh.Home().Name
	data, err := s.rootData(ctx, home)
	if err != nil {
		return nil, err
	}
	root, err := trust.ParseRoot(data)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: Secret %s/%s: %w", home, object.SystemNamespace, trust.RootSecret, err)
	}
	data, err = trust.NewIntermediate(s.mesh.Name, o.Sealed.About, root, s.mesh.Trust.IntermediateTTL, s.now(), s.random)
	if err != nil {
		return nil, err
	}
	return withData(o.Body, nil, data), nil
}

// pullSecret copies the Secret of the same name from Istio's namespace in the same cluster.
func (s sealer) pullSecret(ctx context.Context, cluster string, o object.Object) (*unstructured.Unstructured, error) {
	conn := s.conns[cluster]
	if conn == nil {
		return nil, fmt.Errorf("no connection to cluster %s", cluster)
	}
	from, err := conn.Kube.CoreV1().Secrets(trust.Namespace).Get(ctx, o.Body.GetName(), metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("cluster %s: read the image pull secret to copy: %w", cluster, err)
	}
	out := withData(o.Body, nil, from.Data)
	out.Object["type"] = string(from.Type)
	return out, nil
}

func (s sealer) rootData(ctx context.Context, home string) (map[string][]byte, error) {
	conn := s.conns[home]
	if conn == nil {
		return nil, fmt.Errorf("no connection to cluster %s, which keeps the root", home)
	}
	secret, err := conn.Kube.CoreV1().Secrets(object.SystemNamespace).Get(ctx, trust.RootSecret, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("cluster %s: read the root: %w", home, err)
	}
	return secret.Data, nil
}

// withData is a copy of a Secret with data and annotations put in.
func withData(body *unstructured.Unstructured, annotations map[string]string, data map[string][]byte) *unstructured.Unstructured {
	out := body.DeepCopy()
	if len(annotations) > 0 {
		notes := out.GetAnnotations()
		if notes == nil {
			notes = map[string]string{}
		}
		maps.Copy(notes, annotations)
		out.SetAnnotations(notes)
	}
	encoded := map[string]any{}
	for k, v := range data {
		encoded[k] = base64.StdEncoding.EncodeToString(v)
	}
	out.Object["data"] = encoded
	return out
}
