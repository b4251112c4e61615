// Package seal makes the secret content of objects at the moment in which they are applied: the mesh's root, a
// cluster's intermediate, a token for another cluster. Content goes from here into the request that writes it and
// nowhere else: nothing is logged, and no error quotes a byte of it.
package seal

import (
	"context"

	"fmt"
	"io"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/apply"
	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/trust"
)

// Sealers make the content of every kind of sealed object. conns must hold the home cluster for intermediates and
// the cluster that a remote secret is about; random must be fit for cryptography.
func Sealers(m mesh.Mesh, conns map[string]*cluster.Conn, now func() time.Time, random io.Reader) map[object.SealKind]apply.Sealer {
	s := sealer{mesh: m, conns: conns, now: now, random: random}
	return map[object.SealKind]apply.Sealer{
		object.SealRoot:         s.root,
		object.SealIntermediate: s.intermediate,
		object.SealRemoteSecret: s.remoteSecret,
	}
}

type sealer struct {
	mesh   mesh.Mesh
	conns  map[string]*cluster.Conn
	now    func() time.Time
	random io.Reader
}

func (s sealer) root(_ context.Context, _ string, o object.Object) (*unstructured.Unstructured, error) {
	data, err := trust.NewRoot(s.mesh.Name, s.mesh.Trust.RootTTL, s.now(), s.random)
	if err != nil {
		return nil, err
	}
	return withData(o.Body, nil, data), nil
}

// intermediate reads the root where it lives and signs with it.
func (s sealer) intermediate(ctx context.Context, _ string, o object.Object) (*unstructured.Unstructured, error) {
	home := s.mesh.Home().Name
	conn := s.conns[home]
	if conn == nil {
		return nil, fmt.Errorf("no connection to cluster %s, which keeps the root", home)
	}
	secret, err := conn.Kube.CoreV1().Secrets(object.SystemNamespace).Get(ctx, trust.RootSecret, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("cluster %s: read the root: %w", home, err)
	}
	root, err := trust.ParseRoot(secret.Data)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: Secret %s/%s: %w", home, object.SystemNamespace, trust.RootSecret, err)
	}
	data, err := trust.NewIntermediate(s.mesh.Name, o.Sealed.About, root, s.mesh.Trust.IntermediateTTL, s.now(), s.random)
	if err != nil {
		return nil, err
	}
	return withData(o.Body, nil, data), nil
}
