package istio

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"sync"

	"istio.io/istio/operator/pkg/values"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// Kept are renderings of earlier runs. Rendering a cluster takes 200 ms of a processor, most of it for reading YAML that
// is the same every time, and nearly every run of a program renders what the last one did.
//
// What is kept is what the library made of an IstioOperator: a function of that, the --set flags and the library
// with its charts, which are in this program. The key is a digest of all of them, so that nothing kept can be out of
// date; what Isthmus does with it afterwards is done every time.
type Kept interface {
	// Get returns what was put under a key, unchanged, or nil.
	Get(key string) []byte
	// Put keeps something, if that is possible.
	Put(key string, rendering []byte)
}

// A rendering is what is kept.
type rendering struct {
	Bodies []json.RawMessage `json:"bodies"`
	Merged json.RawMessage   `json:"merged"`
}

// library names what renders: the versions and digests of all modules in this program. It is "" where a module has
// none, as one that is replaced by a folder.
var library = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	h := sha256.New()
	fmt.Fprintln(h, info.GoVersion)
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		if m.Sum == "" {
			return ""
		}
		fmt.Fprintln(h, m.Path, m.Version, m.Sum)
	}
	return hex.EncodeToString(h.Sum(nil))
})

// keyOf is the key of a rendering; "" where it must not be kept: charts in a folder may change.
func keyOf(in map[string]any, sets []string) string {
	spec, _ := in["spec"].(map[string]any)
	if spec["installPackagePath"] != nil || library() == "" {
		return ""
	}
	text, err := json.Marshal([]any{library(), in, sets})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// kept is a rendering of before. One that cannot be read is none.
func (r Renderer) kept(key string) (bodies []*unstructured.Unstructured, merged values.Map, ok bool) {
	if r.Kept == nil || key == "" {
		return nil, nil, false
	}
	var found rendering
	if json.Unmarshal(r.Kept.Get(key), &found) != nil || json.Unmarshal(found.Merged, &merged) != nil {
		return nil, nil, false
	}
	for _, raw := range found.Bodies {
		u := &unstructured.Unstructured{}
		if utiljson.Unmarshal(raw, &u.Object) != nil {
			return nil, nil, false
		}
		bodies = append(bodies, u)
	}
	return bodies, merged, true
}

func (r Renderer) keep(key string, bodies []*unstructured.Unstructured, merged values.Map) {
	if r.Kept == nil || key == "" {
		return
	}
	var out rendering
	var err error
	for _, u := range bodies {
		raw, err := json.Marshal(u.Object)
		if err != nil || u.GetKind() == "Secret" { // what is secret stays where its owner put it
			return
		}
		out.Bodies = append(out.Bodies, raw)
	}
	if out.Merged, err = json.Marshal(merged); err != nil {
		return
	}
	if text, err := json.Marshal(out); err == nil {
		r.Kept.Put(key, text)
	}
}
