package mesh

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A spot is where something was written: a line and a column of the document, or a --set flag.
type spot struct {
	line, column int
	flag         string
}

// A tree is a document as plain JSON values (map[string]any, []any, string, int64, float64, bool, nil), and where
// each of them was written. Paths are written as people write them: spec.clusters[1].name.
type tree struct {
	file string
	root map[string]any
	keys map[string]spot // of a map's entries: where the key is
	vals map[string]spot // where the value begins
	text map[string]string
}

func newTree(file string) *tree {
	return &tree{file: file, root: map[string]any{}, keys: map[string]spot{}, vals: map[string]spot{}, text: map[string]string{}}
}

// key is where the key of a path is written, or else the nearest thing around it.
func (t *tree) key(path string) spot { return climb(path, t.keys, t.vals) }

// value is where the value of a path is written, or else the nearest thing around it.
func (t *tree) value(path string) spot { return climb(path, t.vals, t.keys) }

func climb(path string, maps ...map[string]spot) spot {
	for {
		for _, m := range maps {
			if s, ok := m[path]; ok {
				return s
			}
		}
		if path == "" {
			return spot{line: 1, column: 1}
		}
		path = parent(path)
	}
}

// written tells whether the document or a flag says anything at a path, defaults aside.
func (t *tree) written(path string) bool {
	_, ok := t.vals[path]
	return ok
}

// cite names a field and where it is: "metadata.name (line 3)".
func (t *tree) cite(path string) string {
	if !t.written(path) {
		return path + " (its default)"
	}
	if s := t.value(path); s.flag == "" {
		return fmt.Sprintf("%s (line %d)", path, s.line)
	}
	return fmt.Sprintf("%s (a flag)", path)
}

// forget drops what is known of a path and everything under it.
func (t *tree) forget(path string) {
	for _, m := range []map[string]spot{t.keys, t.vals} {
		for p := range m {
			if within(p, path) {
				delete(m, p)
			}
		}
	}
	for p := range t.text {
		if within(p, path) {
			delete(t.text, p)
		}
	}
}

// problem says what is wrong at a spot.
func (t *tree) problem(s spot, path, message, hint string) Problem {
	p := Problem{File: t.file, Line: s.line, Column: s.column, Path: path, Message: message, Hint: hint}
	if s.flag != "" {
		p.File, p.Line, p.Column = "--set "+s.flag, 0, 0
	}
	return p
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_/-]+$`)

// child is the path of a map's entry; keys that would be misread stand in brackets and quotes.
func child(path, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// item is the path of a list's item.
func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// parent is the path of what a path is in.
func parent(path string) string {
	if strings.HasSuffix(path, `"]`) {
		if i := strings.LastIndex(path, `["`); i >= 0 {
			return path[:i]
		}
	}
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

// within tells whether a path is another or under it.
func within(path, under string) bool {
	rest, ok := strings.CutPrefix(path, under)
	return ok && (rest == "" || under == "" || rest[0] == '.' || rest[0] == '[')
}

// at is the value at a path of map keys, "global.network"; nil where there is none.
func at(v any, keys ...string) any {
	for _, k := range keys {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

// clone copies maps and lists all the way down.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = clone(x)
		}
		return m
	case []any:
		l := slices.Clone(v)
		for i := range l {
			l[i] = clone(l[i])
		}
		return l
	}
	return v
}

var segment = regexp.MustCompile(`\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|([^.\[]+)`)

// lookup is the value at a path; nil where there is none.
func lookup(v any, path string) any {
	for _, m := range segment.FindAllStringSubmatch(path, -1) {
		switch x := v.(type) {
		case []any:
			i, err := strconv.Atoi(m[1])
			if err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		case map[string]any:
			v = x[segmentKey(m)]
		default:
			return nil
		}
	}
	return v
}

// segmentKey is the map key that a match of segment stands for.
func segmentKey(m []string) string {
	if m[3] != "" {
		return m[3]
	}
	k, err := strconv.Unquote(`"` + m[2] + `"`)
	if err != nil {
		return m[2]
	}
	return k
}
