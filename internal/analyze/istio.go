package analyze

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"istio.io/istio/pilot/pkg/config/file"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/analysis"
	"istio.io/istio/pkg/config/analysis/analyzers"
	"istio.io/istio/pkg/config/analysis/diag"
	"istio.io/istio/pkg/config/analysis/legacy/source/kube"
	"istio.io/istio/pkg/config/analysis/legacy/util/kuberesource"
	"istio.io/istio/pkg/config/analysis/local"
	"istio.io/istio/pkg/config/analysis/msg"
	"istio.io/istio/pkg/config/resource"
	"istio.io/istio/pkg/config/schema/gvk"
	"istio.io/istio/pkg/log"
)

// istioDocs is where Istio explains its codes.
const istioDocs = "https://istio.io/latest/docs/reference/config/analysis/"

// superseded are Istio's codes that an analyser of ours replaces: it sees all clusters, knows workloads that are not
// running yet, has the place, or knows when not to speak. For IST0101 the key has what is not found.
var superseded = map[string]string{
	"IST0101 host":                             "ANA010",
	"IST0101 mirror host":                      "ANA010",
	"IST0101 host:port":                        "ANA015",
	"IST0101 host+subset in destinationrule":   "ANA011",
	"IST0101 mirror+subset in destinationrule": "ANA011",
	"IST0101 gateway":                          "ANA012",
	"IST0101 selector":                         "ANA013, ANA014",
	"IST0101 namespace":                        "ANA021",
	"IST0103":                                  "ANA042", // pods in files have no proxy yet
	"IST0112":                                  "ANA015",
	"IST0127":                                  "ANA013",
	"IST0170":                                  "ANA041",
	"IST0173":                                  "ANA017",
	"IST0174":                                  "ANA010",
	"IST0175":                                  "", // about istiod's environment, not about configuration
}

// decisive are the kinds that an analyser of Istio's judges by: without a single object of such a kind in the input
// it would call everything missing, and so does not run.
var decisive = map[config.GroupVersionKind]string{
	gvk.Service: "/Service", gvk.Pod: "/Pod", gvk.Namespace: "/Namespace", gvk.Node: "/Node", gvk.Secret: "/Secret",
	gvk.ConfigMap: "/ConfigMap", gvk.Deployment: "apps/Deployment",
	gvk.CustomResourceDefinition: "apiextensions.k8s.io/CustomResourceDefinition",
}

// istioMutex guards Istio's analysers: they keep what they read of a mesh configuration in package variables.
var istioMutex sync.Mutex

// istioOwn runs Istio's own analysers over each cluster.
func istioOwn(w *World) []Finding {
	istioMutex.Lock()
	defer istioMutex.Unlock()
	defer quiet()()
	var all []Finding
	for _, m := range w.members {
		all = append(all, w.istioOver(m)...)
	}
	return all
}

// quiet turns Istio's logging off; the function that it returns turns it on again.
func quiet() func() {
	levels := map[*log.Scope]log.Level{}
	for _, s := range log.Scopes() {
		levels[s] = s.GetOutputLevel()
		s.SetOutputLevel(log.NoneLevel)
	}
	return func() {
		for s, l := range levels {
			s.SetOutputLevel(l)
		}
	}
}

// A sourced object is one as Istio's code was given it, and where its lines are in truth.
type sourced struct {
	*Object
	places map[int]Pos
}

func (w *World) istioOver(m *member) []Finding {
	var chosen []analysis.Analyzer
	for _, a := range analyzers.All() {
		if !slices.ContainsFunc(a.Metadata().Inputs, func(k config.GroupVersionKind) bool { return decisive[k] != "" && len(m.kinds[decisive[k]]) == 0 }) {
			chosen = append(chosen, a)
		}
	}
	combined := analysis.Combine("isthmus", chosen...)
	source := file.NewKubeSource(kuberesource.ConvertInputsToSchemas(combined.Metadata().Inputs))
	var given []sourced
	for _, o := range m.Objects {
		text, places, err := written(o.Root)
		if err != nil || !feed(source, strconv.Itoa(len(given)), o, text) {
			continue
		}
		given = append(given, sourced{o, places})
	}
	if len(given) == 0 {
		return nil
	}
	messages := runIstio(combined, source)
	var all []Finding
	for i := range messages {
		if f, ok := translate(m, &messages[i], given); ok {
			all = append(all, f)
		}
	}
	return all
}

