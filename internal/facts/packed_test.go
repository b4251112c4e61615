package facts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/object"
)

func TestSplit(t *testing.T) {
	for line, want := range map[string]string{ // a line → what is read of it; "" where it is left to the JSON library
		`{"cluster":{"name":"a","secrets":[{"a":"]},"},1],"live":[{"b":"\\\""},[2,{}]],"uid":"x"}}`: `{"cluster":{"name":"a","uid":"x"}} {"a":"]},"}|1 {"b":"\\\""}|[2,{}]`,
		`{"cluster":{"name":"a","live":[]}}`:  `{"cluster":{"name":"a"}}  `,
		`{"cluster":{"live":[1],"name":"a"}}`: `{"cluster":{"name":"a"}}  1`,
		`{"cluster": {"name":"a"}}`:           "",
		`{"cluster":{}}`:                      "",
		`{"cluster":{"name":"a","live":[1}}`:  "",
		`{"cluster":{"name":"a","live":{}}}`:  "",
		`{"cluster":{"name":"a"}} `:           "",
		`{"cluster":{"name":"a`:               "",
		`{"cluster":{"name":"a\`:              "",
		`{"cluster":{"name"`:                  "",
	} {
		rest, secrets, live, ok := split([]byte(line))
		got := ""
		if ok {
			got = string(rest) + " " + joined(secrets) + " " + joined(live)
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", line, got, want)
		}
	}
}

func joined(items []json.RawMessage) string {
	texts := make([]string, 0, len(items))
	for _, x := range items {
		texts = append(texts, string(x))
	}
	return strings.Join(texts, "|")
}

// TestARecordOfManyIsReadAsItIs is that objects which share what they have in common are still whole.
func TestARecordOfManyIsReadAsItIs(t *testing.T) {
	s := Snapshot{Taken: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), Clusters: map[string]*Cluster{}}
	for i := range 3 {
		c := newCluster(fmt.Sprintf("c%d", i))
		for about := range 3 {
			u := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "Secret", "data": map[string]any{"key": Digest([]byte{byte(i), byte(about)})},
				"metadata": map[string]any{
					"name": fmt.Sprintf("about-%d", about), "namespace": "istio-system", "uid": fmt.Sprintf("uid-%d-%d", i, about), "resourceVersion": fmt.Sprint(i),
					"labels": map[string]any{object.LabelRemoteSecret: "true", "odd": "a \" and a \\"},
				},
			}}
			c.Live[object.RefOf(u)] = u
		}
		s.Clusters[c.Name] = c
	}
	var file bytes.Buffer
	if _, err := s.Write(&file, "shop", "test"); err != nil {
		t.Fatal(err)
	}
	got, _, _, err := Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	likes := map[*unstructured.Unstructured]bool{}
	for name, c := range s.Clusters {
		for ref, want := range c.Live {
			if diff := cmp.Diff(want, got.Clusters[name].Object(ref)); diff != "" {
				t.Errorf("%s: %s (-want +got)\n%s", name, ref, diff)
			}
			like, uid := got.Clusters[name].Like(ref)
			if uid != want.GetUID() || !got.Clusters[name].Exists(ref) {
				t.Errorf("%s: %s has UID %q, want %q", name, ref, uid, want.GetUID())
			}
			likes[like] = true
		}
	}
	if len(likes) != 3 {
		t.Errorf("%d objects in memory, want one about each of 3 clusters", len(likes))
	}
	if missing := (object.Ref{Kind: "Secret", Name: "none"}); got.Clusters["c0"].Exists(missing) || got.Clusters["c0"].Object(missing) != nil {
		t.Error("an object exists that was not recorded")
	}
}

// TestCut is that what was cut out of an object is all that its mold has not.
func TestCut(t *testing.T) {
	for raw, want := range map[string]string{
		`{"uid":"a","x":"b","time":"c"}`:     `{"uid":"_","x":"b","time":"_"} a,c 0`,
		`{"uid":"a","o":[{"uid":"b"}]}`:      `{"uid":"_","o":[{"uid":"_"}]} a,b -1`,
		`{"x":"\"uid\":\"a\"","uid":"\u00"}`: `{"x":"\"uid\":\"a\"","uid":"\u00"}  -1`,
		`{"d":"sha256:00","uid":7`:           `{"d":"_","uid":7 sha256:00 -1`,
		`{"uid":"a`:                          `{"uid":"a  -1`,
	} {
		bones, parts, uid := cut([]byte(raw))
		texts := slices.DeleteFunc(strings.Split(parts, "\x00"), func(s string) bool { return s == "" })
		got := fmt.Sprintf("%s %s %d", strings.ReplaceAll(string(bones), "\x00", "_"), strings.Join(texts, ","), uid)
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", raw, got, want)
		}
	}
}
