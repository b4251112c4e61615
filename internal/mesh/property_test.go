package mesh

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"istio.io/istio/manifests"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apimachinery/pkg/runtime"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"isthmus.dev/isthmus/api/v1alpha1"
)

// TestDocumentsSurvive: any valid document, written as YAML and loaded, is the same document with defaults; written
// and loaded again it does not change any more, and gives the same mesh.
func TestDocumentsSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		written := document().Draw(t, "document")
		once := reload(t, written)
		again := reload(t, once)
		if diff := cmp.Diff(once, again); diff != "" {
			t.Fatalf("loaded twice (-once +again):\n%s", diff)
		}
		a, errA := complete(once, "mesh.yaml")
		b, errB := complete(again, "mesh.yaml")
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatalf("two meshes of one document:\n%s", diff)
		}
		for i, c := range a.Clusters {
			if c.Name != written.Spec.Clusters[i].Name || c.Network == "" || c.Context == "" {
				t.Fatalf("cluster %d was %+v and is %+v", i, written.Spec.Clusters[i], c)
			}
		}
		if n := len(a.Pairs()); n != len(a.Clusters)*(len(a.Clusters)-1) {
			t.Fatalf("%d clusters and %d pairs", len(a.Clusters), n)
		}
	})
}

func reload(t *rapid.T, doc v1alpha1.Mesh) v1alpha1.Mesh {
	text, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	got, err := read("mesh.yaml", text, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return got
}

// document draws valid documents.
func document() *rapid.Generator[v1alpha1.Mesh] {
	return rapid.Custom(func(t *rapid.T) v1alpha1.Mesh {
		var doc v1alpha1.Mesh
		doc.APIVersion, doc.Kind = v1alpha1.APIVersion, v1alpha1.Kind
		doc.Name = rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?`).Draw(t, "name")
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,41}[a-z0-9])?`), 1, 6, rapid.ID[string]).Draw(t, "clusters")
		for _, n := range names {
			doc.Spec.Clusters = append(doc.Spec.Clusters, v1alpha1.Cluster{
				Name:    n,
				Access:  v1alpha1.Access{Context: "context of " + n, Kubeconfig: rapid.SampledFrom([]string{"", "kubeconfig", "/etc/x"}).Draw(t, "kubeconfig")},
				Network: rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[A-Za-z0-9]([-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?`)).Draw(t, "network"),
				Server:  rapid.SampledFrom([]string{"", "https://198.51.100.1:6443", "https://[2001:db8::1]", "https://a.example/k8s"}).Draw(t, "server"),
				Istio:   v1alpha1.ClusterIstio{Values: free(t), MeshConfig: free(t)},
			})
		}
		s := &doc.Spec
		s.Istio = v1alpha1.Istio{
			Version: rapid.SampledFrom([]string{"", "1.31", "1.31.0", "1.31.12"}).Draw(t, "version"),
			Profile: rapid.SampledFrom([]string{"", "demo", "minimal", "ambient"}).Draw(t, "profile"),
			Tag:     rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[a-zA-Z0-9_][-a-zA-Z0-9._]{0,20}`)).Draw(t, "tag"),
			Values:  free(t), MeshConfig: free(t),
			Set: rapid.SliceOfN(rapid.StringMatching(`components\.[a-z]{1,5}=[ -~]{0,9}`), 0, 2).Draw(t, "set"),
		}
		s.Trust.Domain = rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[a-z0-9]([-a-z0-9._]{0,20}[a-z0-9])?`)).Draw(t, "domain")
		s.Trust.IntermediateTTL = rapid.SampledFrom([]v1alpha1.Duration{"", "1h", "90m", "8760h0m0s"}).Draw(t, "ttl")
		s.Discovery.CredentialTTL = rapid.SampledFrom([]v1alpha1.Duration{"", "10m", "600s", "1h30m"}).Draw(t, "credential")
		s.Security.MTLS = rapid.SampledFrom([]string{"", "STRICT", "PERMISSIVE"}).Draw(t, "mtls")
		s.Gateways.EastWest.Annotations = rapid.MapOfN(rapid.StringMatching(`[a-z./]{1,20}`), anyText, 0, 3).Draw(t, "annotations")
		if rapid.Bool().Draw(t, "waves") {
			cut := rapid.IntRange(0, len(names)-1).Draw(t, "cut")
			for _, w := range [][]string{names[:cut], names[cut:]} {
				if len(w) > 0 {
					s.Rollout.Waves = append(s.Rollout.Waves, w)
				}
			}
		}
		return doc
	})
}

// printable are letters, digits, marks of punctuation and symbols of every script; YAML knows no control characters.
var (
	printable = rapid.RuneFrom([]rune(" -:#"), unicode.L, unicode.N, unicode.P, unicode.S)
	anyText   = rapid.StringOf(rapid.OneOf(printable, rapid.SampledFrom([]rune("\n\t "))))
)

// free draws what may stand where anything may.
func free(t *rapid.T) *runtime.RawExtension {
	if rapid.Bool().Draw(t, "nothing") {
		return nil
	}
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		kinds := []*rapid.Generator[any]{
			anyText.AsAny(), rapid.Int32().AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil),
			rapid.SampledFrom([]string{"yes", "no", "on", "null", "~", "1.30", "0644", "<<", "2026-11-24", "*a", "- a", "a: b", "#", ""}).AsAny(),
		}
		if depth > 0 {
			kinds = append(kinds,
				rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) }), 0, 3).AsAny(),
				rapid.MapOfN(rapid.OneOf(rapid.StringOfN(printable, 1, 5, -1), rapid.SampledFrom([]string{"a.b", "yes", "1", "x[0]", `"`})),
					rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) }), 0, 3).AsAny())
		}
		return rapid.OneOf(kinds...)
	}
	m := rapid.MapOfN(rapid.StringOfN(printable, 1, 8, -1), value(2), 0, 3).Draw(t, "values")
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return &runtime.RawExtension{Raw: raw}
}

