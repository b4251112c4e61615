package facts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"isthmus.dev/isthmus/internal/object"
)

// Clusters of a mesh hold the same objects, which differ in what the API server writes into each of them anew. A mesh of
// 500 has a quarter of a million remote secrets besides, and those about one cluster differ in little more: when a token
// was issued, the digest of what is in it. So a record holds what such objects have in common once (a mold), and of each
// the texts of its own.

// own are the keys of texts that differ between objects that are otherwise the same.
var own = map[string]bool{
	"uid": true, "resourceVersion": true, "creationTimestamp": true, "time": true, object.AnnotationIssued: true, "NotAfter": true,
}

// gap stands in a mold for a text of an object's own, as JSON has it: no object that can be molded says it itself.
const gap = `\u0000`

// A mold is what objects have in common.
type mold struct {
	bones []string         // the JSON text between texts of one's own
	uid   int              // which of those is the UID; -1 in a mold of what facts keep of Secrets
	texts []string         // of the record
	trees []map[string]any // of the record

	once sync.Once
	err  error
	ref  object.Ref
	like *unstructured.Unstructured // the first that was made
	// plain: nothing but what API servers set differs (see serverSet).
	plain bool
	// secret is that for what facts keep of Secrets; last is the latest, of parts.
	mu           sync.Mutex
	secret, last *Secret
	parts        string
}

// newMold is a mold as a record has it.
func newMold(text string, texts []string, trees []map[string]any) *mold {
	bones := strings.Split(text, gap)
	uid := slices.IndexFunc(bones, func(bone string) bool { return strings.HasSuffix(bone, `"uid":"`) })
	return &mold{bones: bones, uid: uid, texts: texts, trees: trees}
}

// packed is an object in a mold.
type packed struct {
	*mold
	parts string // its own texts, each with a zero byte at its end
}

func (p packed) own() []string { return strings.Split(strings.TrimSuffix(p.parts, "\x00"), "\x00") }

// text is the whole object as JSON.
func (p packed) text() []byte {
	var raw []byte
	parts := p.own()
	for i, bone := range p.bones {
		raw = append(raw, bone...)
		if i < len(parts) {
			raw = append(raw, parts[i]...)
		}
	}
	return raw
}

// object is the whole object.
func (p packed) object() *unstructured.Unstructured {
	u, err := readObject(p.text(), p.trees, nil)
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
// for all that differ in nothing else, so what is decided by it is decided for all of them. Its content is the
// object's own too where plain is true. It is nil where nothing of the kind is known of the object, which may exist all
// the same.
func (c *Cluster) Like(ref object.Ref) (like *unstructured.Unstructured, uid types.UID, plain bool) {
	p, ok := c.find(ref)
	if !ok {
		return nil, "", false
	}
	return p.like, p.UID(), p.plain
}

// Find is a live object, or one with the same content where only what its API server set differs, and its UID; nil
// where there is none. It costs less than Object. It must not be changed.
func (c *Cluster) Find(ref object.Ref) (*unstructured.Unstructured, types.UID) {
	if like, uid, plain := c.Like(ref); plain {
		return like, uid
	}
	u := c.Object(ref)
	if u == nil {
		return nil, ""
	}
	return u, u.GetUID()
}

// UID is the object's.
func (p packed) UID() types.UID {
	rest := p.parts
	for range p.uid {
		_, rest, _ = strings.Cut(rest, "\x00")
	}
	uid, _, _ := strings.Cut(rest, "\x00")
	return types.UID(uid)
}

// of packs an object that a record gave its own texts of.
func (m *mold) of(parts string) (packed, error) {
	p := packed{m, parts}
	m.once.Do(func() {
		var u *unstructured.Unstructured
		if u, m.err = readObject(p.text(), m.trees, nil); m.err == nil && (m.uid < 0 || string(u.GetUID()) != p.own()[m.uid]) {
			m.err = fmt.Errorf("%s has no UID where its mold says", object.RefOf(u))
		}
		if m.err == nil {
			m.like, m.ref, m.plain = u, object.RefOf(u), serverSet(u, p.own())
		}
	})
	return p, m.err
}

// serverSet tells that an object's own texts are its UID, its resourceVersion and the times in its metadata, and
// nothing that somebody wanted.
func serverSet(u *unstructured.Unstructured, own []string) bool {
	text := func(m map[string]any, key string) string {
		s, _ := m[key].(string)
		return s
	}
	metadata, _ := u.Object["metadata"].(map[string]any)
	set := []string{text(metadata, "uid"), text(metadata, "resourceVersion"), text(metadata, "creationTimestamp")}
	entries, _ := metadata["managedFields"].([]any)
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		set = append(set, text(entry, "time"))
	}
	set = slices.DeleteFunc(set, func(s string) bool { return s == "" })
	own = slices.Clone(own)
	slices.Sort(set)
	slices.Sort(own)
	return slices.Equal(set, own)
}

