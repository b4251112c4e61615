package facts

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/record"
)

// RecordKind is what a record of facts says it is.
const RecordKind = "Facts"

// recordVersion is the format of such a record. Format 1 had no molds.
const recordVersion = 2

// An item is one line of a record: what many clusters share, or a cluster.
type item struct {
	// Text is a text of more than a few words that later items name by its number, from 0 on: the certificates
	// of API servers, which are in every remote secret, who set which fields, of which there are as many
	// kinds as there are kinds of objects, and the members of the mesh.
	Text *string `json:"text,omitempty"`
	// Mold is what later objects that name it by its number have in common, with a gap in the place of each text of
	// their own.
	Mold    json.RawMessage `json:"mold,omitempty"`
	Cluster *clusterOnFile  `json:"cluster,omitempty"`
}

// clusterOnFile is a Cluster with what JSON has no keys for as lists.
type clusterOnFile struct {
	*Cluster
	// Secrets are here with the number of a text in the place of each CABundle of a kubeconfig, or as a cast.
	Secrets []any `json:"secrets,omitempty"`
	// Live are here with the number of a text in the place of each fieldsV1, or as a cast.
	Live   []any    `json:"live,omitempty"`
	Unread []unread `json:"unread,omitempty"`
	// Members are here as the number of a text.
	Members string `json:"members,omitempty"`
}

type unread struct {
	object.Ref
	Why string `json:"why"`
}

// Write records a snapshot, for people and programs to read and for Read, and returns the record's digest. The same
// snapshot gives the same record, byte for byte. program is the version of the one who writes.
func (s Snapshot) Write(w io.Writer, mesh, program string) (digest string, err error) {
	var wrong error
	items := func(yield func(any) bool) {
		t := &texts{number: map[string]int{}, molds: map[[sha256.Size]byte]int{}, yield: yield}
		for _, name := range slices.Sorted(maps.Keys(s.Clusters)) {
			c, err := t.cluster(s.Clusters[name])
			if err != nil {
				wrong = fmt.Errorf("cluster %s: %w", name, err)
				return
			}
			if t.over || !yield(item{Cluster: c}) {
				return
			}
		}
	}
	digest, err = record.Write(w, record.Header{Kind: RecordKind, Version: recordVersion, Mesh: mesh, Taken: s.Taken, Program: program}, iter.Seq[any](items))
	if wrong != nil {
		return "", wrong
	}
	return digest, err
}

// texts numbers texts and molds, and yields each before the first that names it.
type texts struct {
	number map[string]int
	molds  map[[sha256.Size]byte]int // by the digest of what is in common; unmolded where only one object was seen
	made   int                       // how many molds were
	yield  func(any) bool
	over   bool
}

// unmolded stands for the number of a mold that nothing names yet.
const unmolded = -1

func (t *texts) of(text string) string {
	n, known := t.number[text]
	if !known {
		n = len(t.number)
		t.number[text] = n
		t.over = t.over || !t.yield(item{Text: &text})
	}
	return "#" + strconv.Itoa(n)
}

// cast is an object as what it has in common with one before it and what is its own, or the object where that cannot be
// told apart or there was none. fits tells whether its own texts are what they may be.
func (t *texts) cast(o any, fits func(own []string, uid int) bool) (any, error) {
	raw, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(raw, []byte(gap)) || bytes.IndexByte(raw, 0) >= 0 {
		return json.RawMessage(raw), nil
	}
	bones, parts, uid := cut(raw)
	own := strings.Split(strings.TrimSuffix(parts, "\x00"), "\x00")
	if parts == "" || !fits(own, uid) {
		return json.RawMessage(raw), nil
	}
	digest := sha256.Sum256(bones)
	n, known := t.molds[digest]
	if !known { // most of what one cluster alone has would be larger in two parts
		t.molds[digest] = unmolded
		return json.RawMessage(raw), nil
	}
	if n == unmolded {
		n, t.made = t.made, t.made+1
		t.molds[digest] = n
		t.over = t.over || !t.yield(item{Mold: bytes.ReplaceAll(bones, []byte{0}, []byte(gap))})
	}
	return cast{Mold: n, Own: own}, nil
}

