package mesh

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

// rules fills in the CRD's defaults and asks everything that an API server asks of the custom resource: values,
// list keys, CEL. What the server would say is said in words that fit a file.
func (j *judge) rules(doc map[string]any) {
	defaulting.Default(doc, j.law.shape)
	errs := validation.ValidateCustomResource(nil, doc, j.law.values)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, j.law.shape, doc)...)
	written := map[string]bool{}
	for path := range j.vals {
		written[generic(path)] = true
	}
	broken, _ := j.law.rules(written).Validate(context.Background(), nil, j.law.shape, doc, nil, celconfig.RuntimeCELCostBudget)
	var unasked field.ErrorList
	for _, e := range broken {
		if j.law.messages[e.Detail] {
			errs = append(errs, e)
		} else {
			unasked = append(unasked, e)
		}
	}
	// Schema validation walks maps; a list of problems has one order.
	slices.SortStableFunc(errs, func(a, b *field.Error) int { return cmp.Compare(a.Field, b.Field) })
	for _, e := range errs {
		j.rule(doc, e)
	}
	// A rule that cannot be asked (no such key, no duration) is the echo of a problem that has been found already.
	if len(j.found) == 0 {
		for _, e := range unasked {
			j.rule(doc, e)
		}
	}
}

// rule turns one refusal of the API server's code into a problem.
func (j *judge) rule(doc map[string]any, e *field.Error) {
	path := e.Field
	if path == "<nil>" {
		path = ""
	}
	w := words[e.Detail]
	if w.path != "" {
		path = w.path
	}
	if j.spoiled(path) {
		return
	}
	message, hint := j.words(path, lookup(doc, path), e)
	if w.hint != nil {
		value := fmt.Sprint(lookup(doc, path))
		if hint = w.hint(value); hint == "try "+value {
			hint = ""
		}
	}
	j.refuse(j.value(path), path, message, hint)
}

// words says what is wrong with a value, and what to do where that can be told.
func (j *judge) words(path string, v any, e *field.Error) (message, hint string) {
	seen := quoted(v)
	switch e.Type {
	case field.ErrorTypeNotSupported:
		have := enumOf(j.law, path)
		return seen + " is none of its values", didYouMean(fmt.Sprint(v), have)
	case field.ErrorTypeDuplicate:
		if _, isMap := v.(map[string]any); !isMap {
			return seen + " is there twice", "take one out"
		}
		name := fmt.Sprint(at(v, "name"))
		list := parent(path)
		what := map[string]string{"spec.clusters": "clusters", "spec.access.rules": "rules", "spec.identity.jwt": "issuers"}[list]
		return fmt.Sprintf("two %s are called %q; the first is in line %d", what, name, j.firstNamed(list, name)), "names are unique in a mesh"
	case field.ErrorTypeTooLong:
		message = fmt.Sprintf("%s has %d characters, and may have %s", seen, len(fmt.Sprint(v)), numbers.FindString(e.Detail))
		if generic(path) == "spec.clusters[].name" {
			hint = "try " + ClusterName(fmt.Sprint(v))
		}
		return message, hint
	case field.ErrorTypeTypeInvalid, field.ErrorTypeRequired:
		return "is missing", ""
	}
	switch detail := e.Detail; {
	case strings.Contains(detail, "should match") && patterns[generic(path)] != "":
		return seen + " " + patterns[generic(path)], ""
	case strings.Contains(detail, "should match"):
		return seen + " is no duration: whole hours, minutes and seconds, such as 2160h or 1h30m", durationHint(fmt.Sprint(v))
	case strings.Contains(detail, "should be at least") && v == "":
		return "is empty", cmp.Or(missing[strings.TrimPrefix(generic(path), "spec.")], "write a value, or take the field out")
	case strings.Contains(detail, "should have at least"):
		return "is an empty list", missing[strings.TrimPrefix(generic(path), "spec.")]
	case strings.Contains(detail, " in body "):
		_, detail, _ = strings.Cut(detail, " in body ")
		return seen + " " + detail, ""
	case seen == "it":
		return detail, ""
	default:
		return seen + ": " + detail, ""
	}
}

