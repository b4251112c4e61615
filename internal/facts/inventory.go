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
	lines := make([]string, 0, len(refs))
	for _, r := range slices.Compact(refs) {
		raw, err := json.Marshal(r)
		if err != nil { // four strings always marshal
			panic(err)
		}
		lines = append(lines, string(raw))
	}
	return "[" + strings.Join(lines, ",\n ") + "]\n"
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