func (t *texts) cluster(c *Cluster) (*clusterOnFile, error) {
	out := &clusterOnFile{Cluster: c}
	for _, key := range slices.Sorted(maps.Keys(c.Secrets)) {
		s := *c.Secrets[key]
		s.Kubeconfigs = maps.Clone(s.Kubeconfigs)
		for _, k := range slices.Sorted(maps.Keys(s.Kubeconfigs)) {
			kubeconfig := s.Kubeconfigs[k]
			if kubeconfig.CABundle != "" {
				kubeconfig.CABundle = t.of(kubeconfig.CABundle)
			}
			s.Kubeconfigs[k] = kubeconfig
		}
		one, err := t.cast(&s, func(own []string, _ int) bool { return moldable(&s, own) })
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", key, err)
		}
		out.Secrets = append(out.Secrets, one)
	}
	refs := slices.Collect(maps.Keys(c.Live))
	for _, p := range c.packed {
		refs = append(refs, p.ref)
	}
	slices.SortFunc(refs, object.Ref.Compare)
	for _, ref := range refs {
		u := c.Object(ref)
		body, err := t.object(u.Object)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ref, err)
		}
		remote := u.GetLabels()[object.LabelRemoteSecret] == "true"
		one, err := t.cast(body, func(own []string, at int) bool {
			return at >= 0 && own[at] == string(u.GetUID()) && (remote || serverSet(u, own))
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ref, err)
		}
		out.Live = append(out.Live, one)
	}
	for _, ref := range slices.SortedFunc(maps.Keys(c.Unread), object.Ref.Compare) {
		out.Unread = append(out.Unread, unread{ref, c.Unread[ref]})
	}
	if len(c.Members) > 0 {
		out.Members = t.of(FormatMembers(c.Members))
	}
	return out, nil
}

// object is a copy of a live object as far down as its fieldsV1, which are named by their numbers.
func (t *texts) object(body map[string]any) (map[string]any, error) {
	metadata, _ := body["metadata"].(map[string]any)
	entries, _ := metadata["managedFields"].([]any)
	if len(entries) == 0 {
		return body, nil
	}
	body, metadata, entries = maps.Clone(body), maps.Clone(metadata), slices.Clone(entries)
	body["metadata"], metadata["managedFields"] = metadata, entries
	for i, e := range entries {
		entry, _ := e.(map[string]any)
		fields, ok := entry["fieldsV1"].(map[string]any)
		if !ok {
			continue
		}
		text, err := json.Marshal(fields)
		if err != nil {
			return nil, err
		}
		entry = maps.Clone(entry)
		entry["fieldsV1"], entries[i] = t.of(string(text)), entry
	}
	return body, nil
}

// Read reads what Write wrote. What many objects have in common is in memory once. Errors: *record.Error where the
// record is at fault.
func Read(r io.Reader) (s Snapshot, h record.Header, digest string, err error) {
	s.Clusters = map[string]*Cluster{}
	known := &known{strings: interned{known: map[string]any{}}}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	h, digest, err = record.Read(r, RecordKind, recordVersion, func(raw []byte) error {
		if bytes.HasPrefix(raw, []byte(`{"text":`)) {
			return known.text(raw)
		}
		if text, is := bytes.CutPrefix(raw, []byte(castHead)); is {
			known.molds = append(known.molds, newMold(string(bytes.TrimSuffix(text, []byte("}"))), known.texts, known.trees))
			return nil
		}
		raw = bytes.Clone(raw)
		shared := known.shared // what is appended later is for later clusters
		g.Go(func() error {
			c, err := known.cluster(raw, shared)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			s.Clusters[c.Name] = c
			return nil
		})
		return nil
	})
	if broken := g.Wait(); err == nil {
		err = broken
	}
	if err != nil {
		return Snapshot{}, h, "", err
	}
	s.Taken = h.Taken
	return s, h, digest, nil
}

// known is what was read so far.
type known struct {
	shared
	strings interned
}

// shared is what clusters name by numbers: texts, what those that say who set which fields mean, and molds.
type shared struct {
	texts []string
	trees []map[string]any
	lists [][]Member
	molds []*mold
}

func (k *known) text(raw []byte) error {
	var it item
	if err := json.Unmarshal(raw, &it); err != nil || it.Text == nil {
		return fmt.Errorf("read a text: %w", err)
	}
	var tree map[string]any
	var members []Member
	var err error
	switch {
	case strings.HasPrefix(*it.Text, "{"):
		if err := json.Unmarshal([]byte(*it.Text), &tree); err != nil {
			return fmt.Errorf("read a set of fields: %w", err)
		}
	case strings.HasPrefix(*it.Text, "["):
		if members, err = ParseMembers(*it.Text); err != nil {
			return err
		}
	}
	k.texts, k.trees, k.lists = append(k.texts, *it.Text), append(k.trees, tree), append(k.lists, members)
	return nil
}

