package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
)

// istioArchs are the architectures that Istio publishes images for.
var istioArchs = []string{"amd64", "arm64"}

func nodesReady(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		var not []string
		for _, n := range m.Facts.Nodes {
			if !n.Ready {
				not = append(not, n.Name)
			}
		}
		total := len(m.Facts.Nodes)
		do := kubectl(m.Cluster, "get nodes") + "; then: " + kubectl(m.Cluster, "describe node NAME")
		switch {
		case total == 0:
			out = append(out, Finding{Cluster: m.Name, Seen: "has no node: istiod would have nowhere to run", Do: "add a node; " + kubectl(m.Cluster, "get nodes")})
		case len(not) == total:
			out = append(out, Finding{Cluster: m.Name, Object: "Node " + not[0], Seen: fmt.Sprintf("none of its %s is Ready", plural(total, "node")), Do: do})
		case len(not) > 0:
			out = append(out, Finding{
				Cluster: m.Name, Object: "Node " + not[0], Severity: Warning,
				Seen: fmt.Sprintf("%d of %s not Ready: %s", len(not), plural(total, "node"), some(not)), Do: do,
			})
		}
	}
	return out
}

func archSupported(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		other := map[string]int{}
		for _, n := range m.Facts.Nodes {
			if n.Arch != "" && !slices.Contains(istioArchs, n.Arch) {
				other[n.Arch]++
			}
		}
		if len(other) == 0 {
			continue
		}
		archs, total := slices.Sorted(maps.Keys(other)), 0
		for _, n := range other {
			total += n
		}
		f := Finding{
			Cluster: m.Name, Severity: Warning,
			Seen: fmt.Sprintf("%d of %s on %s; Istio's images are for %s", total, plural(len(m.Facts.Nodes), "node"), strings.Join(archs, ", "), strings.Join(istioArchs, " and ")),
			Do:   "keep meshed workloads off them (nodeSelector kubernetes.io/arch), or set spec.istio.hub to images built for them",
		}
		if total == len(m.Facts.Nodes) {
			f.Severity, f.Do = Error, "set spec.istio.hub to images built for them, or add nodes of another architecture"
		}
		out = append(out, f)
	}
	return out
}

func regionsKnown(in Input) []Finding {
	if len(in.Mesh.Clusters) < 2 {
		return nil
	}
	var out []Finding
	for _, m := range in.Members() {
		var without []string
		for _, n := range m.Facts.Nodes {
			if n.Region == "" {
				without = append(without, n.Name)
			}
		}
		if len(without) > 0 {
			out = append(out, Finding{
				Cluster: m.Name, Object: "Node " + without[0],
				Seen: fmt.Sprintf("%d of %s without a region label: calls cannot prefer what is near", len(without), plural(len(m.Facts.Nodes), "node")),
				Do:   kubectl(m.Cluster, "label node NAME topology.kubernetes.io/region=REGION topology.kubernetes.io/zone=ZONE"),
			})
		}
	}
	return out
}

func roomForIstiod(in Input) []Finding {
	var out []Finding
	for _, m := range in.Members() {
		if slices.ContainsFunc(m.Facts.Istiods, func(i facts.Istiod) bool { return i.Ready > 0 }) {
			continue // it has found its room already
		}
		if !m.IsPrimary() {
			continue // its istiod runs elsewhere
		}
		ask := istiodAsks(m.Cluster)
		fits, mostMemory, mostCPU, ready := 0, int64(0), int64(0), 0
		for _, n := range m.Facts.Nodes {
			if !n.Ready || n.Unschedulable {
				continue
			}
			ready++
			memory, cpu := n.Memory-n.MemoryRequested, n.CPUMilli-n.CPURequested
			mostMemory, mostCPU = max(mostMemory, memory), max(mostCPU, cpu)
			if memory >= ask.memory && cpu >= ask.cpuMilli {
				fits++
			}
		}
		if fits > 0 {
			continue
		}
		out = append(out, Finding{
			Cluster: m.Name, Object: "Deployment istio-system/istiod",
			Seen: fmt.Sprintf("istiod asks for %s of memory and %d m of CPU; of %s that could run it the emptiest has %s and %d m free",
				mebibytes(ask.memory), ask.cpuMilli, plural(ready, "node"), mebibytes(mostMemory), mostCPU),
			Do: "lower it in spec.istio.values.pilot.resources.requests, or add a node (an autoscaler will)",
		})
	}
	return out
}

type request struct{ memory, cpuMilli int64 }

// istiodAsks is what istiod will request: the chart's default (500m, 2048Mi in values.yaml of istio-discovery;
// 10m, 100Mi in its demo profile), the document's values over it, and --set over those.
func istiodAsks(c mesh.Cluster) request {
	r := request{memory: 2048 << 20, cpuMilli: 500}
	if c.Istio.Profile == "demo" {
		r = request{memory: 100 << 20, cpuMilli: 10}
	}
	asked := map[string]string{}
	if m, ok := c.Istio.Value("pilot", "resources", "requests").(map[string]any); ok {
		for k, v := range m {
			asked[k] = fmt.Sprint(v)
		}
	}
	for _, set := range c.Istio.Set {
		path, value, _ := strings.Cut(set, "=")
		for _, prefix := range []string{"values.pilot.resources.requests.", "pilot.resources.requests.", "components.pilot.k8s.resources.requests."} {
			if key, ok := strings.CutPrefix(path, prefix); ok {
				asked[key] = value
			}
		}
	}
	if q, err := resource.ParseQuantity(asked["memory"]); err == nil {
		r.memory = q.Value()
	}
	if q, err := resource.ParseQuantity(asked["cpu"]); err == nil {
		r.cpuMilli = q.MilliValue()
	}
	return r
}

func mebibytes(n int64) string {
	if n >= 1<<30 && n%(1<<30) == 0 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d MiB", max(n, 0)>>20)
}

// plural is "1 node" or "3 nodes".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// some names the first three and counts the rest.
func some(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
