package istio

import (
	"encoding/json"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// Names that stand for a cluster's and its network's while a rendering is made for many. They are as other names
// are, so that charts treat them as such, and in no document.
const (
	aCluster = "isthmus-any-cluster-q7v"
	aNetwork = "isthmus-any-network-q7v"
)

// few is how many clusters are rendered one by one, however alike they are: for so many nothing is gained.
const few = 4

// A renderOne renders one cluster.
type renderOne func(mesh.Cluster) ([]object.Object, error)

// together renders clusters whose settings differ in nothing but their names and networks once, with names that stand
// for theirs, and then puts theirs in. Rendering one takes some 300 ms, and of 500 minutes. That a chart does nothing
// with the names but write them is not taken for granted: two members are rendered by themselves too, and if
// either differs in anything, or a name is one that YAML reads as something else than text, all are.
//
// Objects in which no name stands are the same in all results, one in memory: they must not be changed.
func together(clusters []mesh.Cluster, render renderOne) ([][]object.Object, error) {
	out := make([][]object.Object, len(clusters))
	alike := map[string][]int{}
	var alone []int
	for i, c := range clusters {
		key, ok := settingsOf(c)
		if !ok {
			alone = append(alone, i)
			continue
		}
		alike[key] = append(alike[key], i)
	}
	for _, members := range alike {
		if len(members) < few || !shared(clusters, members, render, out) {
			alone = append(alone, members...)
		}
	}
	g := atOnce()
	for _, i := range alone {
		g.Go(func() (err error) { out[i], err = render(clusters[i]); return err })
	}
	return out, g.Wait()
}

// alone renders clusters one by one.
func alone(clusters []mesh.Cluster, render renderOne) ([][]object.Object, error) {
	out := make([][]object.Object, len(clusters))
	g := atOnce()
	for i, c := range clusters {
		g.Go(func() (err error) { out[i], err = render(c); return err })
	}
	return out, g.Wait()
}

// atOnce runs as many renderings at a time as there are processors.
func atOnce() *errgroup.Group {
	g := &errgroup.Group{}
	g.SetLimit(runtime.GOMAXPROCS(0))
	return g
}

// plainName is a name that every YAML reader takes for text, and that is part of no longer word of a chart.
var plainName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// settingsOf is everything that may make a difference to a cluster's rendering but its name and network; ok is false
// where the names cannot stand for themselves.
func settingsOf(c mesh.Cluster) (key string, ok bool) {
	for _, name := range []string{c.Name, c.Network} {
		var read any
		if !plainName.MatchString(name) || yaml.Unmarshal([]byte(name), &read) != nil || read != any(name) {
			return "", false
		}
	}
	c.Name, c.Network, c.Context, c.Kubeconfig, c.Server = "", "", "", "", ""
	raw, err := json.Marshal(c)
	return string(raw), err == nil && !strings.Contains(string(raw), "q7v")
}

// shared puts the members' objects into out; false if that cannot be relied on.
func shared(clusters []mesh.Cluster, members []int, render renderOne, out [][]object.Object) bool {
	some := clusters[members[0]]
	some.Name, some.Network = aCluster, aNetwork
	short, long := members[0], members[0]
	for _, i := range members {
		if len(clusters[i].Name) < len(clusters[short].Name) {
			short = i
		}
		if len(clusters[i].Name) > len(clusters[long].Name) {
			long = i
		}
	}
	proofs := []int{short, long}
	if short == long {
		proofs = []int{members[0], members[len(members)-1]}
	}
	var objects []object.Object
	direct := make([][]object.Object, len(proofs))
	g := atOnce()
	g.Go(func() (err error) { objects, err = render(some); return err })
	for n, i := range proofs {
		g.Go(func() (err error) { direct[n], err = render(clusters[i]); return err })
	}
	if g.Wait() != nil {
		return false // whoever renders one by one says what and where
	}
	p := patternOf(objects)
	for n, i := range proofs {
		if !equal(direct[n], p.specialised(clusters[i])) {
			return false
		}
	}
	for _, i := range members {
		out[i] = p.specialised(clusters[i])
	}
	return true
}

// A pattern is the objects of any cluster, and which of them have a name in them: kinds are large, and have none.
type pattern struct {
	objects []object.Object
	named   []bool
}

func patternOf(objects []object.Object) pattern {
	p := pattern{objects: objects, named: make([]bool, len(objects))}
	names := strings.NewReplacer(aCluster, "", aNetwork, "")
	for i, o := range objects {
		_, p.named[i] = put(names, o.Body.Object)
	}
	return p
}

func equal(a, b []object.Object) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Part != b[i].Part || a[i].Reason != b[i].Reason || !reflect.DeepEqual(a[i].Body, b[i].Body) {
			return false
		}
	}
	return true
}

// specialised puts a cluster's names in the place of those that stand for them.
func (p pattern) specialised(c mesh.Cluster) []object.Object {
	names := strings.NewReplacer(aCluster, c.Name, aNetwork, c.Network)
	out := make([]object.Object, len(p.objects))
	for i, o := range p.objects {
		o.Reason = replaced(names, o.Reason)
		if p.named[i] {
			body, _ := put(names, o.Body.Object)
			o.Body = &unstructured.Unstructured{Object: body.(map[string]any)}
		}
		out[i] = o
	}
	slices.SortFunc(out, byPart)
	return out
}

func replaced(names *strings.Replacer, s string) string {
	if !strings.Contains(s, "q7v") {
		return s
	}
	return names.Replace(s)
}

// put copies what has a name in it, and nothing else.
func put(names *strings.Replacer, in any) (any, bool) {
	switch x := in.(type) {
	case string:
		s := replaced(names, x)
		return s, s != x
	case map[string]any:
		return putMap(names, x)
	case []any:
		var out []any
		for i, v := range x {
			w, changed := put(names, v)
			if changed && out == nil {
				out = append(make([]any, 0, len(x)), x[:i]...)
			}
			if out != nil {
				out = append(out, w)
			}
		}
		if out != nil {
			return out, true
		}
	}
	return in, false
}

func putMap(names *strings.Replacer, in map[string]any) (any, bool) {
	changed := map[string]any{}
	for k, v := range in {
		if w, differs := put(names, v); differs || replaced(names, k) != k {
			changed[k] = w
		}
	}
	if len(changed) == 0 {
		return in, false
	}
	out := make(map[string]any, len(in))
	for k, v := range in {
		if w, differs := changed[k]; differs {
			v = w
		}
		out[replaced(names, k)] = v
	}
	return out, true
}
