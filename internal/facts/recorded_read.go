package facts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
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
