package supervise

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"isthmus.dev/isthmus/lab/config"
	"isthmus.dev/isthmus/lab/wire"
)

// host is the name, as the peer of a cut, of the machine itself.
const host = "host"

// beginCut cuts a cluster off from another, from the machine, or from everybody.
func beginCut(_ context.Context, s *Supervisor, f *Fault, all []Fault) error {
	if f.Peer != "" && f.Peer != host {
		if _, err := s.cluster(f.Peer); err != nil {
			return err
		}
	}
	switch f.Peer {
	case f.Cluster:
		return fmt.Errorf("%s cannot be cut off from itself", f.Cluster)
	case "":
		f.Seen = f.Cluster + " cut off from everybody"
	default:
		f.Seen = f.Cluster + " cut off from " + f.Peer
	}
	return s.cut(f.Cluster, all)
}

func endCut(_ context.Context, s *Supervisor, f Fault, all []Fault) error {
	return s.cut(f.Cluster, all)
}

// cut makes the cluster's nodes drop what all the faults together say.
func (s *Supervisor) cut(name string, all []Fault) error {
	c, err := s.cluster(name)
	if err != nil {
		return err
	}
	var ranges []netip.Prefix
	for _, f := range all {
		if f.Kind != "cut" || f.Cluster != name {
			continue
		}
		for _, o := range s.clusters {
			if o.Name != name && (f.Peer == "" || f.Peer == o.Name) {
				ranges = append(ranges, o.Block(), o.Pods)
			}
		}
		if f.Peer == "" || f.Peer == host {
			ranges = append(ranges, netip.PrefixFrom(s.lab.Host(), 32))
		}
	}
	var problems []error
	for _, n := range c.Nodes {
		problems = append(problems, wire.Cut(n, ranges))
	}
	return errors.Join(problems...)
}

// beginLink sets the distance between two clusters.
func beginLink(_ context.Context, s *Supervisor, f *Fault, all []Fault) error {
	if f.Link == nil {
		return errors.New("a link fault needs a link")
	}
	known := map[string]bool{}
	for _, c := range s.clusters {
		known[c.Name] = true
	}
	if err := f.Link.Validate(known); err != nil {
		return err
	}
	f.Cluster = f.Link.From
	f.Seen = f.Link.String()
	return s.wan.Set(distances(s.lab.Links, all))
}

func endLink(_ context.Context, s *Supervisor, _ Fault, all []Fault) error {
	return s.wan.Set(distances(s.lab.Links, all))
}

// distances are the links of the document, each replaced by the latest fault that names the same pair.
func distances(document []config.Link, all []Fault) []config.Link {
	var out []config.Link
	set := func(l config.Link) {
		out = slices.DeleteFunc(out, func(o config.Link) bool { return o.Joins(l.From, l.To) })
		out = append(out, l)
	}
	for _, l := range document {
		set(l)
	}
	for _, f := range all {
		if f.Kind == "link" && f.Link != nil {
			set(*f.Link)
		}
	}
	return out
}
