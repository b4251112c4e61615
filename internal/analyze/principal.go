package analyze

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// principals are the identities that a cluster's AuthorizationPolicies name, wherever they may be written.
func (w *World) principals(do func(m *member, o *Object, v Value, not bool)) {
	w.each(security, "AuthorizationPolicy", func(m *member, o *Object) {
		for _, rule := range o.Spec("rules").Items() {
			for _, from := range rule.Get("from").Items() {
				for _, v := range from.Get("source", "principals").Items() {
					do(m, o, v, false)
				}
				for _, v := range from.Get("source", "notPrincipals").Items() {
					do(m, o, v, true)
				}
			}
			for _, when := range rule.Get("when").Items() {
				if when.Get("key").Str() != "source.principal" {
					continue
				}
				for _, v := range when.Get("values").Items() {
					do(m, o, v, false)
				}
				for _, v := range when.Get("notValues").Items() {
					do(m, o, v, true)
				}
			}
		}
	})
}

// An identity is what a workload's certificate says: domain/ns/namespace/sa/account. In a pattern that begins or
// ends with "*" the parts at the open end are empty.
type identity struct{ domain, ns, account string }

func (i identity) String() string { return i.domain + "/ns/" + i.ns + "/sa/" + i.account }

var label = regexp.MustCompile(`^[a-zA-Z0-9]([-a-zA-Z0-9._]*[a-zA-Z0-9])?$`)

// readIdentity reads a principal as Istio matches it: exactly, or with "*" at one end (AuthorizationPolicy's
// reference, Source). ok is false where no identity of the form domain/ns/NAMESPACE/sa/ACCOUNT can match.
func readIdentity(s string) (i identity, ok bool) {
	if s == "*" {
		return i, true
	}
	before, after := strings.HasPrefix(s, "*"), strings.HasSuffix(s, "*")
	if before && after {
		return i, false
	}
	parts := strings.Split(strings.Trim(s, "*"), "/")
	want := []string{"", "ns", "", "sa", ""}
	if len(parts) > len(want) {
		return i, false
	}
	from := 0
	switch {
	case before:
		from = len(want) - len(parts)
	case !after && len(parts) != len(want):
		return i, false
	}
	got := make([]string, len(want))
	for n, p := range parts {
		k := from + n
		open := before && n == 0 || after && n == len(parts)-1
		switch {
		case want[k] != "" && p != want[k]:
			if !open || before && !strings.HasSuffix(want[k], p) || after && !strings.HasPrefix(want[k], p) {
				return i, false
			}
		case want[k] == "" && !open && !label.MatchString(p):
			return i, false
		case want[k] == "" && !open:
			got[k] = p
		}
	}
	return identity{got[0], got[2], got[4]}, true
}

// notIdentity finds principals that no workload of the mesh can have.
func notIdentity(w *World) []Finding {
	var all []Finding
	w.principals(func(m *member, o *Object, v Value, not bool) {
		text := v.Str()
		if text == "" {
			return
		}
		i, ok := readIdentity(text)
		foreign := ok && i.domain != "" && w.trust.known && !w.trust.has(i.domain)
		if ok && !foreign {
			return
		}
		f := o.find(m.Name, v)
		f.Seen = fmt.Sprintf("the principal %q is no SPIFFE identity (%s/ns/NAMESPACE/sa/ACCOUNT): %s", text, w.trust.domain, consequence(o, not))
		meant, evidence, sure := w.meant(m, text)
		if foreign {
			f.Seen = fmt.Sprintf("the principal %q is of the trust domain %s, and the mesh's is %s: %s", text, i.domain, w.trust.domain, consequence(o, not))
			f.Evidence = w.trust.source
			meant, sure = w.trust.domain+strings.TrimPrefix(text, i.domain), false
		}
		if evidence != "" {
			f.Evidence = evidence
		}
		f.Do = "write the identity of the caller: TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT"
		if meant != "" {
			f.Do = "write " + meant
			if !sure {
				f.Do = "probably meant: " + meant
			}
			f.Fix = o.replace(v, meant, !sure)
		}
		all = append(all, f)
	})
	return all
}

// consequence says what becomes of a policy one of whose principals nobody has.
func consequence(o *Object, not bool) string {
	action := o.Spec("action").Str()
	switch {
	case not && action == "DENY":
		return "nobody is exempt by it, so everyone is refused"
	case not:
		return "nobody is shut out by it"
	case action == "DENY":
		return "it matches nobody, so nobody is refused"
	case action == "AUDIT" || action == "CUSTOM":
		return "it matches nobody"
	}
	return "it matches nobody, so it lets nobody in"
}

var (
	spiffe       = regexp.MustCompile(`^spiffe://([^/]+/ns/[^/]+/sa/[^/]+)$`)
	kubeAccount  = regexp.MustCompile(`^system:serviceaccount:([^:/]+):([^:/]+)$`)
	noDomain     = regexp.MustCompile(`^/?ns/([^/]+)/sa/([^/]+)$`)
	otherWords   = regexp.MustCompile(`^([^/]+)/(?:ns|namespace|namespaces)/([^/]+)/(?:sa|serviceaccount|serviceaccounts|service-account)/([^/]+)$`)
	slashed      = regexp.MustCompile(`^([a-z0-9][-a-z0-9]*)/([a-z0-9][-a-z0-9.]*)$`)
	dottedName   = regexp.MustCompile(`^([a-z0-9][-a-z0-9]*)\.([a-z0-9][-a-z0-9]*)(?:\.svc(?:\.[-a-z0-9.]+)?)?$`)
	plainAccount = regexp.MustCompile(`^[a-z0-9][-a-z0-9]*$`)
)