// TestScalarsAreKubectls: whatever a plain scalar looks like, it is read as sigs.k8s.io/yaml reads it.
func TestScalarsAreKubectls(t *testing.T) {
	check := func(fail func(string, ...any), text string) {
		doc := "v: " + text + "\n"
		var theirs map[string]any
		if err := yaml.Unmarshal([]byte(doc), &theirs); err != nil {
			return // they do not take it; whether we say the same of it is no question of meaning
		}
		ours, problems := parseYAML("x", []byte(doc))
		if len(problems) > 0 {
			fail("%q: %v, and they read %#v", text, problems, theirs["v"])
			return
		}
		a, errA := json.Marshal(theirs["v"])
		b, errB := json.Marshal(ours.root["v"])
		var x, y any // whole numbers past 2^53 are exact here, and not there
		if errA != nil || errB != nil || json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil || !cmp.Equal(x, y) {
			fail("%q: they read %s, we read %s", text, a, b)
		}
	}
	for _, text := range []string{
		"yes", "No", "ON", "off", "y", "n", "Y", "true", "False", "~", "null", "Null", "''", "1", "-1", "+1", "010", "0o10", "0x1F", "0b11",
		"1_000", "1.5", ".5", "1e3", "1E+3", "-.5", "1.", "12e03", "1:30", "2026-11-24", "2026-11-24T10:00:00Z", "'5'", "\"yes\"", "!!str 5",
		"!!int '5'", "9223372036854775807", "18446744073709551615", "1.30", "v1.31", "a b", "=", "<<", "x#y", "0.0.0.0", "1e", "e1", "0x", "--1",
	} {
		check(t.Errorf, text)
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t.Fatalf, rapid.OneOf(
			rapid.StringMatching(`[-+]?[0-9_.eE+xob:]{1,8}`), rapid.StringMatching(`[a-zA-Z~][a-zA-Z0-9 ]{0,5}`), rapid.StringMatching(`[-0-9T:Z. ]{1,20}`),
		).Draw(t, "text"))
	})
}

// TestEveryTypoIsFound breaks each field name of a document that uses every field, one at a time: the problem is in
// that line and offers that name.
func TestEveryTypoIsFound(t *testing.T) {
	text, err := os.ReadFile("testdata/every-field.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load("mesh.yaml", text, nil); err != nil {
		t.Fatalf("the document itself: %v", err)
	}
	key := regexp.MustCompile(`^( *(?:- )?)([a-zA-Z]+):`)
	lines := strings.Split(string(text), "\n")
	seen := map[string]bool{}
	for i, line := range lines {
		m := key.FindStringSubmatch(line)
		if m == nil || strings.HasSuffix(line, "# free") {
			continue
		}
		seen[m[2]] = true
		if m[2] == "apiVersion" || m[2] == "kind" {
			continue
		}
		broken := slices.Clone(lines)
		broken[i] = key.ReplaceAllString(line, "${1}${2}x:")
		_, err := Load("mesh.yaml", []byte(strings.Join(broken, "\n")), nil)
		var p *Problems
		if !errors.As(err, &p) {
			t.Errorf("line %d, %sx: %v", i+1, m[2], err)
			continue
		}
		at := slices.IndexFunc(p.List, func(p Problem) bool { return p.Message == "no such field" })
		if at < 0 || p.List[at].Line != i+1 || p.List[at].Column != len(m[1])+1 || p.List[at].Hint != "did you mean "+m[2]+"?" {
			t.Errorf("line %d, %sx: %v", i+1, m[2], p.List)
		}
	}
	l, err := theLaw()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	allFields(l.at("spec"), all)
	for name := range all {
		if !seen[name] && name != "existing" { // which excludes selfSigned, and that is there
			t.Errorf("testdata/every-field.yaml does not use %s", name)
		}
	}
}

