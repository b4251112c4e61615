package facts

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/mesh"
)

// TestNothingThatARecordNamesIsDialled: a record with a kubeconfig and a context, as older releases wrote them and as
// anybody who may write a ConfigMap can.
func TestNothingThatARecordNamesIsDialled(t *testing.T) {
	planted, err := ParseMembers(`[{"name":"gone","context":"east","kubeconfig":"/tmp/evil","server":"https://gone","uid":"uid-gone"}]`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason  string
		former  []mesh.Cluster
		leaving []mesh.Cluster
		dialled []string
	}{
		{reason: "nobody says how it is reached"},
		{reason: "the document says how", former: []mesh.Cluster{{Name: "gone", Context: "old-gone"}}, dialled: []string{"gone old-gone "}},
		{reason: "the document names one that no record names", former: []mesh.Cluster{{Name: "other", Context: "other"}}},
		{reason: "it leaves now", leaving: []mesh.Cluster{{Name: "gone", Context: "gone", Kubeconfig: "/mine"}}, dialled: []string{"gone gone /mine"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			m := mesh.Mesh{Name: "shop", Clusters: []mesh.Cluster{{Name: "east", Context: "east"}}, Former: c.former}
			s := Snapshot{Clusters: map[string]*Cluster{"east": {Name: "east", Members: planted}}}
			var dialled []string
			dial := func(c mesh.Cluster) (*cluster.Conn, error) {
				dialled = append(dialled, fmt.Sprintf("%s %s %s", c.Name, c.Context, c.Kubeconfig))
				return nil, fmt.Errorf("not here")
			}
			GatherLeft(t.Context(), m, &s, c.leaving, dial, time.Second, time.Now)
			if d := cmp.Diff(c.dialled, dialled); d != "" {
				t.Errorf("dialled (-want +got):\n%s", d)
			}
			if len(s.Left) != 1 || s.Left[0].UID() != "uid-gone" || s.Left[0].Named != (len(c.dialled) > 0) {
				t.Errorf("left: %+v", s.Left)
			}
		})
	}
}

func TestRecordsOfMembersAreBounded(t *testing.T) {
	many := make([]string, maxMembers+1)
	for i := range many {
		many[i] = fmt.Sprintf(`{"name":"c%d"}`, i)
	}
	for _, c := range []struct{ reason, text, want string }{
		{"a name that no cluster has", `[{"name":"../../etc"}]`, "is none that a cluster can have"},
		{"a name with control characters", `[{"name":"a\u001b[2J"}]`, `"a\x1b[2J" is none that a cluster can have`},
		{"no name", `[{}]`, "is none that a cluster can have"},
		{"a UID that is a path", `[{"name":"a","uid":"/x"}]`, "is no UID"},
		{"an address of another line", `[{"name":"a","server":"https://a\nEvil: 1"}]`, "its server is no address"},
		{"an address without end", `[{"name":"a","server":"` + strings.Repeat("x", maxServer+1) + `"}]`, "its server is no address"},
		{"a stand-in that is no name", `[{"name":"a","drain":{"on":true,"since":"2026-01-01T00:00:00Z","to":"a b"}}]`, "which is no name of a cluster"},
		{"who with control characters", `[{"name":"a","drain":{"on":true,"since":"2026-01-01T00:00:00Z","by":"\u009b1m"}}]`, "who drained it is no name"},
		{"a name twice", `[{"name":"a"},{"name":"a"}]`, "a is there twice"},
		{"too many", "[" + strings.Join(many, ",") + "]", "of at most"},
		{"a time that is none", `[{"name":"a","drain":{"on":true,"since":"then"}}]`, "read members"},
	} {
		if got, err := ParseMembers(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v", c.reason, got, err)
		}
	}
}

// said is a mesh of three whose records say what is given, by who says it: "east:west+1h" says that west is drained
// since an hour after the reading, and "-" in the place of the sign that it is not drained since an hour before it.
func said(t *testing.T, records map[string]map[string]*Drain) Snapshot {
	t.Helper()
	s := Snapshot{Taken: time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC), Clusters: map[string]*Cluster{}}
	for _, speaker := range []string{"east", "west", "north"} {
		c := &Cluster{Name: speaker}
		for _, of := range []string{"east", "west", "north"} {
			c.Members = append(c.Members, Member{Name: of, Drain: records[speaker][of]})
		}
		s.Clusters[speaker] = c
	}
	return s
}

func TestOneRecordDoesNotDrain(t *testing.T) {
	taken := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	on := func(after time.Duration) *Drain {
		return &Drain{On: true, Since: taken.Add(after), To: "north", By: "a@b"}
	}
	off := func(after time.Duration) *Drain { return &Drain{Since: taken.Add(after)} }
	type records = map[string]map[string]*Drain
	of := func(x string, d *Drain) map[string]*Drain { return map[string]*Drain{x: d} }
	for _, c := range []struct {
		reason  string
		given   records
		east    bool // is drained
		doubted []string
	}{
		{"nobody says anything", nil, false, nil},
		{"another alone says so, of the year 9999", records{"west": of("east", on(70000*time.Hour))}, false, []string{"west"}},
		{"another alone says so", records{"west": of("east", on(-time.Hour))}, false, []string{"west"}},
		{"it says so itself", records{"east": of("east", on(-time.Hour))}, true, nil},
		{"it says so itself, of the year 9999", records{"east": of("east", on(70000*time.Hour))}, false, []string{"east"}},
		{"its clock is a minute ahead", records{"east": of("east", on(time.Minute))}, true, nil},
		{"most say so", records{"west": of("east", on(-time.Hour)), "north": of("east", on(-time.Hour))}, true, nil},
		{"all say so, all of later", records{"west": of("east", on(time.Hour)), "north": of("east", on(time.Hour)), "east": of("east", on(time.Hour))}, false, []string{"east", "north", "west"}},
		{"most say that it is over", records{
			"east": of("east", on(-time.Hour)), "west": of("east", off(-time.Minute)), "north": of("east", off(-time.Minute)),
		}, false, nil},
		{"one alone says that it is over", records{
			"east": of("east", on(-time.Hour)), "west": of("east", on(-time.Hour)), "north": of("east", off(-time.Minute)),
		}, true, []string{"north"}},
		{"it says itself that it is over", records{
			"east": of("east", off(-time.Minute)), "west": of("east", on(-time.Hour)), "north": of("east", on(-time.Hour)),
		}, false, nil},
	} {
		t.Run(c.reason, func(t *testing.T) {
			s := said(t, c.given)
			if d := Drains(s)["east"]; d.On != c.east {
				t.Errorf("east is drained: %+v", d)
			}
			var by []string
			for _, d := range DoubtedDrains(s) {
				by = append(by, d.Said...)
			}
			if d := cmp.Diff(c.doubted, by); d != "" {
				t.Errorf("doubted (-want +got):\n%s", d)
			}
		})
	}
}

// TestWhoLeftHasNoSay: a cluster that is being cleaned has a record too.
func TestWhoLeftHasNoSay(t *testing.T) {
	taken := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	d := &Drain{On: true, Since: taken.Add(-time.Hour)}
	s := said(t, map[string]map[string]*Drain{"west": {"east": d}, "north": {"east": d}})
	s.Left = []Former{{Name: "north"}}
	if got := Drains(s)["east"]; got.On {
		t.Errorf("drained by one of two: %+v", got)
	}
	if !slices.ContainsFunc(DoubtedDrains(s), func(d DoubtedDrain) bool { return d.Of == 2 }) {
		t.Errorf("doubted: %+v", DoubtedDrains(s))
	}
}