func (k *known) cluster(raw []byte, shared shared) (*Cluster, error) {
	var it struct {
		Cluster *struct {
			*Cluster
			Secrets []json.RawMessage `json:"secrets"`
			Live    []json.RawMessage `json:"live"`
			Unread  []unread          `json:"unread"`
			Members string            `json:"members"`
		} `json:"cluster"`
	}
	rest, secrets, live, ok := split(raw)
	if !ok { // it says what is wrong, or that spaces are in between
		rest = raw
	}
	if err := json.Unmarshal(rest, &it); err != nil {
		return nil, fmt.Errorf("read a cluster: %w", err)
	}
	if it.Cluster == nil || it.Cluster.Cluster == nil || it.Cluster.Name == "" {
		return nil, fmt.Errorf("read a cluster: it has no name")
	}
	if !ok {
		secrets, live = it.Cluster.Secrets, it.Cluster.Live
	}
	c := it.Cluster.Cluster
	if it.Cluster.Members != "" {
		n, err := numbered(it.Cluster.Members, len(shared.lists))
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
		}
		c.Members = shared.lists[n]
	}
	c.Services, c.Inventory = slices.Clone(c.Services), slices.Clone(c.Inventory) // the decoder leaves room for more
	k.strings.services(c.Services)
	k.strings.refs(c.Inventory)
	c.Secrets = make(map[string]*Secret, len(secrets))
	for _, x := range secrets {
		s, err := shared.secret(x)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
		}
		c.Secrets[k.strings.one(s.Namespace+"/"+s.Name)] = s
	}
	if err := k.live(c, live, shared); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	c.Unread = make(map[object.Ref]string, len(it.Cluster.Unread))
	for _, x := range it.Cluster.Unread {
		c.Unread[x.Ref] = x.Why
	}
	return c, nil
}

func (s shared) secret(raw []byte) (*Secret, error) {
	if m, parts, is, err := readCast(raw, s.molds); err != nil {
		return nil, err
	} else if is {
		return m.secretOf(parts)
	}
	return readSecret(raw, s.texts)
}

func (k *known) live(c *Cluster, live []json.RawMessage, shared shared) error {
	c.Live = map[object.Ref]*unstructured.Unstructured{}
	var many []packed
	for _, x := range live {
		m, parts, is, err := readCast(x, shared.molds)
		if err != nil {
			return err
		}
		if is {
			p, err := m.of(parts)
			if err != nil {
				return err
			}
			many = append(many, p)
			continue
		}
		u, err := readObject(x, shared.trees, &k.strings)
		if err != nil {
			return err
		}
		c.Live[object.RefOf(u)] = u
	}
	c.packed = slices.Clip(many)
	slices.SortFunc(c.packed, func(a, b packed) int { return a.ref.Compare(b.ref) })
	return nil
}

func readSecret(raw []byte, texts []string) (*Secret, error) {
	s := &Secret{}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("read a secret: %w", err)
	}
	for key, v := range s.Kubeconfigs {
		if v.CABundle != "" {
			n, err := numbered(v.CABundle, len(texts))
			if err != nil {
				return nil, err
			}
			v.CABundle = texts[n]
			s.Kubeconfigs[key] = v
		}
	}
	return s, nil
}

func readObject(raw []byte, trees []map[string]any, texts *interned) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(raw, &u.Object); err != nil { // whole numbers as int64, as Kubernetes' own clients do
		return nil, fmt.Errorf("read an object: %w", err)
	}
	texts.tree(u.Object)
	metadata, _ := u.Object["metadata"].(map[string]any)
	entries, _ := metadata["managedFields"].([]any)
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		name, ok := entry["fieldsV1"].(string)
		if !ok {
			continue
		}
		n, err := numbered(name, len(trees))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", object.RefOf(u), err)
		}
		entry["fieldsV1"] = trees[n]
	}
	return u, nil
}

func numbered(name string, of int) (int, error) {
	digits, ok := strings.CutPrefix(name, "#")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || n >= of {
		return 0, fmt.Errorf("it names a text %q that is not there", name)
	}
	return n, nil
}
