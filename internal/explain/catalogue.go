package explain

import (
	"fmt"
	"slices"
	"strings"
)

// Lookup finds a cause by its id or its code, whatever the case.
func Lookup(word string) (Cause, bool) {
	i := slices.IndexFunc(Causes, func(c Cause) bool { return strings.EqualFold(c.ID, word) || strings.EqualFold(c.Code, word) })
	if i < 0 {
		return Cause{}, false
	}
	return Causes[i], true
}

// Markdown is the catalogue as a page: docs/explain.md is this, and a test says so.
func Markdown(causes []Cause) string {
	var b strings.Builder
	b.WriteString(preface)
	b.WriteString("\n| id | code | breaks | cause |\n|---|---|---|---|\n")
	for _, c := range causes {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s |\n", c.ID, strings.ToLower(c.ID), c.Code, c.Link, c.Title)
	}
	for _, c := range causes {
		fmt.Fprintf(&b, "\n### %s\n\n**%s** · `%s`", c.ID, c.Title, c.Code)
		if c.Symptom {
			b.WriteString(" · a symptom: any other cause that is found comes first")
		}
		fmt.Fprintf(&b, "\n\nWhy: %s\n\nDo: %s\n", c.Why, c.Do)
	}
	return b.String()
}

const preface = `# Explain

` + "`isthmus explain demo/client@east demo/echo@west`" + ` follows a call from the caller's proxy to the callee and says what decides
each hop. The first broken link is said in one sentence, with what mends it. Nothing is written.

| hop | what decides it | read from |
|---|---|---|
| proxy | the caller's pod, its sidecar, whether the proxy takes what istiod sends | API server, istiod's syncz, the proxy's config_dump |
| name | the Service in the caller's cluster, its port and protocol | API server |
| route | table, virtual host, route; VirtualService, weights, subset, fault; Sidecar and exportTo | the proxy's config_dump |
| endpoints | which are local, which lead through the other cluster's gateway; health, ejection; remote secret, network labels | the proxy's clusters page, istiod's clusterz, API servers |
| identity | the certificate that each end shows, who signed it, when it ends, which roots each end trusts; tls of the DestinationRule, PeerAuthentication | both proxies' config_dump |
| gateway | its pods, address, port, listener, the name (SNI) that it is asked for, endpoints behind it | API server, the gateway's config_dump |
| callee | ready pods, inbound listener, whether the program listens | API server, the callee's config_dump and clusters page |
| policy | RequestAuthentication, AuthorizationPolicy: which rule allows or denies this caller, method, path, token | API server |

` + "`isthmus explain --from east --to west`" + ` asks about whole clusters: control plane, remote secret, network labels, roots, gateway.
It is what a failure of ` + "`isthmus verify`" + ` names under "Why in full".

With ` + "`--probe`" + ` a real call is made and compared with the prediction: by ` + "`/isthmus probe call`, `curl` or `wget`" + ` in a container
of the caller's own pod, or, if it has none of them, from a pod that is placed beside it for a moment under the same
service account (image: spec.verify.image). The answer says which. A call from the proxy's own container would go
round the proxy, so it is no proof.

A token (` + "`--token`" + `) is read for its claims, which are recorded with the rest; its signature is not checked, and the token itself is
never shown or recorded. What the caller of the command may not read is said to be unknown, and then no promise is made. ` + "`--record FILE`" + ` keeps what was read (no private key is in it), and
` + "`--replay FILE`" + ` judges it again without a cluster. Exit 4 means that a link is broken.

Not judged: EnvoyFilter, WasmPlugin and external authorisation (action CUSTOM); ambient mode; egress gateways; a route
that sends only a part of its calls to a destination without endpoints is judged by its largest part.

## Causes

The same text at a prompt: ` + "`isthmus help EXP030`, or by its code: `isthmus help remote-secret-missing`" + `.
This page is made from the table in internal/explain; change it there.
`
