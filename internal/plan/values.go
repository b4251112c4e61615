package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

func elements(s *fieldpath.Set) []fieldpath.PathElement {
	if s == nil {
		return nil
	}
	var all []fieldpath.PathElement
	add := func(pe fieldpath.PathElement) {
		if pe.Key != nil || pe.Value != nil {
			all = append(all, pe)
		}
	}
	s.Members.Iterate(add)
	s.Children.Iterate(add)
	return all
}

// match finds the element that stands for a wanted item. A key field that the item leaves out was filled in by
// the API server ("protocol: TCP"), so its absence does not count against a match.
func match(items []fieldpath.PathElement, item any) (fieldpath.PathElement, bool) {
	best, most := fieldpath.PathElement{}, 0
	for _, pe := range items {
		n := agree(pe, item)
		if n > most {
			best, most = pe, n
		}
	}
	return best, most > 0
}

// agree counts the key fields of an element that an item has with the same value; 0 if one differs.
func agree(pe fieldpath.PathElement, item any) int {
	switch {
	case pe.Value != nil:
		if same(item, (*pe.Value).Unstructured()) {
			return 1
		}
	case pe.Key != nil:
		m, ok := item.(map[string]any)
		n := 0
		for _, f := range *pe.Key {
			v, there := m[f.Name]
			if there && !same(v, f.Value.Unstructured()) {
				return 0
			}
			if there {
				n++
			}
		}
		if ok {
			return n
		}
	}
	return 0
}

// lookup finds the live item of an element; for one that nobody owns, the item that equals the wanted one.
func lookup(live []any, pe fieldpath.PathElement, want any) (any, bool) {
	for _, l := range live {
		if pe.Index != nil && same(want, l) || pe.Index == nil && agree(pe, l) > 0 {
			return l, true
		}
	}
	return nil, false
}

func get(in any, pe fieldpath.PathElement) (any, bool) {
	switch x := in.(type) {
	case map[string]any:
		if pe.FieldName != nil {
			v, ok := x[*pe.FieldName]
			return v, ok
		}
	case []any:
		if pe.Index != nil {
			return nil, false
		}
		return lookup(x, pe, nil)
	}
	return nil, false
}

func label(pe fieldpath.PathElement, index int) string {
	switch {
	case pe.FieldName != nil:
		return *pe.FieldName
	case pe.Value != nil:
		return value.ToString(*pe.Value)
	case pe.Key != nil:
		words := make([]string, 0, len(*pe.Key))
		for _, f := range *pe.Key {
			words = append(words, fmt.Sprintf("%s=%v", f.Name, f.Value.Unstructured()))
		}
		return strings.Join(words, ",")
	}
	return strconv.Itoa(index)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func empty(v any) bool {
	switch x := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(x) == 0
	case []any:
		return len(x) == 0
	}
	return false
}

// same tells whether a live value is what is wanted. What the API server filled in beside it does not count, nor
// how it writes a quantity or a number.
func same(want, live any) bool {
	switch w := want.(type) {
	case map[string]any:
		l, _ := live.(map[string]any)
		for k, v := range w {
			if lv, ok := l[k]; !same(v, lv) && (ok || !empty(v)) {
				return false
			}
		}
		return true
	case []any:
		l, _ := live.([]any)
		return len(w) == len(l) && !slices.ContainsFunc(seq(len(w)), func(i int) bool { return !same(w[i], l[i]) })
	case string:
		if l, ok := live.(string); ok {
			return w == l || sameQuantity(w, l)
		}
		return number(live) && sameQuantity(w, fmt.Sprint(live))
	case nil, bool:
		return w == live
	}
	if l, ok := live.(string); ok {
		return sameQuantity(fmt.Sprint(want), l)
	}
	return number(live) && fmt.Sprint(want) == fmt.Sprint(live)
}

func number(v any) bool {
	switch v.(type) {
	case int64, int32, int, float64:
		return true
	}
	return false
}

func sameQuantity(a, b string) bool {
	x, err := resource.ParseQuantity(a)
	if err != nil {
		return false
	}
	y, err := resource.ParseQuantity(b)
	return err == nil && x.Cmp(y) == 0
}

func seq(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// showLength is how much of a value a person is shown; files in ConfigMaps are long.
const showLength = 80

func (d *differ) show(path string, v any, ok bool) string {
	switch {
	case !ok:
		return ""
	case d.secret && !strings.HasPrefix(path, "metadata."):
		return "(hidden)"
	}
	s, isString := v.(string)
	if !isString {
		raw, err := json.Marshal(v)
		if err != nil {
			return "(unreadable)"
		}
		s = string(raw)
	}
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > showLength {
		s = string(r[:showLength-1]) + "…"
	}
	return cmp.Or(s, `""`)
}
