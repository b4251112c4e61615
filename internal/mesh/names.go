package mesh

import (
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
