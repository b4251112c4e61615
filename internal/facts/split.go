package facts

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"

	"isthmus.dev/isthmus/internal/object"
)

// split takes the lists of secrets and of live objects out of a cluster's line of a record, item by item: they are
// nearly all of it, and the JSON library would go through each byte of them five times. ok is false where the line
// is not as Write writes it; whether the items are JSON is for whoever reads them to see.
func split(line []byte) (rest []byte, secrets, live []json.RawMessage, ok bool) {
	const head = `{"cluster":{`
	if !bytes.HasPrefix(line, []byte(head)) {
		return nil, nil, nil, false
	}
	s := scanner{raw: line, at: len(head)}
	rest = append(make([]byte, 0, 1<<16), head...)
	for {
		from := s.at
		key := s.value()
		if len(key) == 0 || !s.next(':') {
			return nil, nil, nil, false
		}
		switch string(key) {
		case `"secrets"`:
			secrets = s.items()
		case `"live"`:
			live = s.items()
		default:
			s.value()
			if len(rest) > len(head) {
				rest = append(rest, ',')
			}
			rest = append(rest, line[from:s.at]...)
		}
		if !s.next(',') {
			break
		}
	}
	return append(rest, "}}"...), secrets, live, string(line[s.at:]) == "}}"
}

// A scanner finds where values of JSON without spaces end, and looks no closer. at is beyond the text where that is
// not what it is.
type scanner struct {
	raw []byte
	at  int
}

func (s *scanner) ok() bool { return s.at < len(s.raw) }

// next goes past a character if it is the next one.
func (s *scanner) next(c byte) bool {
	if !s.ok() || s.raw[s.at] != c {
		return false
	}
	s.at++
	return true
}

// value goes past a value and returns it.
func (s *scanner) value() []byte {
	from, depth := s.at, 0
	for ; s.ok(); s.at++ {
		switch s.raw[s.at] {
		case '"':
			end := closing(s.raw, s.at+1)
			if end < 0 {
				s.at = len(s.raw)
				return nil
			}
			s.at = end
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',', ':':
			if depth == 0 {
				return s.raw[from:s.at]
			}
			continue
		default:
			continue
		}
		if depth < 0 { // the end of what the value is in
			return s.raw[from:s.at]
		}
		if depth == 0 {
			s.at++
			return s.raw[from:s.at]
		}
	}
	return nil
}

// items goes past a list and returns what is in it.
func (s *scanner) items() (all []json.RawMessage) {
	if !s.next('[') {
		s.at = len(s.raw)
		return nil
	}
	for s.ok() {
		if s.next(']') {
			return all
		}
		if len(all) > 0 && !s.next(',') {
			break
		}
		item := s.value()
		if len(item) == 0 {
			break
		}
		all = append(all, item)
	}
	s.at = len(s.raw)
	return nil
}

// interned are texts that are in memory once, however many clusters say them.
type interned struct {
	mu    sync.Mutex
	known map[string]any // the text itself
}

func (in *interned) one(text string) string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.of(text)
}

func (in *interned) of(text string) string {
	return in.value(text).(string)
}

// value is a text as a value of JSON, which takes memory of its own.
func (in *interned) value(text string) any {
	one, ok := in.known[text]
	if !ok {
		one = strings.Clone(text) // it may be part of a longer one
		in.known[one.(string)] = one
	}
	return one
}

// tree interns the texts in an object that nobody else has yet; nil does nothing.
func (in *interned) tree(body map[string]any) {
	if in == nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.values(body)
}

func (in *interned) values(value any) any {
	switch x := value.(type) {
	case string:
		return in.value(x)
	case map[string]any:
		for k, v := range x {
			x[k] = in.values(v)
		}
	case []any:
		for i, v := range x {
			x[i] = in.values(v)
		}
	}
	return value
}

func (in *interned) refs(refs []object.Ref) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := range refs {
		r := &refs[i]
		r.Group, r.Kind, r.Namespace, r.Name = in.of(r.Group), in.of(r.Kind), in.of(r.Namespace), in.of(r.Name)
	}
}

func (in *interned) services(services []Service) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := range services {
		s := &services[i]
		s.Namespace, s.Name, s.Kind, s.Ports, s.Selector = in.of(s.Namespace), in.of(s.Name), in.of(s.Kind), in.of(s.Ports), in.of(s.Selector)
	}
}
