package mesh

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/api/v1alpha1"
)

// What resources, access and identity say against the rest of a document.

// DryRunProvider is the access log that proxies write while spec.access.mode is dryRun: of calls that would have been
// refused, and of no others.
const DryRunProvider = "isthmus-dry-run"

// noField are hints for fields that somebody may look for and that cannot be, by generic path.
var noField = map[string]string{
	"spec.access.rules[].from[].clusters": "a certificate names namespace and service account, not a cluster, and Istio takes all trust domains of " +
		"a mesh for one: give callers of different clusters service accounts of different names (docs/access.md)",
	"spec.access.rules[].to.serviceAccounts": "Istio finds the called by labels: to.selector",
	"spec.access.rules[].to.service":         "write the labels that the Service selects: to.selector",
}

// places looks at everything in resources and access that names clusters.
func (j *judge) places(doc v1alpha1.Mesh) {
	var names []string
	for _, c := range doc.Spec.Clusters {
		names = append(names, c.Name)
	}
	look := func(path string, list []string) {
		for i, name := range list {
			if !slices.Contains(names, name) {
				j.say(item(path, i), fmt.Sprintf("there is no cluster %q", name), didYouMean(name, names))
			}
		}
	}
	for i, r := range doc.Spec.Resources {
		look(item("spec.resources", i)+".clusters", r.Clusters)
	}
	for i, r := range doc.Spec.Access.Rules {
		look(item("spec.access.rules", i)+".to.clusters", r.To.Clusters)
	}
}

// tokens looks at issuers, and at rules that ask for their tokens.
func (j *judge) tokens(doc v1alpha1.Mesh) {
	var names []string
	first := map[string]int{}
	for i, iss := range doc.Spec.Identity.JWT {
		path := item("spec.identity.jwt", i)
		names = append(names, iss.Name)
		if before, taken := first[iss.Issuer]; taken && iss.Issuer != "" {
			j.say(path+".issuer", fmt.Sprintf("%q is the issuer of %s too: %s", iss.Issuer, doc.Spec.Identity.JWT[before].Name,
				j.cite(item("spec.identity.jwt", before)+".issuer")), "name an issuer once, with all its audiences")
		}
		first[iss.Issuer] = i
		if iss.JWKS != "" {
			if why := keysOnly(iss.JWKS); why != "" {
				j.say(path+".jwks", why, `only public keys belong here: {"keys": [{"kty": "RSA", "kid": ..., "n": ..., "e": ...}]}`)
			}
		}
	}
	for i, r := range doc.Spec.Access.Rules {
		if r.Token == nil || slices.Contains(names, r.Token.Issuer) {
			continue
		}
		hint := didYouMean(r.Token.Issuer, names)
		if len(names) == 0 {
			hint = "name one under spec.identity.jwt"
		}
		j.say(item("spec.access.rules", i)+".token.issuer", fmt.Sprintf("there is no issuer %q", r.Token.Issuer), hint)
	}
}

// keysOnly says what is wrong with a set of keys, without repeating any of it: who mistakes a private key for a
// public one has a secret there.
func keysOnly(jwks string) string {
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal([]byte(jwks), &set); err != nil {
		return "is no JSON"
	}
	if len(set.Keys) == 0 {
		return "holds no keys"
	}
	for _, k := range set.Keys {
		for _, secret := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} { // RFC 7518, section 6
			if _, has := k[secret]; has {
				return "holds a private key"
			}
		}
	}
	return ""
}

// withDryRun is a mesh configuration that knows the access log of dry runs. No identity, no credential and no query of
// a call is written but the caller's SPIFFE name.
func withDryRun(meshConfig map[string]any) map[string]any {
	out := Merge(meshConfig, map[string]any{})
	providers, _ := out["extensionProviders"].([]any)
	out["extensionProviders"] = append(slices.Clone(providers), map[string]any{
		"name": DryRunProvider,
		"envoyFileAccessLog": map[string]any{
			"path": "/dev/stdout",
			"logFormat": map[string]any{"labels": map[string]any{
				"log":    DryRunProvider,
				"time":   "%START_TIME%",
				"caller": "%DOWNSTREAM_PEER_URI_SAN%",
				"port":   "%DOWNSTREAM_LOCAL_PORT%",
				"method": "%REQ(:METHOD)%",
				"path":   "%PATH(NQ)%",
			}},
		},
	})
	return out
}

// DryRun tells whether access rules only show what they would refuse.
func (m Mesh) DryRun() bool { return m.Access.Mode == "dryRun" }

// AsksAccess tells whether the document says anything about who may call what.
func (m Mesh) AsksAccess() bool { return m.Access.Default == "deny" || len(m.Access.Rules) > 0 }

// Issuer finds an issuer by the name that rules use.
func (m Mesh) Issuer(name string) (v1alpha1.JWTIssuer, bool) {
	i := slices.IndexFunc(m.JWT, func(x v1alpha1.JWTIssuer) bool { return x.Name == name })
	if i < 0 {
		return v1alpha1.JWTIssuer{}, false
	}
	return m.JWT[i], true
}

// resources are the document's, with paths as seen from the current folder.
func resources(list []v1alpha1.Resource, source string) []v1alpha1.Resource {
	out := slices.Clone(list)
	for i := range out {
		out[i].Path = beside(source, strings.TrimSpace(out[i].Path))
	}
	return out
}