// TestEveryRuleIsBroken: for each rule of the CRD there is a bad document that breaks it, and words that belong to
// no rule are dead.
func TestEveryRuleIsBroken(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for _, f := range files {
		a, err := txtar.ParseFile(f)
		if err != nil {
			t.Fatal(err)
		}
		said.Write(a.Files[len(a.Files)-1].Data)
	}
	l, err := theLaw()
	if err != nil {
		t.Fatal(err)
	}
	for message := range l.messages {
		if !strings.Contains(said.String(), message) {
			t.Errorf("no document in testdata/bad breaks the rule %q", message)
		}
	}
	for message := range words {
		if !l.messages[message] {
			t.Errorf("words for %q, which no rule says", message)
		}
	}
}

// TestDefaultsObeyEveryRule: Load asks only the rules of fields that are written; asked of all the others, the
// defaults pass too.
func TestDefaultsObeyEveryRule(t *testing.T) {
	l, err := theLaw()
	if err != nil {
		t.Fatal(err)
	}
	doc := map[string]any{
		"apiVersion": v1alpha1.APIVersion, "kind": v1alpha1.Kind, "metadata": map[string]any{"name": "shop"},
		"spec": map[string]any{"clusters": []any{map[string]any{"name": "east"}}},
	}
	defaulting.Default(doc, l.shape)
	all := cel.NewValidator(l.shape, true, celconfig.PerCallLimit)
	errs, _ := all.Validate(t.Context(), nil, l.shape, doc, nil, celconfig.RuntimeCELCostBudget)
	for _, err := range errs {
		t.Error(err)
	}
}

// TestProfilesAreIstios compares the profiles that the CRD takes with those that Istio embeds, and the release with
// its charts: they hold a profile for compatibility with every release before their own.
func TestProfilesAreIstios(t *testing.T) {
	l, err := theLaw()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	entries, err := fs.ReadDir(manifests.FS, "profiles")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		want = append(want, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, enumOf(l, "spec.istio.profile")); diff != "" {
		t.Errorf("profiles (-Istio +CRD):\n%s", diff)
	}
	var before, patch int
	if n, err := fmt.Sscanf(Release, "1.%d.%d", &before, &patch); n != 2 || err != nil {
		t.Fatal(err)
	}
	const profiles = "charts/istio-control/istio-discovery/files/profile-compatibility-version-"
	compat := func(minor int) error {
		_, err := fs.Stat(manifests.FS, fmt.Sprintf(profiles+"1.%d.yaml", minor))
		return err
	}
	if compat(before-1) != nil || compat(before) == nil {
		t.Errorf("Release is %s, and the charts are compatible with %v", Release, must(fs.Glob(manifests.FS, profiles+"*")))
	}
}

func must[T any](v T, _ error) T { return v }

func TestDraftsLoad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Draft{
			Name: rapid.OneOf(anyText, rapid.SampledFrom([]string{"", "yes", "123", "My Shop"})).Draw(t, "name"),
			Contexts: rapid.SliceOfNDistinct(rapid.OneOf(
				rapid.StringOfN(printable, 1, 60, -1),
				rapid.SampledFrom([]string{"kind-east", "k3d-east", "east", "no", "1", "a: b", "#x", "gke_p_z_east", "arn:aws:eks:r:1:cluster/east", "u@east"}),
			), 1, 8, rapid.ID[string]).Draw(t, "contexts"),
			Shared: rapid.Bool().Draw(t, "shared"),
		}
		m, err := Load("mesh.yaml", []byte(d.Text()), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, d.Text())
		}
		var got []string
		for _, c := range m.Clusters {
			got = append(got, c.Context)
		}
		if diff := cmp.Diff(d.Contexts, got); diff != "" {
			t.Fatalf("contexts (-want +got):\n%s\n%s", diff, d.Text())
		}
		if d.Shared == m.MultiNetwork() && len(d.Contexts) > 1 {
			t.Fatalf("shared %v, networks %v", d.Shared, m.Networks())
		}
	})
}

// allFields gathers the name of every field under spec, by way of the schema.
func allFields(s *schema.Structural, into map[string]bool) {
	for _, k := range slices.Sorted(maps.Keys(s.Properties)) {
		into[k] = true
		sub := s.Properties[k]
		allFields(&sub, into)
	}
	if s.Items != nil {
		allFields(s.Items, into)
	}
}
