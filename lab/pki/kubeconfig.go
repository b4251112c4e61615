package pki

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// An Entry is one context of a kubeconfig: the cluster's name, its API server, and which of its certificates to use.
type Entry struct {
	Context string // name of context, cluster and, with the leaf's name, user
	Server  string // URL of the API server
	Dir     string // where ca.crt, LEAF.crt and LEAF.key are
	Leaf    string
}

// Kubeconfig returns a kubeconfig with a context for each entry; the first is current. Certificates are inside it.
func Kubeconfig(entries ...Entry) (*api.Config, error) {
	c := api.NewConfig()
	for i, e := range entries {
		ca, err := os.ReadFile(filepath.Join(e.Dir, "ca.crt"))
		if err != nil {
			return nil, fmt.Errorf("write kubeconfig of %s: %w", e.Context, err)
		}
		crt, err := os.ReadFile(filepath.Join(e.Dir, e.Leaf+".crt"))
		if err != nil {
			return nil, fmt.Errorf("write kubeconfig of %s: %w", e.Context, err)
		}
		key, err := os.ReadFile(filepath.Join(e.Dir, e.Leaf+".key"))
		if err != nil {
			return nil, fmt.Errorf("write kubeconfig of %s: %w", e.Context, err)
		}
		user := e.Context + "-" + e.Leaf
		c.Clusters[e.Context] = &api.Cluster{Server: e.Server, CertificateAuthorityData: ca}
		c.AuthInfos[user] = &api.AuthInfo{ClientCertificateData: crt, ClientKeyData: key}
		c.Contexts[e.Context] = &api.Context{Cluster: e.Context, AuthInfo: user}
		if i == 0 {
			c.CurrentContext = e.Context
		}
	}
	return c, nil
}

// WriteKubeconfig writes Kubeconfig(entries...) to path, readable by its owner only, making the folder if need be.
func WriteKubeconfig(path string, entries ...Entry) error {
	c, err := Kubeconfig(entries...)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	data, err := clientcmd.Write(*c)
	if err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return os.Rename(tmp, path)
}
