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
		own := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"cluster": c.Name},
			"metadata": map[string]any{"name": "own", "uid": "own-" + c.Name},
		}}
		same := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"a": "b"},
			"metadata": map[string]any{
				"name": "same", "uid": "same-" + c.Name, "resourceVersion": fmt.Sprint(i), "creationTimestamp": fmt.Sprintf("2026-11-24T12:00:0%dZ", i),
				"managedFields": []any{map[string]any{"manager": "isthmus", "time": fmt.Sprintf("2026-11-24T12:00:1%dZ", i)}},
			},
		}}
		wanted := same.DeepCopy()
		wanted.SetName("wanted")
		wanted.Object["data"] = map[string]any{"time": fmt.Sprint(i)} // what somebody wants differs
		for _, u := range []*unstructured.Unstructured{own, same, wanted} {
			c.Live[object.RefOf(u)] = u
		}
		c.Members = []Member{{Name: "c0"}, {Name: "c1"}, {Name: "c2"}}
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
	likes := map[*unstructured.Unstructured]int{}
	for name, c := range s.Clusters {
		for ref, want := range c.Live {
			if diff := cmp.Diff(want, got.Clusters[name].Object(ref)); diff != "" {
				t.Errorf("%s: %s (-want +got)\n%s", name, ref, diff)
			}
			if _, uid := got.Clusters[name].Find(ref); uid != want.GetUID() || !got.Clusters[name].Exists(ref) {
				t.Errorf("%s: %s has UID %q, want %q", name, ref, uid, want.GetUID())
			}
			if like, _, plain := got.Clusters[name].Like(ref); like != nil {
				if plain != (ref.Kind == "ConfigMap") {
					t.Errorf("%s: nothing but what the API server set differs in %s: %t", name, ref, plain)
				}
				likes[like]++
			}
		}
	}
	for like, n := range likes {
		if n != 2 {
			t.Errorf("%s stands for %d others, want one in each of the last two clusters", object.RefOf(like), n)
		}
	}
	if len(likes) != 4 {
		t.Errorf("%d objects that stand for others, want one about each of 3 clusters, and the one that is in all", len(likes))
	}
	if members := got.Clusters["c2"].Members; len(members) != 3 || members[2].Name != "c2" {
		t.Errorf("members are %v", members)
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
		`{"d":"hmac-sha256:00","uid":7`:      `{"d":"_","uid":7 hmac-sha256:00 -1`,
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

func TestReadCast(t *testing.T) {
	molds := []*mold{newMold(`{"metadata":{"uid":"\u0000","resourceVersion":"\u0000"}}`, nil, nil)}
	for raw, want := range map[string]string{
		`{"mold":0,"own":["a","b"]}`: "",
		`{"mold":1,"own":["a","b"]}`: "it names a mold 1 that is not there",
		`{"mold":-1,"own":[]}`:       "it names a mold -1 that is not there",
		`{"mold":0,"own":["a"]}`:     "it has 1 texts of its own, and mold 0 wants 2",
		`{"mold":"0"}`:               "read what has a mold: json: cannot unmarshal string into Go struct field cast.mold of type int",
	} {
		m, parts, is, err := readCast([]byte(raw), molds)
		if !is || want == "" && (err != nil || m != molds[0] || parts != "a\x00b\x00") || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %q, %t, %v; want %q", raw, parts, is, err, want)
		}
	}
	if _, _, is, err := readCast([]byte(`{"apiVersion":"v1"}`), molds); is || err != nil {
		t.Errorf("an object is taken for one that has a mold: %v", err)
	}
	if _, err := newMold(`{"metadata":{"name":"\u0000"}}`, nil, nil).of("a\x00"); err == nil {
		t.Error("an object is packed whose mold has no UID")
	}
}

// TestServerSet is that an object counts as like another only where nothing that anybody wants differs.
func TestServerSet(t *testing.T) {
	for raw, own := range map[string]string{ // an object → its own texts; "-" before those that are not all
		`{"metadata":{"uid":"a","resourceVersion":"1"}}`:                                          "1 a",
		`{"metadata":{"uid":"a","managedFields":[{"time":"t"},{"time":"u"},{}]}}`:                 "u a t",
		`{"metadata":{"uid":"a","resourceVersion":"1"},"data":{"time":"noon"}}`:                   "-a 1 noon",
		`{"metadata":{"uid":"a"},"data":{"resourceVersion":"a"}}`:                                 "-a a",
		`{"metadata":{"uid":"a","resourceVersion":"1"},"status":{"image":"hmac-sha256:00"}}`:      "-a 1 hmac-sha256:00",
		`{"metadata":{"uid":"a","creationTimestamp":"t","managedFields":[{"time":"t"}]},"x":"t"}`: "a t t",
	} {
		u := &unstructured.Unstructured{}
		if err := json.Unmarshal([]byte(raw), &u.Object); err != nil {
			t.Fatal(err)
		}
		texts, less := strings.CutPrefix(own, "-")
		if got := serverSet(u, strings.Fields(texts)); got == less {
			t.Errorf("%s with %s: %t", raw, texts, got)
		}
	}
}