// feed gives an object to Istio's reader. What that cannot read has been found by our own analysers, or is nothing
// that it looks at; it panics on some objects of the wrong shape.
func feed(source *file.KubeSource, name string, o *Object, text []byte) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	source.SetDefaultNamespace(resource.Namespace(o.Namespace))
	return source.ApplyContent(name, string(text)) == nil
}

func runIstio(a analysis.CombinedAnalyzer, source *file.KubeSource) (found diag.Messages) {
	defer func() {
		if recover() != nil {
			found = nil
		}
	}()
	stop := make(chan struct{})
	defer close(stop)
	run := local.NewIstiodAnalyzer(a, "", rootNamespace, nil)
	run.AddSource(source)
	result, err := run.Analyze(stop)
	if err != nil {
		return nil
	}
	return result.Messages
}

// translate makes a finding of one of Istio's messages; ok is false where an analyser of ours stands in for it.
func translate(m *member, x *diag.Message, given []sourced) (Finding, bool) {
	code := x.Type.Code()
	if _, ours := superseded[code]; ours {
		return Finding{}, false
	}
	if len(x.Parameters) > 0 {
		if _, ours := superseded[fmt.Sprintf("%s %v", code, x.Parameters[0])]; ours {
			return Finding{}, false
		}
	}
	f := Finding{
		ID: code, Severity: severityOf(x.Type.Level()), Seen: oneLine(fmt.Sprintf(x.Type.Template(), x.Parameters...)),
		Do: "see " + istioDocs + strings.ToLower(code) + "/",
	}
	if x.Resource == nil {
		return f, true
	}
	at, ok := x.Resource.Origin.Reference().(*kube.Position)
	if !ok {
		return f, true
	}
	i, err := strconv.Atoi(at.Filename)
	if err != nil || i >= len(given) {
		return f, true
	}
	o := given[i]
	base := o.find(m.Name, Value{})
	base.about, base.ID, base.Severity, base.Seen, base.Do = o.Object, f.ID, f.Severity, f.Seen, f.Do
	if p, ok := o.places[cmp.Or(x.Line, at.Line)]; ok && o.File != nil {
		base.Line, base.Col = p.Line, p.Col
	}
	return base, true
}

func severityOf(l diag.Level) Severity {
	switch l {
	case diag.Error:
		return Error
	case diag.Warning:
		return Warning
	}
	return Note
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// echoRules are findings of Istio's that only say again, without a place, what one of ours has said of the same
// object, or of one that they name.
var echoRules = []struct {
	code, says string
	ours       []string
}{
	{"IST0106", "", []string{"ANA002", "ANA005", "ANA006"}},
	{"IST0132", "", []string{"ANA002", "ANA005", "ANA006", "ANA012"}},
	{"IST0133", "outlier detection", []string{"ANA030"}},
}

func echoes(all []Finding) []Finding {
	echo := func(f Finding) bool {
		for _, r := range echoRules {
			if r.code != f.ID || !strings.Contains(f.Seen, r.says) {
				continue
			}
			if slices.ContainsFunc(all, func(o Finding) bool {
				return slices.Contains(r.ours, o.ID) && o.Object != "" && (o.Object == f.Object || strings.Contains(f.Seen, " "+o.Object+"."))
			}) {
				return true
			}
		}
		return false
	}
	var kept []Finding
	for _, f := range all {
		if !echo(f) {
			kept = append(kept, f)
		}
	}
	return kept
}

// istioMessage is Istio's own words about one of its codes; ok is false for others.
func istioMessage(code string) (*diag.MessageType, bool) {
	for _, t := range msg.All() {
		if strings.EqualFold(t.Code(), code) {
			return t, true
		}
	}
	return nil, false
}
