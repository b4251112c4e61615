package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/pem"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/trust"
)

// TestTheRootIsTakenAlong: the content that moves is that of the old home, and a new root is never made in its place.
func TestTheRootIsTakenAlong(t *testing.T) {
	b := newBench(t)
	body, err := b.seal(t, object.SealRoot, "east")
	if err != nil {
		t.Fatal(err)
	}
	old := dataOf(t, body)
	b.keepRoot(t, old)
	b.mesh.Clusters = b.mesh.Clusters[1:]
	move := func() ([]byte, error) {
		o := trust.Objects(b.mesh)["west"][0]
		o.Sealed = &object.Sealed{Kind: object.SealRoot, About: "west", From: "east"}
		moved, err := Sealers(b.mesh, b.conns, func() time.Time { return now }, rand.Reader)[object.SealRoot](t.Context(), "west", o)
		if err != nil {
			return nil, err
		}
		return dataOf(t, moved)[trust.RootKey], nil
	}
	if key, err := move(); err != nil || !bytes.Equal(key, old[trust.RootKey]) {
		t.Errorf("another key, or none: %v", err)
	}
	for _, tt := range []struct{ reason, want string }{
		{"what is there is no key", "isthmus-system/isthmus-root: tls.key holds no private key"},
		{"it is gone", "cluster east: read the root"},
		{"nobody reaches the old home", "no connection to cluster east"},
	} {
		secrets := b.kube["east"].CoreV1().Secrets(object.SystemNamespace)
		switch tt.reason {
		case "what is there is no key":
			if err := secrets.Delete(t.Context(), trust.RootSecret, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			b.keepRoot(t, map[string][]byte{trust.RootCert: old[trust.RootCert], trust.RootKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte(canary)})})
		case "it is gone":
			if err := secrets.Delete(t.Context(), trust.RootSecret, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		default:
			delete(b.conns, "east")
		}
		_, err := move()
		refused(t, err, tt.want)
	}
}
