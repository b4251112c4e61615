package mesh

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"

	"isthmus.dev/isthmus/api/v1alpha1"
)

// A Draft is what a person has to say before there is a document: which clusters, and whether they share a network.
type Draft struct {
	Name     string
	Contexts []string // of the kubeconfig, one a cluster, in the order of the document
	// Shared puts all clusters into one network: their pods reach each other without gateways.
	Shared bool
}

// Text is the document, short and commented, and loads without problems: its name made a mesh's name and the
// clusters named after their contexts.
func (d Draft) Text() string {
	var b strings.Builder
	name := Label(d.Name)
	fmt.Fprintf(&b, "# %s.\n# All that is not written here has a safe default.\n", d.Summary())
	fmt.Fprintf(&b, "apiVersion: %s\nkind: %s\nmetadata:\n  name: %s\n", v1alpha1.APIVersion, v1alpha1.Kind, quote(name))
	b.WriteString("spec:\n  clusters:\n")
	for i, cluster := range ClusterNames(d.Contexts) {
		fmt.Fprintf(&b, "  - name: %s\n    access:\n      context: %s\n", quote(cluster), quote(d.Contexts[i]))
		if d.Shared {
			fmt.Fprintf(&b, "    network: %s\n", quote(name))
		}
	}
	b.WriteString(more)
	return b.String()
}

// Summary says what the draft is: `Mesh "shop" of 2 clusters, each its own network, Istio 1.31, strict mutual TLS`.
func (d Draft) Summary() string {
	clusters, network := fmt.Sprintf("%d clusters", len(d.Contexts)), ", each its own network"
	switch {
	case len(d.Contexts) == 1:
		clusters, network = "1 cluster", ""
	case d.Shared:
		network = " in one network"
	}
	return fmt.Sprintf("Mesh %q of %s%s, Istio %s, strict mutual TLS", Label(d.Name), clusters, network, minor(Release))
}

// more is what people look for next.
const more = `  # istio:
  #   profile: minimal        # or another of Istio's; values and meshConfig take what istioctl takes
  #   meshConfig: {accessLogFile: /dev/stdout}
  # security:
  #   mtls: STRICT            # PERMISSIVE while callers outside the mesh still send plaintext
  # verify:
  #   image: HOST/isthmus:TAG # what the pods of isthmus verify run; to make one: isthmus image
`

// quote writes a text as a YAML scalar, in quotes where it needs them.
func quote(s string) string {
	n := yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if v, err := scalar(&yaml.Node{Kind: yaml.ScalarNode, Value: s}); err != nil || v != any(s) || !plainKey.MatchString(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	out, err := yaml.Marshal(&n)
	if err != nil {
		return fmt.Sprintf("%q", s)
	}
	return strings.TrimSuffix(string(out), "\n")
}
