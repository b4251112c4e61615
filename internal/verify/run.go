package verify

import "slices"

// Run asks every check in its order and returns a result for each, in the same order. A check whose need found
// an error is skipped: on the clusters concerned, or as a whole when that is all of them or the error is the
// mesh's own. The same input gives the same results.
func Run(checks []Check, in Input) []Result {
	results := make([]Result, 0, len(checks))
	ruledOut := map[string]verdict{}
	for _, c := range checks {
		leave, whole := blockers(c, in, ruledOut)
		r := Result{ID: c.ID, Question: c.Question, Severity: c.Severity}
		if whole != "" {
			r.Skipped = whole
			ruledOut[c.ID] = verdict{whole: true}
			results = append(results, r)
			continue
		}
		asked := in
		asked.leave = leave
		v := verdict{clusters: map[string]bool{}}
		for _, m := range in.Mesh.Clusters {
			if need, left := leave[m.Name]; left {
				v.clusters[m.Name] = true
				r.SkippedOn = append(r.SkippedOn, Skip{m.Name, need})
			}
		}
		for _, f := range c.Run(asked) {
			if f.Severity == "" {
				f.Severity = c.Severity
			}
			r.Findings = append(r.Findings, f)
			switch {
			case f.Severity != Error:
			case f.Cluster == "":
				v.whole = true
			default:
				v.clusters[f.Cluster] = true
			}
		}
		if worst := r.Worst(); worst != "" {
			r.Severity = worst
		}
		ruledOut[c.ID] = v
		results = append(results, r)
	}
	return results
}

// A verdict says where a check cannot be built upon.
type verdict struct {
	whole    bool
	clusters map[string]bool
}

// blockers tells which clusters a check must leave out and because of which need, or which need rules it out
// altogether.
func blockers(c Check, in Input, ruledOut map[string]verdict) (leave map[string]string, whole string) {
	leave = map[string]string{}
	for _, need := range c.Needs {
		v := ruledOut[need]
		if v.whole {
			return nil, need
		}
		for name := range v.clusters {
			if _, has := leave[name]; !has {
				leave[name] = need
			}
		}
	}
	left := func(name string) bool { _, is := leave[name]; return is }
	for _, m := range in.Mesh.Clusters {
		if !left(m.Name) {
			return leave, ""
		}
	}
	if len(in.Mesh.Clusters) > 0 {
		return nil, leave[in.Mesh.Clusters[0].Name]
	}
	return leave, ""
}

// Failed tells whether there is a finding of severity error.
func Failed(results []Result) bool {
	return slices.ContainsFunc(results, func(r Result) bool { return r.Worst() == Error })
}
