package engine_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isthmus.dev/isthmus/internal/engine"
	"isthmus.dev/isthmus/internal/mesh"
)

// TestExamples loads and renders every example without any cluster, and lists what the one for an air gap needs.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/*/mesh.yaml")
	if err != nil || len(files) < 7 {
		t.Fatalf("%d examples: %v", len(files), err)
	}
	var images []engine.Image
	for _, file := range files {
		m, err := mesh.LoadFile(file, nil)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if served := addresses(m); len(served) > 0 { // what a cluster would tell, and none is asked
			if m, err = mesh.LoadFile(file, served); err != nil {
				t.Errorf("%v", err)
				continue
			}
		}
		eng := engine.Engine{Mesh: m, Dial: nobody(t), Now: time.Now, Renderings: engine.Kept}
		clusters, err := eng.Render()
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for _, c := range clusters {
			if len(c.Items) < 30 {
				t.Errorf("%s: cluster %s has %d objects", file, c.Name, len(c.Items))
			}
		}
		if filepath.Base(filepath.Dir(file)) == "air-gap" {
			if images, err = eng.Images(); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	hubs := map[string]bool{}
	for _, i := range images {
		hub, _, _ := strings.Cut(i.Image, "/")
		hubs[hub] = true
		if hub != "registry.example.com" && hub != "mirror.west.example.com" {
			t.Errorf("behind the air gap something asks for %s (%v)", i.Image, i.For)
		}
	}
	if len(hubs) != 2 {
		t.Errorf("images of the air gap come from %v", hubs)
	}
}

// addresses say where the clusters that another's istiod serves reach it.
func addresses(m mesh.Mesh) []string {
	var set []string
	for i, c := range m.Clusters {
		if !c.IsPrimary() {
			set = append(set, fmt.Sprintf("spec.clusters[%d].istio.values.global.remotePilotAddress=192.0.2.1", i))
		}
	}
	return set
}
