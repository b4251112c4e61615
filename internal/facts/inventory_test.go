package facts

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"isthmus.dev/isthmus/internal/object"
)

// TestInventoriesAreJSON is that a list is written as the JSON library would, and read as it was.
func TestInventoriesAreJSON(t *testing.T) {
	text := rapid.OneOf(rapid.StringMatching(`[a-z.:-]{1,12}`), rapid.String().Filter(func(s string) bool { return s != "" }))
	refs := rapid.SliceOf(rapid.Custom(func(t *rapid.T) object.Ref {
		r := object.Ref{Kind: text.Draw(t, "kind"), Name: text.Draw(t, "name")}
		if rapid.Bool().Draw(t, "more") {
			r.Group, r.Namespace = text.Draw(t, "group"), text.Draw(t, "namespace")
		}
		return r
	}))
	rapid.Check(t, func(t *rapid.T) {
		list := refs.Draw(t, "list")
		got := FormatInventory(list)
		slices.SortFunc(list, object.Ref.Compare)
		list = slices.Compact(list)
		var lines []string
		for _, r := range list {
			raw, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, string(raw))
		}
		if want := "[" + strings.Join(lines, ",\n ") + "]\n"; got != want {
			t.Fatalf("got %s\nwant %s", got, want)
		}
		read, err := ParseInventory(got)
		if err != nil || !slices.Equal(read, list) {
			t.Fatalf("%v: read %v, want %v", err, read, list)
		}
	})
}
