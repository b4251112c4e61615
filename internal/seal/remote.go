package seal

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"isthmus.dev/isthmus/internal/discovery"
	"isthmus.dev/isthmus/internal/object"
)

// remoteSecret asks the cluster that the secret is about for a token of its reader, and writes the kubeconfig that
// istiod expects under the cluster's name.
func (s sealer) remoteSecret(ctx context.Context, _ string, o object.Object) (*unstructured.Unstructured, error) {
	about, ok := s.mesh.Cluster(o.Sealed.About)
	conn := s.conns[o.Sealed.About]
	if !ok || conn == nil {
		return nil, fmt.Errorf("no connection to cluster %s, which is to issue a token", o.Sealed.About)
	}
	server := discovery.Server(about, conn.Config.Host)
	if err := reachableFromElsewhere(about.Name, server); err != nil {
		return nil, err
	}
	ca, err := authority(conn.Config)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: certificate authority of the kubeconfig: %w", about.Name, err)
	}
	seconds := int64(s.mesh.CredentialTTL.Seconds())
	issued := s.now().UTC()
	token, err := conn.Kube.CoreV1().ServiceAccounts(object.SystemNamespace).CreateToken(ctx, discovery.Reader,
		&authv1.TokenRequest{Spec: authv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("cluster %s: request a token for ServiceAccount %s/%s: %w", about.Name, object.SystemNamespace, discovery.Reader, err)
	}
	content, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{about.Name: {Server: server, CertificateAuthorityData: ca}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{about.Name: {Token: token.Status.Token}},
		Contexts:       map[string]*clientcmdapi.Context{about.Name: {Cluster: about.Name, AuthInfo: about.Name}},
		CurrentContext: about.Name,
	})
	if err != nil {
		return nil, fmt.Errorf("write the kubeconfig for cluster %s: %w", about.Name, err)
	}
	return withData(o.Body, map[string]string{discovery.AnnotationIssued: issued.Format(time.RFC3339)}, map[string][]byte{about.Name: content}), nil
}

// withData is a copy of a Secret with data and annotations put in.
func withData(body *unstructured.Unstructured, annotations map[string]string, data map[string][]byte) *unstructured.Unstructured {
	out := body.DeepCopy()
	notes := out.GetAnnotations()
	if notes == nil {
		notes = map[string]string{}
	}
	for k, v := range annotations {
		notes[k] = v
	}
	out.SetAnnotations(notes)
	encoded := map[string]any{}
	for k, v := range data {
		encoded[k] = base64.StdEncoding.EncodeToString(v)
	}
	out.Object["data"] = encoded
	return out
}

// authority is the PEM that a configuration trusts for its server.
func authority(c *rest.Config) ([]byte, error) {
	if len(c.CAData) > 0 {
		return c.CAData, nil
	}
	if c.CAFile == "" {
		return nil, errors.New("there is none, and other clusters' control planes must verify this API server; give the kubeconfig certificate-authority-data")
	}
	return os.ReadFile(c.CAFile)
}

// reachableFromElsewhere refuses an address that means another machine wherever it is read.
func reachableFromElsewhere(cluster, server string) error {
	u, err := url.Parse(server)
	if err != nil {
		return fmt.Errorf("cluster %s: address of its API server: %w", cluster, err)
	}
	ip := net.ParseIP(u.Hostname())
	if u.Hostname() == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		return fmt.Errorf("cluster %s: other clusters cannot reach its API server at %s; say where they can: spec.clusters[%s].server", cluster, server, cluster)
	}
	return nil
}
