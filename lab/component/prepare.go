package component

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"isthmus.dev/isthmus/lab/layout"
	"isthmus.dev/isthmus/lab/pki"
	"isthmus.dev/isthmus/lab/seed"
)

// Prepare writes everything on disk that the programs of cluster c read: certificates, kubeconfigs, settings. What is
// there and right stays as it is. now is when new certificates begin.
func Prepare(l layout.Lab, c layout.Cluster, now time.Time) error {
	leaves := Leaves(c)
	if !c.Hollow {
		for _, n := range c.Nodes {
			leaves = append(leaves, NodeLeaf(n))
		}
	}
	if err := pki.Ensure(c.Path("pki"), c.Name, leaves, now); err != nil {
		return fmt.Errorf("prepare cluster %s: %w", c.Name, err)
	}
	for _, leaf := range []string{"admin", "kube-controller-manager", "kube-scheduler"} {
		if err := kubeconfig(c, c.Path("etc", leaf+".kubeconfig"), leaf); err != nil {
			return err
		}
	}
	for _, dir := range []string{c.Path("log"), filepath.Dir(AuditLog(c))} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("prepare cluster %s: %w", c.Name, err)
		}
	}
	if err := os.WriteFile(c.Path("etc", "audit.yaml"), []byte(auditPolicy), 0o644); err != nil {
		return fmt.Errorf("prepare cluster %s: %w", c.Name, err)
	}
	if c.Hollow {
		return nil
	}
	for _, n := range c.Nodes {
		if err := prepareNode(Site{Lab: l, Cluster: c, Node: n}); err != nil {
			return fmt.Errorf("prepare node %s: %w", n.Name, err)
		}
	}
	return nil
}

func prepareNode(s Site) error {
	n := s.Node
	dirs := []string{n.Path("kubelet"), n.Path("pki"), n.Path("pods"), n.Path("volume-plugins"), n.Run, filepath.Dir(s.Cluster.Log("x", n.Name))}
	for _, d := range layout.FixedDirs {
		dirs = append(dirs, n.Own(d))
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if s.Lab.Programs.Seed != "" {
		if err := seed.Clone(s.Lab.Programs.Seed, n.Path("containerd")); err != nil {
			return err
		}
	}
	for path, text := range Files(s) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, ext := range []string{".crt", ".key"} {
		data, err := os.ReadFile(s.Cluster.Path("pki", n.Name+ext))
		if err != nil {
			return err
		}
		if err := os.WriteFile(n.Path("pki", "kubelet"+ext), data, 0o600); err != nil {
			return err
		}
	}
	if err := kubeconfig(s.Cluster, n.Path("etc", "kubelet.kubeconfig"), n.Name); err != nil {
		return err
	}
	return kubeconfig(s.Cluster, n.Path("etc", "kube-proxy.kubeconfig"), "kube-proxy")
}

func kubeconfig(c layout.Cluster, path, leaf string) error {
	return pki.WriteKubeconfig(path, pki.Entry{Context: c.Name, Server: c.APIServer(), Dir: c.Path("pki"), Leaf: leaf})
}
