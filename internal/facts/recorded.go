package facts

import (
	"bytes"
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

// recordVersion is the format of such a record.
const recordVersion = 1

// An item is one line of a record: texts that many clusters share, or a cluster.
type item struct {
	// Text is a text of more than a few words that later items name by its number, from 0 on: the certificates
	// of API servers, which are in every remote secret, and who set which fields, of which there are as many
	// kinds as there are kinds of objects.
	Text    *string        `json:"text,omitempty"`
	Cluster *clusterOnFile `json:"cluster,omitempty"`
}

// clusterOnFile is a Cluster with what JSON has no keys for as lists.
type clusterOnFile struct {
	*Cluster
	// Secrets are here with the number of a text in the place of each CABundle of a kubeconfig.
	Secrets []*Secret `json:"secrets,omitempty"`
	// Live are here with the number of a text in the place of each fieldsV1.
	Live   []map[string]any `json:"live,omitempty"`
	Unread []unread         `json:"unread,omitempty"`
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
		t := &texts{number: map[string]int{}, yield: yield}
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

// texts numbers texts, and yields each before the first that names it.
type texts struct {
	number map[string]int
	yield  func(any) bool
	over   bool
}

func (t *texts) of(text string) string {
	n, known := t.number[text]
	if !known {
		n = len(t.number)
		t.number[text] = n
		t.over = t.over || !t.yield(item{Text: &text})
	}
	return "#" + strconv.Itoa(n)
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
		out.Secrets = append(out.Secrets, &s)
	}
	refs := slices.Collect(maps.Keys(c.Live))
	for _, p := range c.packed {
		refs = append(refs, p.ref)
	}
	slices.SortFunc(refs, object.Ref.Compare)
	for _, ref := range refs {
		body, err := t.object(c.Object(ref).Object)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ref, err)
		}
		out.Live = append(out.Live, body)
	}
	for _, ref := range slices.SortedFunc(maps.Keys(c.Unread), object.Ref.Compare) {
		out.Unread = append(out.Unread, unread{ref, c.Unread[ref]})
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
	known := &known{molds: molds{byText: map[string]*mold{}}, strings: interned{known: map[string]any{}}}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	h, digest, err = record.Read(r, RecordKind, recordVersion, func(raw []byte) error {
		if bytes.HasPrefix(raw, []byte(`{"text":`)) {
			return known.text(raw)
		}
		raw = bytes.Clone(raw)
		texts, trees := known.texts, known.trees // what is appended later is for later clusters
		g.Go(func() error {
			c, err := known.cluster(raw, texts, trees)
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

// known are the texts read so far, and what those that say who set which fields mean.
type known struct {
	texts   []string
	trees   []map[string]any
	molds   molds
	strings interned
}

func (k *known) text(raw []byte) error {
	var it item
	if err := json.Unmarshal(raw, &it); err != nil || it.Text == nil {
		return fmt.Errorf("read a text: %w", err)
	}
	var tree map[string]any
	if strings.HasPrefix(*it.Text, "{") {
		if err := json.Unmarshal([]byte(*it.Text), &tree); err != nil {
			return fmt.Errorf("read a set of fields: %w", err)
		}
	}
	k.texts, k.trees = append(k.texts, *it.Text), append(k.trees, tree)
	return nil
}

func (k *known) cluster(raw []byte, texts []string, trees []map[string]any) (*Cluster, error) {
	var it struct {
		Cluster *struct {
			*Cluster
			Secrets []json.RawMessage `json:"secrets"`
			Live    []json.RawMessage `json:"live"`
			Unread  []unread          `json:"unread"`
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
	k.strings.services(c.Services)
	k.strings.refs(c.Inventory)
	c.Secrets = make(map[string]*Secret, len(secrets))
	for _, x := range secrets {
		s, err := k.molds.secretOf(x, texts)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
		}
		c.Secrets[k.strings.one(s.Namespace+"/"+s.Name)] = s
	}
	if err := k.live(c, live, trees); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	c.Unread = make(map[object.Ref]string, len(it.Cluster.Unread))
	for _, x := range it.Cluster.Unread {
		c.Unread[x.Ref] = x.Why
	}
	return c, nil
}

func (k *known) live(c *Cluster, live []json.RawMessage, trees []map[string]any) error {
	c.Live = map[object.Ref]*unstructured.Unstructured{}
	var many []packed
	for _, x := range live {
		if bytes.Contains(x, []byte(remoteLabel)) {
			p, ok, err := k.molds.object(x, trees)
			if err != nil {
				return err
			}
			if ok {
				many = append(many, p)
				continue
			}
		}
		u, err := readObject(x, trees, &k.strings)
		if err != nil {
			return err
		}
		c.Live[object.RefOf(u)] = u
	}
	c.packed = slices.Clip(many)
	slices.SortFunc(c.packed, func(a, b packed) int { return a.ref.Compare(b.ref) })
	return nil
}

// remoteLabel is how the label of remote secrets stands in JSON.
const remoteLabel = `"` + object.LabelRemoteSecret + `":"true"`

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
