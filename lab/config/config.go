// Package config is the document that describes a lab: which clusters, how many nodes each, which of them share a
// network, and how far apart they are. A Config that Validate accepts can be laid out without further questions.
package config

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// DefaultName is the name of a lab nobody named.
const DefaultName = "default"

// Bounds that follow from the address plan (lab/layout) and from Unix socket paths.
const (
	MaxName     = 16 // characters of a lab's name: shim sockets lie under /run/isthmus-lab/NAME and may be 108 long
	MaxCluster  = 20 // characters of a cluster's name
	MaxClusters = 60 // clusters of a lab: 64 blocks of 64 addresses in its /20, less the first and a reserve
	MaxNodes    = 15 // nodes of a cluster: the rest of its block is for LoadBalancer Services
)

// A Config describes a lab. The zero value with Defaulted applied is two clusters with one node each.
type Config struct {
	// Name tells labs on one machine apart; a DNS label of at most MaxName characters.
	Name string `json:"name,omitempty"`
	// Clusters in the order in which they get addresses.
	Clusters []Cluster `json:"clusters,omitempty"`
	// Links say how far clusters are from each other; a pair that is not named is as near as the machine allows.
	Links []Link `json:"links,omitempty"`
	// Dir is the folder under which the lab keeps its files, in a folder of its own name; /var/lib/isthmus-lab
	// when empty.
	Dir string `json:"dir,omitempty"`
	// Kubeconfig is the file to write; ~/.isthmus/lab/NAME/kubeconfig when empty.
	Kubeconfig string `json:"kubeconfig,omitempty"`
}

// A Cluster is one Kubernetes cluster of a lab.
type Cluster struct {
	// Name is the name of the cluster and of its kubeconfig context; a DNS label of at most MaxCluster characters.
	Name string `json:"name"`
	// Nodes is how many there are; 1 when zero, and 0 for a hollow cluster.
	Nodes int `json:"nodes,omitempty"`
	// Network: pods of clusters with the same network reach each other directly. The cluster's own name when empty.
	Network string `json:"network,omitempty"`
	// Region becomes the label topology.kubernetes.io/region of every node; the cluster's name when empty.
	Region string `json:"region,omitempty"`
	// Zones become topology.kubernetes.io/zone, in turn, node by node; REGION-a when empty.
	Zones []string `json:"zones,omitempty"`
	// Hollow clusters have an API server, etcd and controller-manager, and no node.
	Hollow bool `json:"hollow,omitempty"`
}

// A Link is the distance between two clusters, the same both ways.
type Link struct {
	// From and To name the clusters.
	From string `json:"from"`
	To   string `json:"to"`
	// Latency is added to every packet one way: a round trip takes twice as long.
	Latency metav1.Duration `json:"latency,omitempty"`
	// Jitter spreads the latency evenly over latency ± jitter. Packets keep their order.
	Jitter metav1.Duration `json:"jitter,omitempty"`
	// Loss is the share of packets that are dropped one way, in percent: 0 to 100.
	Loss float64 `json:"loss,omitempty"`
}

// IsZero tells whether the link changes nothing.
func (l Link) IsZero() bool { return l.Latency.Duration == 0 && l.Jitter.Duration == 0 && l.Loss == 0 }

// String is the link for people: "east ↔ west: 40ms ± 5ms, 1 % lost".
func (l Link) String() string {
	s := l.From + " ↔ " + l.To + ": " + l.Latency.Duration.String()
	if l.Jitter.Duration != 0 {
		s += " ± " + l.Jitter.Duration.String()
	}
	if l.Loss != 0 {
		s += fmt.Sprintf(", %g %% lost", l.Loss)
	}
	return s
}

// Joins tells whether the link is between a and b, in either order.
func (l Link) Joins(a, b string) bool { return l.From == a && l.To == b || l.From == b && l.To == a }

// ClusterName returns the default name of the i-th cluster, from 0: east, west, north, south, center, c6, c7...
func ClusterName(i int) string {
	names := []string{"east", "west", "north", "south", "center"}
	if i < len(names) {
		return names[i]
	}
	return "c" + strconv.Itoa(i+1)
}