// patterns say in words what a field must look like; without an entry it is a duration.
var patterns = map[string]string{
	"spec.access.rules[].methods[]":                `is no HTTP method: capital letters, such as GET`,
	"spec.access.rules[].paths[]":                  `is no path: it begins with "/", and may have one "*", at its end; or it begins with "*", and has no other`,
	"spec.access.rules[].from[].serviceAccounts[]": `is no service account's name: lower-case letters, digits, "-" and "."`,
}

var numbers = regexp.MustCompile(`\d+`)

// meshName is the message of the CRD's rule for the mesh's name.
const meshName = `a mesh's name is a label value and a part of object names: lower-case letters, digits and "-", at most 63`

// words by the message of a rule: which field it is about, where the rule itself cannot say, and a hint made from
// the value.
var words = map[string]struct {
	path string
	hint func(value string) string
}{
	meshName: {
		path: "metadata.name", hint: func(v string) string { return tryName(v, 63) },
	},
	`a cluster's name is a DNS label: lower-case letters, digits and "-", a letter or digit at both ends`: {
		hint: func(v string) string { return "try " + ClusterName(v) },
	},
	`a namespace's name is a DNS label: lower-case letters, digits and "-", a letter or digit at both ends`: {
		hint: func(v string) string { return tryName(v, 63) },
	},
	`a trust domain is a name such as cluster.local: lower-case letters, digits, ".", "-" and "_"`: {
		hint: func(v string) string {
			domain, _, _ := strings.Cut(strings.TrimPrefix(v, "spiffe://"), "/")
			return "try " + strings.ToLower(domain)
		},
	},
	`a revision is a DNS label, such as 1-31-1 or canary: lower-case letters, digits and "-"`: {
		hint: func(v string) string { return tryName(v, 48) },
	},
	"an intermediate cannot be valid for longer than the root that signs it": {
		hint: func(string) string { return "shorten it, or lengthen spec.trust.root.selfSigned.ttl" },
	},
	`a hub is HOST/PATH, without a scheme and without a "/" at its end`: {
		hint: func(v string) string { return "try " + bare(v) },
	},
	"an image is HOST/PATH:TAG, without a scheme": {
		hint: func(v string) string { return "try " + bare(strings.TrimSpace(v)) },
	},
	"an API server's address is https://HOST or https://HOST:PORT": {
		hint: func(v string) string {
			if _, rest, ok := strings.Cut(v, "://"); ok {
				v = rest
			}
			return "try https://" + strings.TrimSpace(v)
		},
	},
}

func bare(v string) string {
	if _, rest, ok := strings.Cut(v, "://"); ok {
		v = rest
	}
	return strings.Trim(v, "/")
}

func tryName(v string, longest int) string {
	if safe := dnsLabel(v, longest); safe != "" {
		return "try " + safe
	}
	return ""
}

var days = regexp.MustCompile(`^(\d{1,5})\s*(d|days?)$`)

func durationHint(v string) string {
	if m := days.FindStringSubmatch(strings.ToLower(v)); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil { // five digits at most are a number
			return ""
		}
		return fmt.Sprintf("there are no days in it; try %dh", 24*n)
	}
	return ""
}

// enumOf are the values that a field may have.
func enumOf(l *law, path string) []string {
	s := l.at(path)
	if s == nil || s.ValueValidation == nil {
		return nil
	}
	var have []string
	for _, v := range s.ValueValidation.Enum {
		have = append(have, fmt.Sprint(v.Object))
	}
	return have
}

// firstNamed is the line of the first item of a name in a list.
func (j *judge) firstNamed(list, name string) int {
	items, _ := lookup(j.root, list).([]any)
	for i, x := range items {
		if at(x, "name") == name {
			return j.value(item(list, i) + ".name").line
		}
	}
	return 0
}

// quoted is a value as a message shows it.
func quoted(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case map[string]any, []any, nil:
		return "it"
	default:
		return fmt.Sprint(v)
	}
}
