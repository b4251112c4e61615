// Package yamldoc makes one YAML document safe to walk: bounded with aliases and merges counted each time they are used,
// without a value that stands inside itself, and with every merge ("<<") put in place. A few bytes could unfold into
// gigabytes otherwise, or never end.
package yamldoc

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

// Limits are what one document may hold.
type Limits struct{ Values, Depth int }

// A Fault is what is wrong with a document, and where.
type Fault struct {
	Node    *yaml.Node
	Message string
	loop    bool
}

// Unfold checks the document under a node and puts its merges in place. It returns what is wrong; nil where all is well.
// A document with a fault is not to be walked.
func Unfold(root *yaml.Node, l Limits) *Fault {
	u := unfolder{limits: l, sizes: map[*yaml.Node]size{}}
	if _, fault := u.size(root, 0); fault != nil {
		return fault
	}
	u.merged = map[*yaml.Node]bool{}
	return u.merge(root)
}

type unfolder struct {
	limits Limits
	sizes  map[*yaml.Node]size
	merged map[*yaml.Node]bool
}

// A size is how many values are under a node, and how deep; open while they are counted.
type size struct {
	values, depth int
	open          bool
}

// size counts what is under a node with aliases followed, each node once.
func (u *unfolder) size(n *yaml.Node, above int) (size, *Fault) {
	if s, seen := u.sizes[n]; seen {
		if s.open {
			return s, &Fault{Node: n, Message: "it stands inside itself", loop: true}
		}
		if above+s.depth > u.limits.Depth {
			return s, u.tooMuch(n)
		}
		return s, nil
	}
	if above > u.limits.Depth {
		return size{}, u.tooMuch(n)
	}
	u.sizes[n] = size{open: true}
	total := size{values: 1}
	children := n.Content
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		children = []*yaml.Node{n.Alias}
	}
	for _, c := range children {
		next := above + 1
		if n.Kind == yaml.AliasNode { // the place of what it names
			next = above
		}
		s, fault := u.size(c, next)
		if fault != nil {
			if n.Kind == yaml.AliasNode && fault.loop && fault.Node == c { // the alias is where somebody has to look
				fault = &Fault{Node: n, Message: fmt.Sprintf("*%s stands inside what it names", n.Value)}
			}
			return total, fault
		}
		if total.values += s.values; total.values > u.limits.Values {
			return total, u.tooMuch(n)
		}
		total.depth = max(total.depth, s.depth+next-above)
	}
	u.sizes[n] = total
	return total, nil
}

func (u *unfolder) tooMuch(n *yaml.Node) *Fault {
	return &Fault{Node: n, Message: fmt.Sprintf("more than %d values or %d levels, aliases counted", u.limits.Values, u.limits.Depth)}
}

// merge puts what "<<" brings into every map under a node that has it not itself: of a map, or of a list of maps of which
// the earlier win (YAML 1.1, merge key). Each map is done once, and none has a key twice that it had not.
func (u *unfolder) merge(n *yaml.Node) *Fault {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n == nil || u.merged[n] {
		return nil
	}
	u.merged[n] = true
	for _, c := range n.Content {
		if fault := u.merge(c); fault != nil {
			return fault
		}
	}
	if n.Kind != yaml.MappingNode {
		return nil
	}
	var own, brought []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge" {
			maps, fault := mapsOf(n.Content[i+1])
			if fault != nil {
				return fault
			}
			brought = append(brought, maps...)
			continue
		}
		own = append(own, n.Content[i], n.Content[i+1])
	}
	if len(brought) == 0 && len(own) == len(n.Content) {
		return nil
	}
	have := map[string]bool{}
	for i := 0; i < len(own); i += 2 {
		have[key(own[i])] = true
	}
	for _, m := range brought {
		added := map[string]bool{}
		for i := 0; i+1 < len(m.Content); i += 2 {
			if k := key(m.Content[i]); !have[k] {
				own, added[k] = append(own, m.Content[i], m.Content[i+1]), true
			}
		}
		for k := range added { // a key that it has twice stays there twice, for whoever looks for such
			have[k] = true
		}
	}
	n.Content = own
	return nil
}

// mapsOf are the maps that a merge names, in order.
func mapsOf(n *yaml.Node) ([]*yaml.Node, *Fault) {
	at := n
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		return []*yaml.Node{n}, nil
	case yaml.SequenceNode:
		var all []*yaml.Node
		for _, c := range n.Content {
			m := c
			if m.Kind == yaml.AliasNode {
				m = m.Alias
			}
			if m.Kind != yaml.MappingNode {
				return nil, &Fault{Node: c, Message: "<< merges maps, and in this list is something else"}
			}
			all = append(all, m)
		}
		return all, nil
	}
	return nil, &Fault{Node: at, Message: "<< merges a map, and this is none"}
}

// key tells keys apart as YAML does: by kind and text.
func key(n *yaml.Node) string {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n.ShortTag() + " " + n.Value
}
