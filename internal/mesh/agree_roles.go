package mesh

import (
	"cmp"
	"fmt"
	"slices"

	"isthmus.dev/isthmus/api/v1alpha1"
)

// What one cluster says of the istiod of another.

// controlPlanes looks whether every cluster that is served from elsewhere names a primary, and whether others can
// reach what serves them.
func (j *judge) controlPlanes(spec v1alpha1.MeshSpec) {
	at := map[string]int{}
	names := make([]string, 0, len(spec.Clusters))
	for i, c := range spec.Clusters {
		at[c.Name] = i
		names = append(names, c.Name)
	}
	primaries, elsewhere := 0, ""
	for i, c := range spec.Clusters {
		field, of := servedBy(c)
		if of == "" {
			primaries++
			continue
		}
		path := item("spec.clusters", i) + ".controlPlane." + field
		elsewhere = path
		k, known := at[of]
		switch {
		case j.spoiled(path) || of == c.Name: // the CRD's rule says so
		case field == "externalAt" && spec.Trust.Root.Existing != nil:
			j.say(path, fmt.Sprintf("an external istiod's certificates are beside it, and %s has every cluster bring its own", j.cite("spec.trust.root.existing")),
				"let Isthmus make them: spec.trust.root: {selfSigned: {}}")
		case !known:
			j.say(path, fmt.Sprintf("there is no cluster %q", of), didYouMean(of, names))
		default:
			j.primary(path, c, spec.Clusters[k], k, spec.Clusters[at[cmp.Or(spec.Clusters[k].ControlPlane.RemoteOf, of)]])
		}
	}
	if primaries == 0 && elsewhere != "" && len(j.found) == 0 {
		j.say(elsewhere, "no cluster is a primary, so nobody has an istiod", "take controlPlane out of one of them")
	}
	if t := spec.Gateways.EastWest.ServiceType; elsewhere != "" && t == "NodePort" {
		j.say("spec.gateways.eastWest.serviceType", fmt.Sprintf("%q gives istiod another port than 15012, at which %s looks for it", t, j.cite(elsewhere)),
			"write LoadBalancer, or ClusterIP with something that gives it externalIPs")
	}
}

// together looks for rules and files that are for one of two clusters whose configuration one istiod reads: what is
// there for the one holds for the other too.
func (j *judge) together(spec v1alpha1.MeshSpec) {
	for _, c := range spec.Clusters {
		of := c.ControlPlane.RemoteOf
		if of == "" {
			continue
		}
		look := func(path string, clusters []string) {
			has, hasOther := slices.Contains(clusters, c.Name), slices.Contains(clusters, of)
			if len(clusters) > 0 && has != hasOther {
				j.say(path, fmt.Sprintf("%s reads its configuration from %s, so this holds in both or in neither", c.Name, of), "name both of them, or none")
			}
		}
		for i, r := range spec.Access.Rules {
			look(item("spec.access.rules", i)+".to.clusters", r.To.Clusters)
		}
		for i, r := range spec.Resources {
			look(item("spec.resources", i)+".clusters", r.Clusters)
		}
	}
}

// primary refuses another that is no primary for what c asks of it. Beyond is the cluster that serves that one.
func (j *judge) primary(path string, c, other v1alpha1.Cluster, index int, beyond v1alpha1.Cluster) {
	field, of := servedBy(other)
	if of == "" {
		return
	}
	said := j.cite(item("spec.clusters", index) + ".controlPlane." + field)
	switch {
	case of == c.Name:
		j.say(path, fmt.Sprintf("%s and %s each look to the other for an istiod: %s", c.Name, other.Name, said), "take controlPlane out of one of them, which makes it a primary")
	case field == "externalAt":
		j.say(path, fmt.Sprintf("%s's own istiod runs elsewhere: %s", other.Name, said), "name a primary, in which an istiod runs")
	default:
		hint := "name a primary"
		if beyond.ControlPlane == (v1alpha1.ControlPlane{}) {
			hint += ", such as " + beyond.Name
		}
		j.say(path, fmt.Sprintf("%s is a remote itself: %s", other.Name, said), hint)
	}
}

// servedBy is the cluster that another looks to for its istiod, and the field that says so.
func servedBy(c v1alpha1.Cluster) (field, name string) {
	if c.ControlPlane.ExternalAt != "" {
		return "externalAt", c.ControlPlane.ExternalAt
	}
	return "remoteOf", c.ControlPlane.RemoteOf
}

// served looks whether every cluster is in a later wave than what serves it: its webhook and its proxies need an
// istiod that is as they expect it, and the address of the gateway in front of it. In are the places of clusters.
func (j *judge) served(spec v1alpha1.MeshSpec, in map[string]string) {
	wave := map[string]int{}
	for w, names := range spec.Rollout.Waves {
		for _, n := range names {
			wave[n] = w
		}
	}
	for _, c := range spec.Clusters {
		_, of := servedBy(c)
		if of == "" || in[c.Name] == "" || in[of] == "" || wave[c.Name] > wave[of] {
			continue
		}
		j.say(in[c.Name], fmt.Sprintf("%s would change before or with %s, whose wave is %s and where its istiod runs", c.Name, of, j.cite(in[of])),
			"give "+c.Name+" a later wave")
	}
}
