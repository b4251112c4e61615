package mesh

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// maxClusterName is the longest name of a cluster, see v1alpha1.Cluster.
const maxClusterName = 43

// dnsLabel is the nearest DNS label to a text: lower-case letters, digits and "-", a letter or digit at both ends,
// no longer than longest. It is empty where nothing of the text is left.
func dnsLabel(text string, longest int) string {
	var b strings.Builder
	dash := false
	for _, r := range text {
		r = unicode.ToLower(r)
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			if dash && b.Len() > 0 {
				b.WriteByte('-')
			}
			dash = false
			b.WriteRune(r)
			continue
		}
		dash = true
	}
	label := b.String()
	return strings.Trim(label[:min(len(label), longest)], "-")
}

// Label is the nearest name for a mesh to a text, such as the name of a folder; "mesh" where nothing of it is left.
func Label(text string) string { return cmp.Or(dnsLabel(text, 63), "mesh") }

// contextForms are the names that well-known tools give to kubeconfig contexts, and the cluster's own name in them.
var contextForms = []*regexp.Regexp{
	regexp.MustCompile(`^arn:aws[^:]*:eks:[^:]*:[^:]*:cluster/(.+)$`), // aws eks update-kubeconfig
	regexp.MustCompile(`^gke_[^_]+_[^_]+_(.+)$`),                      // gcloud container clusters get-credentials
	regexp.MustCompile(`^[^/]+/api-([^/:]+):\d+/[^/]+$`),              // oc login: namespace/server/user
	regexp.MustCompile(`^[^@]+@([^.@]+)\.[^.@]+\.eksctl\.io$`),        // eksctl: user@cluster.region.eksctl.io
	regexp.MustCompile(`^[^@]+@(.+)$`),                                // kubeadm and others: user@cluster
	regexp.MustCompile(`^(?:kind|k3d)-(.+)$`),                         // kind, k3d
}

// ClusterName is a good name for the cluster of a kubeconfig context: the cluster's own name in it, where a
// well-known tool named the context, made a DNS label of at most 43 characters.
func ClusterName(context string) string {
	for _, form := range contextForms {
		if m := form.FindStringSubmatch(context); m != nil {
			if name := dnsLabel(m[1], maxClusterName); name != "" {
				return name
			}
		}
	}
	return cmp.Or(dnsLabel(context, maxClusterName), "cluster")
}

// ClusterNames are good names for the clusters of several contexts, no two of them the same. Where short names would
// be, the whole contexts are used, and numbers where that does not help.
func ClusterNames(contexts []string) []string {
	count := map[string]int{}
	for _, c := range contexts {
		count[ClusterName(c)]++
	}
	taken := map[string]bool{}
	names := make([]string, 0, len(contexts))
	for _, c := range contexts {
		name := ClusterName(c)
		if count[name] > 1 {
			name = cmp.Or(dnsLabel(c, maxClusterName), name)
		}
		base := name
		for n := 2; taken[name]; n++ {
			number := fmt.Sprintf("-%d", n)
			name = strings.TrimRight(base[:min(len(base), maxClusterName-len(number))], "-") + number
		}
		taken[name] = true
		names = append(names, name)
	}
	return names
}
