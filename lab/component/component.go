// Package component says what a cluster is made of: which programs, with which arguments and files, and what must
// answer before what. Components are values; the order in which they start is derived from Needs, never written down.
package component

import (
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/lab/layout"
)

// A Site is where a component runs: a node, in a cluster, in a lab.
type Site struct {
	Lab     layout.Lab
	Cluster layout.Cluster
	Node    layout.Node
}

// A Component is one program of a cluster and what must answer before it starts.
type Component struct {
	Name string
	// Needs are names of components that must be ready first: those of the same node, or of the cluster.
	Needs []string
	// EveryNode: one on each node, instead of one on the cluster's first node.
	EveryNode bool
	// Hollow: part of a hollow cluster too.
	Hollow bool
	// Program is the file in Programs.Bin.
	Program string
	Args    func(Site) []string
	// Env is added to the environment; nil for none.
	Env func(Site) []string
	// Ready is what answers when the component can be used.
	Ready func(Site) Probe
}

// A Probe is one question to a component. Exactly one of URL and Socket is set.
type Probe struct {
	// URL is asked with GET from inside the node's network namespace; 200 means ready.
	URL string
	// Leaf names the client certificate in the cluster's pki folder to show; empty for none.
	Leaf string
	// Socket is a Unix socket that accepts a connection.
	Socket string
}

// An Instance is a component at a site.
type Instance struct {
	Component
	Site Site
}

// ID names the instance in the lab: CLUSTER/COMPONENT, or CLUSTER/NODE/COMPONENT.
func (i Instance) ID() string {
	if i.EveryNode {
		return i.Site.Cluster.Name + "/" + i.Site.Node.Name + "/" + i.Name
	}
	return i.Site.Cluster.Name + "/" + i.Name
}

// NodeName is the node that the instance belongs to; empty for one of the whole cluster.
func (i Instance) NodeName() string {
	if i.EveryNode {
		return i.Site.Node.Name
	}
	return ""
}

// Log is the file its output goes to.
func (i Instance) Log() string { return i.Site.Cluster.Log(i.Name, i.NodeName()) }

// NeedIDs are the IDs of the instances that must be ready first, given all components of the cluster.
func (i Instance) NeedIDs(all []Component) []string {
	var ids []string
	for _, n := range i.Needs {
		k := slices.IndexFunc(all, func(c Component) bool { return c.Name == n })
		if k < 0 {
			continue // not part of a hollow cluster
		}
		ids = append(ids, Instance{Component: all[k], Site: i.Site}.ID())
	}
	return ids
}

// Instances lists what runs in cluster c of lab l, in start order.
func Instances(l layout.Lab, c layout.Cluster, all []Component) []Instance {
	var list []Instance
	for _, k := range all {
		if c.Hollow && !k.Hollow {
			continue
		}
		nodes := c.Nodes[:1]
		if k.EveryNode {
			nodes = c.Nodes
		}
		for _, n := range nodes {
			list = append(list, Instance{Component: k, Site: Site{Lab: l, Cluster: c, Node: n}})
		}
	}
	return list
}

// Order groups components so that each stands behind everything it needs; those of one group may start together.
// It refuses a need that nobody fulfils, and a circle.
func Order(all []Component) ([][]string, error) {
	left := map[string][]string{}
	for _, c := range all {
		left[c.Name] = c.Needs
	}
	for _, c := range all {
		for _, n := range c.Needs {
			if _, ok := left[n]; !ok {
				return nil, fmt.Errorf("component %s needs %s, which does not exist", c.Name, n)
			}
		}
	}
	var groups [][]string
	done := map[string]bool{}
	for len(done) < len(all) {
		var group []string
		for _, c := range all {
			if !done[c.Name] && !slices.ContainsFunc(c.Needs, func(n string) bool { return !done[n] }) {
				group = append(group, c.Name)
			}
		}
		if len(group) == 0 {
			return nil, fmt.Errorf("components need each other in a circle: %s", circle(all, done))
		}
		for _, n := range group {
			done[n] = true
		}
		slices.Sort(group)
		groups = append(groups, group)
	}
	return groups, nil
}

func circle(all []Component, done map[string]bool) string {
	var names []string
	for _, c := range all {
		if !done[c.Name] {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
