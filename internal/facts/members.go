package facts

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// MembersKey is the key of the inventory's ConfigMap that holds the members of the mesh: every member knows all
// others, so that one which leaves the document is still known.
const MembersKey = "members"

// A Member is a cluster that is, or was, in the document, as one cluster's record has it. It is a claim of that
// cluster: it names nothing that anybody would run, open or dial.
type Member struct {
	Name string `json:"name"`
	// Server is where whoever applied reached it, for people to read.
	Server string `json:"server,omitempty"`
	// UID is kube-system's: a cluster that was made anew, or another of that name, is told by it.
	UID string `json:"uid,omitempty"`
	// Drain is the last that was said of keeping calls from it; nil: nothing ever was.
	Drain *Drain `json:"drain,omitempty"`
}

// A Drain says whether calls are kept from a cluster.
type Drain struct {
	// On is false once it was undrained: a record that says so is newer than one elsewhere which still says On.
	On    bool      `json:"on"`
	Since time.Time `json:"since"`
	// To is the cluster that answers for it.
	To string `json:"to,omitempty"`
	// By is who said so, as the record has it; "" where that was not kept.
	By string `json:"by,omitempty"`
}

// Bounds of a record of members. Names and UIDs are Kubernetes' own; the others are far above what is ever written.
const (
	maxMembers = 5000
	maxServer  = 2048 // bytes, as most HTTP servers take of an address
	maxBy      = 256  // bytes
)

// FormatMembers writes members, sorted by name, one a line.
func FormatMembers(members []Member) string {
	members = slices.SortedFunc(slices.Values(members), func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	lines := make([]string, 0, len(members))
	for _, m := range members {
		raw, err := json.Marshal(m)
		if err != nil { // strings always marshal
			panic(err)
		}
		lines = append(lines, string(raw))
	}
	return "[" + strings.Join(lines, ",\n ") + "]\n"
}

// ParseMembers reads what FormatMembers wrote. What else is in it is passed over: records of older releases hold how a
// cluster was reached, which nobody may learn from a cluster. Errors: a record that this program would not write.
func ParseMembers(text string) ([]Member, error) {
	var members []Member
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	if len(members) > maxMembers {
		return nil, fmt.Errorf("read members: there are %d, of at most %d", len(members), maxMembers)
	}
	seen := make(map[string]bool, len(members))
	for i, m := range members {
		if err := m.check(); err != nil {
			return nil, fmt.Errorf("read members: number %d: %w", i+1, err)
		}
		if seen[m.Name] {
			return nil, fmt.Errorf("read members: %s is there twice", m.Name)
		}
		seen[m.Name] = true
	}
	return members, nil
}

// check tells whether a member has the form that the document's own clusters have.
func (m Member) check() error {
	switch {
	case !isLabel(m.Name):
		return fmt.Errorf("name %.80q is none that a cluster can have", m.Name)
	case m.UID != "" && !isLabel(m.UID):
		return fmt.Errorf("%s: %.80q is no UID", m.Name, m.UID)
	case len(m.Server) > maxServer || !printable(m.Server):
		return fmt.Errorf("%s: its server is no address", m.Name)
	case m.Drain == nil:
		return nil
	case m.Drain.To != "" && !isLabel(m.Drain.To):
		return fmt.Errorf("%s: it is drained to %.80q, which is no name of a cluster", m.Name, m.Drain.To)
	case len(m.Drain.By) > maxBy || !printable(m.Drain.By):
		return fmt.Errorf("%s: who drained it is no name", m.Name)
	}
	return nil
}

func isLabel(s string) bool { return len(validation.IsDNS1123Label(s)) == 0 }

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
