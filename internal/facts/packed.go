package facts

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"isthmus.dev/isthmus/internal/object"
)

// A mesh of 500 clusters has a quarter of a million remote secrets, and those about one cluster differ in a few texts:
// what the API server writes into every object anew, when a token was issued, the digest of what is in it. So of such
// objects in a record the common part is decoded and kept once (a mold), and of each the texts of its own.

// own are the keys of texts that differ between objects that are otherwise the same.
var own = map[string]bool{
	"uid": true, "resourceVersion": true, "creationTimestamp": true, "time": true, object.AnnotationIssued: true, "NotAfter": true,
}

// A mold is what objects have in common.
type mold struct {
	ref object.Ref
	// like is the first of them; secret is that for what facts keep of Secrets. One of them is nil.
	like   *unstructured.Unstructured
	secret *Secret
	bones  []string // the JSON text between texts of one's own
	uid    int      // which of those is the UID
	trees  []map[string]any
	last   *Secret // the latest that was made, of parts
	parts  string
}

// packed is an object in a mold.
type packed struct {
	*mold
	parts string // its own texts, each with a zero byte at its end
}

func (p packed) own() []string { return strings.Split(strings.TrimSuffix(p.parts, "\x00"), "\x00") }

// object is the whole object.
func (p packed) object() *unstructured.Unstructured {
	var raw strings.Builder
	parts := p.own()
	for i, bone := range p.bones {
		raw.WriteString(bone)
		if i < len(parts) {
			raw.WriteString(parts[i])
		}
	}
	u, err := readObject([]byte(raw.String()), p.trees, nil)
	if err != nil { // one with other plain texts in the same places was read
		panic(err)
	}
	return u
}

// Object is a live object, or nil where there is none. It must not be changed.
func (c *Cluster) Object(ref object.Ref) *unstructured.Unstructured {
	if u := c.Live[ref]; u != nil {
		return u
	}
	if p, ok := c.find(ref); ok {
		return p.object()
	}
	return nil
}

func (c *Cluster) find(ref object.Ref) (packed, bool) {
	i, found := slices.BinarySearchFunc(c.packed, ref, func(p packed, ref object.Ref) int { return p.ref.Compare(ref) })
	if !found {
		return packed{}, false
	}
	return c.packed[i], true
}

// Exists tells whether there is a live object.
func (c *Cluster) Exists(ref object.Ref) bool {
	_, ok := c.find(ref)
	return ok || c.Live[ref] != nil
}

// Like is a live object but for its own UID, resourceVersion, times and content, and its UID. The same object stands
// for all that differ in nothing else, so what is decided by it is decided for all of them. It is nil where nothing
// of the kind is known of the object, which may exist all the same.
func (c *Cluster) Like(ref object.Ref) (*unstructured.Unstructured, types.UID) {
	p, ok := c.find(ref)
	if !ok {
		return nil, ""
	}
	return p.like, types.UID(p.own()[p.uid])
}

// molds are those of a record so far, by the text that is in common.
type molds struct {
	mu     sync.Mutex
	byText map[string]*mold
}

// of finds the mold of an object, or makes it; nil where there can be none. Whoever makes one says how.
func (m *molds) of(raw []byte, fill func(*mold, []string) error) (*mold, string, error) {
	if bytes.IndexByte(raw, 0) >= 0 { // no JSON
		return nil, "", nil
	}
	bones, parts, uid := cut(raw)
	m.mu.Lock()
	defer m.mu.Unlock()
	if found, known := m.byText[string(bones)]; known {
		return found, parts, nil
	}
	made := &mold{uid: uid, bones: strings.Split(string(bones), "\x00")}
	if err := fill(made, packed{made, parts}.own()); err != nil {
		return nil, "", err
	}
	if made.like == nil && made.secret == nil {
		made = nil
	}
	m.byText[string(bones)] = made
	return made, parts, nil
}

// object packs an object; ok is false where that cannot be done.
func (m *molds) object(raw []byte, trees []map[string]any) (p packed, ok bool, err error) {
	made, parts, err := m.of(raw, func(made *mold, parts []string) error {
		u, err := readObject(raw, trees, nil)
		if err == nil && made.uid >= 0 && string(u.GetUID()) == parts[made.uid] {
			made.like, made.ref, made.trees = u, object.RefOf(u), trees
		}
		return err
	})
	return packed{made, parts}, made != nil, err
}

// secretOf reads what facts keep of a Secret. Those that say the same are one in memory.
func (m *molds) secretOf(raw []byte, texts []string) (*Secret, error) {
	made, parts, err := m.of(raw, func(made *mold, parts []string) error {
		s, err := readSecret(raw, texts)
		if err == nil && len(parts) == 2 && len(s.Kubeconfigs) == 1 && s.Annotations[object.AnnotationIssued] == parts[0] {
			for _, k := range s.Kubeconfigs {
				if end, err := time.Parse(time.RFC3339, parts[1]); err == nil && k.NotAfter.Equal(end) {
					made.secret = s
				}
			}
		}
		return err
	})
	if err != nil || made == nil {
		if err == nil {
			return readSecret(raw, texts)
		}
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if made.last != nil && made.parts == parts {
		return made.last, nil
	}
	own := packed{made, parts}.own()
	s := *made.secret
	s.Annotations, s.Kubeconfigs = maps.Clone(s.Annotations), maps.Clone(s.Kubeconfigs)
	s.Annotations[object.AnnotationIssued] = own[0]
	for key, k := range s.Kubeconfigs {
		if k.NotAfter, err = time.Parse(time.RFC3339, own[1]); err != nil {
			return nil, fmt.Errorf("read a secret: %w", err)
		}
		s.Kubeconfigs[key] = k
	}
	made.last, made.parts = &s, parts
	return &s, nil
}

// cut takes the texts of its own out of an object's JSON, and leaves a zero byte in the place of each. It needs not
// understand the object: what it cut out can be put in again. uid is the number of the only text under that key, -1
// where there is not one.
func cut(raw []byte) (bones []byte, parts string, uid int) {
	all := make([]byte, 0, 256)
	bones = make([]byte, 0, len(raw))
	uid = -1
	uids, n, from := 0, 0, 0
	var key []byte
	for i := 0; i < len(raw); {
		open := bytes.IndexByte(raw[i:], '"')
		if open < 0 {
			break
		}
		open += i + 1
		end := closing(raw, open)
		if end < 0 {
			break
		}
		text := raw[open:end]
		i = end + 1
		switch {
		case i < len(raw) && raw[i] == ':':
			key = text
		case (own[string(key)] || isDigest(text)) && plain(text):
			bones = append(append(bones, raw[from:open]...), 0)
			from = end
			all = append(append(all, text...), 0)
			if string(key) == "uid" {
				uids, uid = uids+1, n
			}
			n++
		}
	}
	if uids != 1 {
		uid = -1
	}
	return append(bones, raw[from:]...), string(all), uid
}

// closing finds the quotation mark that ends a text; -1 where there is none.
func closing(raw []byte, i int) int {
	for ; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// plain tells a text that stands for itself in JSON.
func plain(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

func isDigest(text []byte) bool { return bytes.HasPrefix(text, []byte("sha256:")) }