// Load reads a lab.yaml. A field it does not know is an error that names the file.
func Load(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read lab document: %w", err)
	}
	var c Config
	if err := yaml.UnmarshalStrict(data, &c); err != nil {
		return Config{}, fmt.Errorf("read lab document %s: %w", path, err)
	}
	return c, nil
}

// Defaulted returns c with every empty field filled in, except Dir and Kubeconfig, which depend on the machine.
func (c Config) Defaulted() Config {
	c.Name = cmp.Or(c.Name, DefaultName)
	if len(c.Clusters) == 0 {
		c.Clusters = make([]Cluster, 2)
	}
	c.Clusters = slices.Clone(c.Clusters)
	for i := range c.Clusters {
		k := &c.Clusters[i]
		k.Name = cmp.Or(k.Name, ClusterName(i))
		k.Network = cmp.Or(k.Network, k.Name)
		k.Region = cmp.Or(k.Region, k.Name)
		if len(k.Zones) == 0 {
			k.Zones = []string{k.Region + "-a"}
		}
		if !k.Hollow {
			k.Nodes = cmp.Or(k.Nodes, 1)
		}
	}
	return c
}

var label = regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)

// Validate refuses what cannot be laid out. The error names the field.
func (c Config) Validate() error {
	if err := name("lab name", c.Name, MaxName); err != nil {
		return err
	}
	if len(c.Clusters) > MaxClusters {
		return fmt.Errorf("clusters: %d are too many, a lab holds %d; start a second one with --name", len(c.Clusters), MaxClusters)
	}
	seen := map[string]bool{}
	for i, k := range c.Clusters {
		if err := k.validate(); err != nil {
			return fmt.Errorf("clusters[%d]: %w", i, err)
		}
		if seen[k.Name] {
			return fmt.Errorf("clusters[%d]: the name %q is taken by another cluster of this lab", i, k.Name)
		}
		seen[k.Name] = true
	}
	for i, l := range c.Links {
		if err := l.Validate(seen); err != nil {
			return fmt.Errorf("links[%d]: %w", i, err)
		}
	}
	return nil
}

func (k Cluster) validate() error {
	if err := name("cluster name", k.Name, MaxCluster); err != nil {
		return err
	}
	if err := name("network", k.Network, 63); err != nil {
		return err
	}
	switch {
	case k.Hollow && k.Nodes != 0:
		return fmt.Errorf("cluster %s is hollow and has nodes: %d; leave nodes out", k.Name, k.Nodes)
	case k.Nodes < 0 || k.Nodes > MaxNodes:
		return fmt.Errorf("cluster %s: nodes: %d is not between 1 and %d", k.Name, k.Nodes, MaxNodes)
	}
	return nil
}

// Validate refuses a link that names a cluster outside known, or figures that no packet can follow.
func (l Link) Validate(known map[string]bool) error {
	for _, n := range []string{l.From, l.To} {
		if !known[n] {
			return fmt.Errorf("there is no cluster %q in this lab", n)
		}
	}
	switch {
	case l.From == l.To:
		return fmt.Errorf("from and to are both %q", l.From)
	case l.Latency.Duration < 0 || l.Latency.Duration > time.Minute:
		return fmt.Errorf("latency %s is not between 0 and 1m", l.Latency.Duration)
	case l.Jitter.Duration < 0 || l.Jitter.Duration > l.Latency.Duration:
		return fmt.Errorf("jitter %s is not between 0 and the latency, %s", l.Jitter.Duration, l.Latency.Duration)
	case l.Loss < 0 || l.Loss > 100:
		return fmt.Errorf("loss %g is not a percentage between 0 and 100", l.Loss)
	}
	return nil
}

func name(what, s string, limit int) error {
	if !label.MatchString(s) || len(s) > limit {
		return fmt.Errorf("%s %q: use a to z, 0 to 9 and -, begin with a letter, at most %d characters", what, s, limit)
	}
	return nil
}