// meant is the identity that somebody most likely had in mind, on what that rests, and whether it is sure: the text
// says it in other words, or names a workload that was read.
func (w *World) meant(m *member, text string) (id, evidence string, sure bool) {
	domain := w.trust.domain
	if x := spiffe.FindStringSubmatch(text); x != nil {
		return x[1], "principals are written without spiffe://", true
	}
	for _, form := range []*regexp.Regexp{kubeAccount, noDomain} {
		if x := form.FindStringSubmatch(text); x != nil {
			return identity{domain, x[1], x[2]}.String(), "", true
		}
	}
	if x := otherWords.FindStringSubmatch(text); x != nil {
		return identity{x[1], x[2], x[3]}.String(), "", true
	}
	accounts := w.accounts()
	if x := slashed.FindStringSubmatch(text); x != nil {
		id := identity{domain, x[1], x[2]}
		return id.String(), accounts[id.ns+"/"+id.account], accounts[id.ns+"/"+id.account] != ""
	}
	if x := dottedName.FindStringSubmatch(text); x != nil {
		host := hostOf(x[1], x[2])
		runs := map[string]string{}
		for _, pod := range w.workloadsOf(host) {
			runs[pod.account] = where(pod.Object, pod.pod.Get("serviceAccountName"))
		}
		if len(runs) == 1 {
			account := slices.Sorted(maps.Keys(runs))[0]
			return identity{domain, x[2], account}.String(), fmt.Sprintf("it is a host name, and the pods of that host run as %s: %s", account, runs[account]), true
		}
		id := identity{domain, x[2], x[1]}
		seen := accounts[x[2]+"/"+x[1]]
		return id.String(), "it is a host name; read as service account " + x[1] + " in namespace " + x[2], seen != ""
	}
	if plainAccount.MatchString(text) {
		var found []string
		for _, k := range slices.Sorted(maps.Keys(accounts)) {
			if ns, account, _ := strings.Cut(k, "/"); account == text {
				found = append(found, identity{domain, ns, account}.String())
			}
		}
		if len(found) == 1 {
			return found[0], "the only service account of that name that was read", true
		}
	}
	return "", "", false
}

// accounts are the service accounts of the input, "namespace/name", with where each was seen.
func (w *World) accounts() map[string]string {
	all := map[string]string{}
	for _, ns := range slices.Sorted(maps.Keys(w.workloads)) {
		for _, x := range w.workloads[ns] {
			all[ns+"/"+x.account] = where(x.Object, x.pod.Get("serviceAccountName"))
		}
	}
	w.each("", "ServiceAccount", func(_ *member, o *Object) { all[o.Namespace+"/"+o.Name] = where(o, Value{}) })
	return all
}

// nobodysIdentity finds principals of the right form that no workload runs as, where the workloads of their
// namespace were read.
func nobodysIdentity(w *World) []Finding {
	var all []Finding
	accounts := w.accounts()
	w.principals(func(m *member, o *Object, v Value, not bool) {
		i, ok := readIdentity(v.Str())
		if !ok || i.ns == "" || i.account == "" || systemSpace(i.ns) || i.domain != "" && !w.trust.has(i.domain) || accounts[i.ns+"/"+i.account] != "" {
			return
		}
		var here []string
		for _, k := range slices.Sorted(maps.Keys(accounts)) {
			if ns, account, _ := strings.Cut(k, "/"); ns == i.ns {
				here = append(here, account)
			}
		}
		spaces := slices.Collect(maps.Keys(w.workloads))
		f := o.find(m.Name, v)
		prefix := strings.TrimSuffix(v.Str(), i.ns+"/sa/"+i.account)
		if len(here) == 0 {
			ns, ok := near(i.ns, spaces)
			if !ok || accounts[ns+"/"+i.account] == "" {
				return
			}
			f.Seen = fmt.Sprintf("no workload was read in a namespace %s: %s", i.ns, consequence(o, not))
			f.Evidence = accounts[ns+"/"+i.account]
			f.Do = "probably meant: " + prefix + ns + "/sa/" + i.account
			f.Fix = o.replace(v, prefix+ns+"/sa/"+i.account, true)
			all = append(all, f)
			return
		}
		f.Seen = fmt.Sprintf("no workload of namespace %s runs as %s: %s", i.ns, i.account, consequence(o, not))
		f.Evidence = "service accounts in use there: " + strings.Join(few(here, 6), ", ")
		f.Do = "name one of them, or create the service account"
		if name, ok := near(i.account, here); ok {
			f.Do = "probably meant: " + prefix + i.ns + "/sa/" + name
			f.Fix = o.replace(v, prefix+i.ns+"/sa/"+name, true)
		}
		all = append(all, f)
	})
	return all
}
