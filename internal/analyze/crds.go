package analyze

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"istio.io/istio/manifests"
	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// crdFile holds Istio's own CRDs, as its charts install them.
const crdFile = "charts/base/files/crd-all.gen.yaml"

// A crd is one of Istio's kinds: which versions of it are served, and the schema of each as text. A schema is read
// when an object of its kind is first seen: all of them are a megabyte.
type crd struct {
	group, kind string
	versions    []string // newest first, as the file has them
	texts       map[string]string
	laws        map[string]*law
}

// latest is the version to write.
func (c *crd) latest() string {
	if slices.Contains(c.versions, "v1") {
		return "v1"
	}
	return c.versions[0]
}

// A law is a schema made ready to judge: the code that an API server runs over a custom resource.
type law struct {
	shape  *schema.Structural
	values validation.SchemaValidator
	rules  *cel.Validator
}

var (
	crdGroup   = regexp.MustCompile(`(?m)^  group: (\S+)$`)
	crdKind    = regexp.MustCompile(`(?m)^    kind: (\S+)$`)
	crdVersion = regexp.MustCompile(`(?m)^  (?:- |  )name: (v\S+)$`)
	crdItem    = regexp.MustCompile(`(?m)^  - (?:additionalPrinterColumns:|name: v)`)
)

// crds are Istio's kinds by "group/kind".
var crds = sync.OnceValues(func() (map[string]*crd, error) {
	data, err := manifests.FS.ReadFile(crdFile)
	if err != nil {
		return nil, fmt.Errorf("read Istio's CRDs: %w", err)
	}
	all := map[string]*crd{}
	for doc := range strings.SplitSeq(string(data), "\n---\n") {
		group, kind := crdGroup.FindStringSubmatch(doc), crdKind.FindStringSubmatch(doc)
		if group == nil || kind == nil {
			continue
		}
		c := &crd{group: group[1], kind: kind[1], texts: map[string]string{}, laws: map[string]*law{}}
		starts := crdItem.FindAllStringIndex(doc, -1)
		for i, s := range starts {
			end := len(doc)
			if i+1 < len(starts) {
				end = starts[i+1][0]
			}
			item := doc[s[0]:end]
			if name := crdVersion.FindStringSubmatch(item); name != nil {
				c.versions = append(c.versions, name[1])
				c.texts[name[1]] = item
			}
		}
		if len(c.versions) == 0 {
			return nil, fmt.Errorf("read Istio's CRDs: %s has no version", kind[1])
		}
		all[c.group+"/"+c.kind] = c
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("read Istio's CRDs: there is none in %s", crdFile)
	}
	return all, nil
})

// crdOf is an object's kind; nil where it is none of Istio's.
func crdOf(o *Object) *crd {
	all, err := crds()
	if err != nil {
		return nil
	}
	return all[o.Group+"/"+o.Kind]
}

// istioKinds are the names of Istio's kinds in a group.
func istioKinds(group string) []string {
	all, err := crds()
	if err != nil {
		return nil
	}
	var names []string
	for _, c := range all {
		if c.group == group {
			names = append(names, c.kind)
		}
	}
	return slices.Sorted(slices.Values(names))
}

// istioGroups are the API groups of Istio's kinds.
var istioGroups = sync.OnceValue(func() []string {
	all, err := crds()
	if err != nil {
		return nil
	}
	groups := map[string]bool{}
	for _, c := range all {
		groups[c.group] = true
	}
	return slices.Sorted(maps.Keys(groups))
})

var lawMutex sync.Mutex

// law is the schema of a version, or of the latest where that version is not served.
func (c *crd) law(version string) (*law, error) {
	lawMutex.Lock()
	defer lawMutex.Unlock()
	if c.texts[version] == "" {
		version = c.latest()
	}
	if l := c.laws[version]; l != nil {
		return l, nil
	}
	var versions []apiextv1.CustomResourceDefinitionVersion
	rest := c.texts[version]
	if i := strings.Index(rest, "\nstatus:"); i >= 0 {
		rest = rest[:i]
	}
	if err := yaml.Unmarshal([]byte(rest), &versions); err != nil {
		return nil, fmt.Errorf("read the schema of %s: %w", c.kind, err)
	}
	var props apiext.JSONSchemaProps
	err := apiextv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(versions[0].Schema.OpenAPIV3Schema, &props, nil)
	if err != nil {
		return nil, fmt.Errorf("read the schema of %s: %w", c.kind, err)
	}
	shape, err := schema.NewStructural(&props)
	if err != nil {
		return nil, fmt.Errorf("read the schema of %s: %w", c.kind, err)
	}
	values, _, err := validation.NewSchemaValidator(&props)
	if err != nil {
		return nil, fmt.Errorf("read the schema of %s: %w", c.kind, err)
	}
	l := &law{shape: shape, values: values, rules: cel.NewValidator(shape, true, celconfig.PerCallLimit)}
	c.laws[version] = l
	return l, nil
}
