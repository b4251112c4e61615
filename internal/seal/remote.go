package seal

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
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

// remoteSecret asks the cluster that the secret is about for a token of the account that it names, and writes the kubeconfig that
// istiod expects under the cluster's name; for an external istiod the one that it is mounted, see discovery.ConfigSecret.
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
		return nil, fmt.Errorf("cluster %s: %w", about.Name, err)
	}
	seconds := int64(s.mesh.CredentialTTL.Seconds())
	issued := s.now().UTC()
	namespace := discovery.AccountNamespace(*o.Sealed, about)
	token, err := conn.Kube.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, o.Sealed.Account,
		&authv1.TokenRequest{Spec: authv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("cluster %s: request a token for ServiceAccount %s/%s: %w", about.Name, namespace, o.Sealed.Account, err)
	}
	user := clientcmdapi.AuthInfo{Token: token.Status.Token}
	external := o.Sealed.Kind == object.SealConfigCluster
	if external {
		user = clientcmdapi.AuthInfo{TokenFile: discovery.ConfigFolder + "/" + discovery.TokenKey}
	}
	content, err := clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{about.Name: {
			Server: server, CertificateAuthorityData: ca, TLSServerName: conn.Config.ServerName,
		}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{about.Name: &user},
		Contexts:       map[string]*clientcmdapi.Context{about.Name: {Cluster: about.Name, AuthInfo: about.Name}},
		CurrentContext: about.Name,
	})
	if err != nil {
		return nil, fmt.Errorf("write the kubeconfig for cluster %s: %w", about.Name, err)
	}
	notes := map[string]string{discovery.AnnotationIssued: issued.Format(time.RFC3339)}
	if uid := readerUID(token.Status.Token); uid != "" {
		notes[discovery.AnnotationReader] = uid
	}
	data := map[string][]byte{about.Name: content}
	if external {
		data = map[string][]byte{discovery.ConfigKey: content, discovery.TokenKey: []byte(token.Status.Token)}
	}
	return withData(o.Body, notes, data), nil
}

// readerUID is the UID of the ServiceAccount that a token is for, as the API server wrote it into the token; ""
// when the token does not say. A token dies with its ServiceAccount, and is not revived by one of the same name.
func readerUID(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Kubernetes struct {
			ServiceAccount struct {
				UID string `json:"uid"`
			} `json:"serviceaccount"`
		} `json:"kubernetes.io"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Kubernetes.ServiceAccount.UID
}

// authority is the PEM that a configuration trusts for its server; nothing where it trusts what the system does,
// as for an API server behind a certificate of a public authority. istiod refuses a kubeconfig that verifies
// nothing, and rightly.
func authority(c *rest.Config) ([]byte, error) {
	switch {
	case c.Insecure:
		return nil, fmt.Errorf("its kubeconfig says insecure-skip-tls-verify, and other clusters' control planes must be able to tell this API server from another; give it certificate-authority-data")
	case len(c.CAData) > 0 || c.CAFile == "":
		return c.CAData, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig's certificate authority: %w", err)
	}
	return pem, nil
}

// reachableFromElsewhere refuses an address that means another machine wherever it is read.
func reachableFromElsewhere(cluster, server string) error {
	if !strings.Contains(server, "://") {
		server = "https://" + server
	}
	u, err := url.Parse(server)
	if err != nil {
		return fmt.Errorf("cluster %s: address of its API server: %w", cluster, err)
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	ip := net.ParseIP(host)
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		return fmt.Errorf("cluster %s: other clusters cannot reach its API server at %s; say where they can: spec.clusters[%s].server", cluster, server, cluster)
	}
	return nil
}
