package mesh

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"isthmus.dev/isthmus/api/v1alpha1"
)

// OCI begins a reference to charts in a registry.
const OCI = "oci://"

// istioOf is the Istio of a cluster: the mesh's with the cluster's own laid over it. Set is appended, since what is
// set later wins. Defaults:
//
//	version       Release; of charts in a folder or an archive, what they are of (filled in when they are read)
//	hub           DefaultHub
//	tag           the version, or Release where it names none of the patches ("1.31"); with other charts theirs
//	revision      none
//
// A cluster's version chooses its tag before the mesh's tag does: it would not be another version otherwise.
func istioOf(all v1alpha1.Istio, own v1alpha1.ClusterIstio, source string) Istio {
	i := Istio{
		Version:          cmp.Or(own.Version, all.Version),
		Profile:          cmp.Or(own.Profile, all.Profile),
		Hub:              cmp.Or(own.Hub, all.Hub, DefaultHub),
		Revision:         revisionOf(all, own),
		ImagePullSecrets: slices.Clone(all.ImagePullSecrets),
		Values:           Merge(object(all.Values), object(own.Values)),
		MeshConfig:       Merge(object(all.MeshConfig), object(own.MeshConfig)),
		Set:              slices.Concat(all.Set, own.Set),
	}
	if own.ImagePullSecrets != nil {
		i.ImagePullSecrets = slices.Clone(own.ImagePullSecrets)
	}
	if from := cmp.Or(own.Charts, all.Charts); from != "" {
		if !strings.HasPrefix(from, OCI) {
			from = beside(source, from)
		}
		i.Charts = Charts{From: from, Digests: digestsOf(all.ChartDigests)}
		if own.Charts != "" || own.ChartDigests != (v1alpha1.ChartDigests{}) {
			i.Charts.Digests = digestsOf(own.ChartDigests) // other charts have other digests
		}
	}
	switch {
	case i.Charts.From == "":
		i.Version = cmp.Or(i.Version, Release)
	case strings.HasPrefix(i.Charts.From, OCI) && i.Version == "":
		i.Version = releaseOf(i.Charts.From)
	}
	i.Tag = tagOf(all, own, i)
	return i
}

// Archive is the name under which the digest of a release archive stands among those of charts.
const Archive = "archive"

// digestsOf are the digests that are there, by the name of the chart.
func digestsOf(d v1alpha1.ChartDigests) map[string]string {
	all := map[string]string{Archive: d.Archive, "base": d.Base, "istiod": d.Istiod, "cni": d.CNI, "ztunnel": d.Ztunnel}
	maps.DeleteFunc(all, func(_, digest string) bool { return digest == "" })
	if len(all) == 0 {
		return nil
	}
	return all
}

// releaseOf is the release that a reference to charts in a registry asks for by its tag, else this program's.
func releaseOf(reference string) string {
	if at := strings.LastIndex(reference, ":"); at > strings.LastIndex(reference, "/") {
		if v := reference[at+1:]; isRelease(v) {
			return v
		}
	}
	return Release
}

// isRelease tells whether a text is a release with its patch: "1.31.1".
func isRelease(v string) bool {
	return strings.Count(v, ".") == 2 && strings.Trim(v, "0123456789.") == ""
}

// tagOf is the tag of a cluster's images; "" where it is for the charts to say.
func tagOf(all v1alpha1.Istio, own v1alpha1.ClusterIstio, i Istio) string {
	version := cmp.Or(own.Version, i.Version)
	switch {
	case own.Tag != "":
		return own.Tag
	case own.Version == "" && all.Tag != "":
		return all.Tag
	case isRelease(version):
		return version
	case i.Charts.From != "":
		return ""
	}
	return Release
}

// revisionOf is the revision of a cluster's control plane, wherever the document says it: in its own field, or in one
// of the two places where istioctl takes it. That these agree is looked at by agree.
func revisionOf(all v1alpha1.Istio, own v1alpha1.ClusterIstio) string {
	revision := cmp.Or(own.Revision, all.Revision, revisionIn(object(own.Values), own.Set), revisionIn(object(all.Values), all.Set))
	if revision == defaultRevision {
		return ""
	}
	return revision
}

// defaultRevision is what Istio calls the revision of a control plane that has none.
const defaultRevision = "default"

func revisionIn(values map[string]any, set []string) string {
	revision, _ := values["revision"].(string)
	for _, s := range set {
		path, v, _ := strings.Cut(s, "=")
		if path = strings.TrimSpace(path); path == "revision" || path == "values.revision" {
			revision = strings.TrimSpace(v)
		}
	}
	return revision
}
