package analyze

import (
	"slices"
	"strings"
)

// The part of SARIF 2.1.0 (OASIS) that code hosts read: rules, results, places and replacements.
type (
	// Sarif is a log of one run.
	Sarif struct {
		Version string     `json:"version"`
		Schema  string     `json:"$schema"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID   string    `json:"id"`
		Text sarifText `json:"shortDescription"`
		Help sarifText `json:"fullDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		Rule      string          `json:"ruleId"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifLocation struct {
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		Line int `json:"startLine"`
		Col  int `json:"startColumn,omitempty"`
	}
)

// Sarif is the report for tools that read SARIF. Its levels error, warning and note are ours.
func (r Report) Sarif() Sarif {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "isthmus", Rules: []sarifRule{}}}, Results: []sarifResult{}}
	known := map[string]bool{}
	for _, f := range r.Findings {
		if a, ok := Lookup(f.ID); ok && !known[f.ID] {
			known[f.ID] = true
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{a.ID, sarifText{a.Question}, sarifText{a.Why}})
		}
		x := sarifResult{Rule: f.ID, Level: string(f.Severity), Message: sarifText{f.Text()}}
		switch {
		case f.File != "":
			at := sarifPhysical{Artifact: sarifArtifact{strings.ReplaceAll(f.File, `\`, "/")}}
			if f.Line > 0 {
				at.Region = &sarifRegion{f.Line, f.Col}
			}
			x.Locations = []sarifLocation{{Physical: &at}}
		case f.Object != "": // in a cluster there are no lines
			x.Locations = []sarifLocation{{Logical: []sarifLogical{{strings.Join(append(slices.Clone(f.Clusters), f.Object), "/"), "resource"}}}}
		}
		run.Results = append(run.Results, x)
	}
	return Sarif{Version: "2.1.0", Schema: "https://json.schemastore.org/sarif-2.1.0.json", Runs: []sarifRun{run}}
}

// Text is a finding in one piece: what was seen, on what it rests, what to do.
func (f Finding) Text() string {
	s := strings.TrimSuffix(f.Seen, ".")
	if len(f.Clusters) > 0 {
		s = strings.Join(f.Clusters, ", ") + ": " + s
	}
	if f.Evidence != "" {
		s += " (" + f.Evidence + ")"
	}
	return s + ". " + strings.ToUpper(f.Do[:1]) + f.Do[1:]
}