// secretOf is what facts keep of a Secret. Those that say the same are one in memory.
func (m *mold) secretOf(parts string) (*Secret, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last != nil && m.parts == parts {
		return m.last, nil
	}
	if m.secret == nil {
		s, err := readSecret(packed{m, parts}.text(), m.texts)
		if err != nil {
			return nil, err
		}
		if !moldable(s, packed{m, parts}.own()) {
			return nil, fmt.Errorf("a mold is not that of a remote secret")
		}
		m.secret = s
	}
	own := packed{m, parts}.own()
	s := *m.secret
	s.Annotations, s.Kubeconfigs = maps.Clone(s.Annotations), maps.Clone(s.Kubeconfigs)
	s.Annotations[object.AnnotationIssued] = own[0]
	for key, k := range s.Kubeconfigs {
		end, err := time.Parse(time.RFC3339, own[1])
		if err != nil {
			return nil, fmt.Errorf("read a secret: %w", err)
		}
		k.NotAfter = end
		s.Kubeconfigs[key] = k
	}
	m.last, m.parts = &s, parts
	return &s, nil
}

// moldable tells that a Secret's own texts are when its token was issued and when that ends, and nothing else.
func moldable(s *Secret, own []string) bool {
	if len(own) != 2 || len(s.Kubeconfigs) != 1 || s.Annotations[object.AnnotationIssued] != own[0] {
		return false
	}
	for _, k := range s.Kubeconfigs {
		end, err := time.Parse(time.RFC3339, own[1])
		return err == nil && k.NotAfter.Equal(end)
	}
	return false
}

// A cast is an object as a record has it that has its mold: {"mold":3,"own":["a","b"]}.
type cast struct {
	Mold int      `json:"mold"`
	Own  []string `json:"own"`
}

// castHead begins every cast, and nothing else that stands in its place.
const castHead = `{"mold":`

// readCast takes a cast apart; ok is false where the text is none.
func readCast(raw []byte, of []*mold) (m *mold, parts string, ok bool, err error) {
	if !bytes.HasPrefix(raw, []byte(castHead)) {
		return nil, "", false, nil
	}
	n, parts, plainly := plainCast(raw)
	if !plainly {
		var c cast
		if err := json.Unmarshal(raw, &c); err != nil {
			return nil, "", true, fmt.Errorf("read what has a mold: %w", err)
		}
		n, parts = c.Mold, strings.Join(c.Own, "\x00")+"\x00"
	}
	if n < 0 || n >= len(of) {
		return nil, "", true, fmt.Errorf("it names a mold %d that is not there", n)
	}
	if own := strings.Count(parts, "\x00"); own != len(of[n].bones)-1 {
		return nil, "", true, fmt.Errorf("it has %d texts of its own, and mold %d wants %d", own, n, len(of[n].bones)-1)
	}
	return of[n], parts, true, nil
}

// plainCast takes a cast apart as it was written, which of half a million of them is much faster; ok is false where it is
// for the JSON library to say what it is.
func plainCast(raw []byte) (n int, parts string, ok bool) {
	number, rest, ok := bytes.Cut(raw[len(castHead):], []byte(`,"own":["`))
	own, end := bytes.CutSuffix(rest, []byte(`"]}`))
	n, err := strconv.Atoi(string(number))
	if !ok || !end || err != nil || !plain(own) {
		return 0, "", false
	}
	own = bytes.ReplaceAll(own, []byte(`","`), []byte{0})
	if bytes.IndexByte(own, '"') >= 0 {
		return 0, "", false
	}
	return n, string(append(own, 0)), true
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

func isDigest(text []byte) bool { return bytes.HasPrefix(text, []byte(digestPrefix)) }
