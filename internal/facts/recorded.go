package facts

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

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
