package render

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Kustomization is the file in every cluster's folder that lists the others.
const Kustomization = "kustomization.yaml"

// secretFiles begins the names of files with secret content.
const secretFiles = "secret_"

// Written says what Write did.
type Written struct {
	// Changed are the files that are new or other than before, in the order of clusters and objects.
	Changed []string `json:"changed,omitempty"`
	// Removed are the files of objects that are no longer wanted.
	Removed []string `json:"removed,omitempty"`
	// Kept are files with secret content that are no longer listed, and are left for a person to delete.
	Kept []string `json:"kept,omitempty"`
	// Departed are folders of clusters that are no longer in the document, left for a person to delete: what a GitOps
	// controller finds gone it may delete from the cluster.
	Departed []string `json:"departed,omitempty"`
}

// Write brings a folder up to date: it writes what is other than before, and removes files of its own that are no
// longer wanted. Files that it did not write stay. Interrupted, it is run again.
func Write(dir string, clusters []Cluster) (Written, error) {
	var done Written
	for _, c := range clusters {
		if err := c.mine(dir); err != nil {
			return done, err
		}
	}
	for _, c := range clusters {
		if err := c.write(dir, &done); err != nil {
			return done, fmt.Errorf("cluster %s: %w", c.Name, err)
		}
	}
	return done, departed(dir, clusters, &done)
}

// mine refuses a folder whose kustomization somebody else wrote, or that belongs to another mesh or cluster.
func (c Cluster) mine(dir string) error {
	file := filepath.Join(dir, c.Name, Kustomization)
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("cluster %s: %w", c.Name, err)
	case !bytes.HasPrefix(text, []byte(mark+c.title()+".")):
		return fmt.Errorf("cluster %s: %s was not written by isthmus render for %s: it is left alone; choose another folder, or move it away", c.Name, file, c.title())
	}
	return nil
}

func (c Cluster) write(dir string, done *Written) error {
	folder := filepath.Join(dir, c.Name)
	before, err := listed(folder)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	now := map[string]bool{}
	for _, i := range c.Items {
		if i.secret() {
			continue
		}
		text, err := i.Text()
		if err != nil {
			return err
		}
		now[i.Name()] = true
		if err := put(filepath.Join(folder, i.Name()), text, i.Object.Ref().Kind == "Secret", done); err != nil {
			return err
		}
	}
	for _, name := range before {
		file := filepath.Join(folder, name)
		switch {
		case now[name]:
		case strings.HasPrefix(name, secretFiles):
			if _, err := os.Stat(file); err == nil {
				done.Kept = append(done.Kept, file)
			}
		default:
			if err := os.Remove(file); err == nil {
				done.Removed = append(done.Removed, file)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return put(filepath.Join(folder, Kustomization), c.kustomization(), false, done)
}

// listed are the files that the folder's kustomization lists, but for paths that lead elsewhere, which no rendering
// has written.
func listed(folder string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(folder, Kustomization))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var k struct {
		Resources []string `json:"resources"`
	}
	if err := yaml.Unmarshal(text, &k); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(folder, Kustomization), err)
	}
	return slices.DeleteFunc(k.Resources, func(name string) bool {
		return name != filepath.Base(name) || !strings.HasSuffix(name, ".yaml") || name == Kustomization
	}), nil
}

// put writes a file if it is other than before: beside it and then renamed, so that nobody reads half of one.
func put(file string, text []byte, secret bool, done *Written) error {
	mode := fs.FileMode(0o644)
	if secret {
		mode = 0o600
	}
	info, err := os.Lstat(file)
	as := err == nil && info.Mode().IsRegular() && (!secret || info.Mode().Perm()&^mode == 0)
	if before, err := os.ReadFile(file); as && err == nil && bytes.Equal(before, text) {
		return nil
	}
	part := file + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) { // it may be of another mode
		return err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) // a link that somebody puts there is not followed
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(part, file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	done.Changed = append(done.Changed, file)
	return nil
}

// departed finds folders that were rendered for clusters which are not among these.
func departed(dir string, clusters []Cluster, done *Written) error {
	if len(clusters) == 0 {
		return nil
	}
	found, err := filepath.Glob(filepath.Join(dir, "*", Kustomization))
	if err != nil {
		return err
	}
	for _, file := range found {
		name := filepath.Base(filepath.Dir(file))
		if slices.ContainsFunc(clusters, func(c Cluster) bool { return c.Name == name }) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(text, []byte(mark+"mesh "+clusters[0].Mesh+", ")) {
			done.Departed = append(done.Departed, filepath.Dir(file))
		}
	}
	return nil
}
