package facts

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"isthmus.dev/isthmus/internal/object"
)

// FuzzParseMembers: whatever a record holds, what is read of it has the form of what this program writes, and is read again
// as the same.
func FuzzParseMembers(f *testing.F) {
	f.Add(FormatMembers([]Member{{Name: "east", Server: "https://east:6443", UID: "uid", Drain: &Drain{On: true, Since: time.Unix(1, 0).UTC(), To: "west", By: "a@b"}}}))
	f.Add(`[{"name":"gone","context":"east","kubeconfig":"/tmp/evil"}]`)
	f.Add(`[[]]`)
	f.Fuzz(func(t *testing.T, text string) {
		members, err := ParseMembers(text)
		if err != nil {
			return
		}
		for _, m := range members {
			if strings.ContainsFunc(m.Name+m.UID+m.Server, func(r rune) bool { return r < ' ' || r > '~' }) || m.Name == "" {
				t.Errorf("%+v", m)
			}
		}
		again, err := ParseMembers(FormatMembers(members))
		if err != nil || FormatMembers(again) != FormatMembers(members) {
			t.Errorf("%v became %v, %v", members, again, err)
		}
	})
}

// FuzzParseInventory: the same of the list of what was made.
func FuzzParseInventory(f *testing.F) {
	f.Add(FormatInventory([]object.Ref{{Group: "apps", Kind: "Deployment", Namespace: "istio-system", Name: "istiod"}, {Kind: "Namespace", Name: "istio-system"}}))
	f.Add(`[{"kind":"x","name":"\u001b"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		refs, err := ParseInventory(text)
		if err != nil {
			return
		}
		again, err := ParseInventory(FormatInventory(refs))
		if err != nil || FormatInventory(again) != FormatInventory(refs) {
			t.Errorf("%v became %v, %v", refs, again, err)
		}
	})
}

// FuzzRead: a file of facts that somebody edited is refused, or read as what it says.
func FuzzRead(f *testing.F) {
	s := Snapshot{Taken: time.Unix(1, 0).UTC(), Clusters: map[string]*Cluster{"east": newCluster("east")}}
	var b bytes.Buffer
	if _, err := s.Write(&b, "shop", "v1"); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"kind":"Facts","version":2,"mesh":"shop","items":[` + "\n" + `{"text":"["},` + "\n" + `{"cluster":{"name":"x","members":"#0"}}` + "\n]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, _, _, err := Read(bytes.NewReader(text))
		if err == nil && got.Clusters == nil {
			t.Error("no clusters and no error")
		}
	})
}
