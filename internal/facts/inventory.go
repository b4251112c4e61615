package facts

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/object"
)

// InventoryKey is the key of the inventory's ConfigMap that holds the list.
const InventoryKey = "objects"

const inventoryPrefix = "isthmus-inventory-"

// InventoryName is the name of the ConfigMap in isthmus-system that lists what Isthmus made in a cluster for a mesh,
// or for a set of objects such as a proof's.
func InventoryName(owner string) string { return inventoryPrefix + owner }

// FormatInventory writes a list of objects, sorted, one a line, so that two versions of it compare well.
func FormatInventory(refs []object.Ref) string {
	refs = slices.Clone(refs)
	slices.SortFunc(refs, object.Ref.Compare)
	out := []byte("[")
	for i, r := range slices.Compact(refs) {
		if i > 0 {
			out = append(out, ",\n "...)
		}
		out = append(out, '{')
		if r.Group != "" {
			out = append(appendText(append(out, `"group":`...), r.Group), ',')
		}
		out = appendText(append(out, `"kind":`...), r.Kind)
		if r.Namespace != "" {
			out = appendText(append(out, `,"namespace":`...), r.Namespace)
		}
		out = append(appendText(append(out, `,"name":`...), r.Name), '}')
	}
	return string(append(out, "]\n"...))
}

// appendText appends a text as JSON has it. Names of Kubernetes stand for themselves; of the lists of 500 clusters half a
// million are written.
func appendText(out []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || strings.IndexByte(`"\<>&`, c) >= 0 {
			raw, err := json.Marshal(text)
			if err != nil { // a string always marshals
				panic(err)
			}
			return append(out, raw...)
		}
	}
	return append(append(append(out, '"'), text...), '"')
}

// ParseInventory reads what FormatInventory wrote.
func ParseInventory(text string) ([]object.Ref, error) {
	var refs []object.Ref
	if err := json.Unmarshal([]byte(text), &refs); err != nil {
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	for _, r := range refs {
		if r.Kind == "" || r.Name == "" {
			return nil, fmt.Errorf("read inventory: an entry has no kind or no name: %v", r)
		}
	}
	return refs, nil
}
