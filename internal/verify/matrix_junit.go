package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// JUnit is the proof as a suite: a case for each protocol of each ordered pair of clusters, one for each call
// that must be refused, one for each caller of any cluster, one for each whose endpoints at home are taken away, and
// one for each way in from outside and each call with a person's token.
func (p Proof) JUnit() TestSuite {
	s := TestSuite{
		Name: "isthmus verify " + p.Mesh, Time: fmt.Sprintf("%.3f", float64(p.TookMillis)/1000),
		At: p.Taken.UTC().Format("2006-01-02T15:04:05"),
	}
	add := func(class, name, output string, failure *TestMessage) {
		s.Tests++
		if failure != nil {
			s.Failures++
		}
		s.Cases = append(s.Cases, TestCase{Class: class, Name: name, Failure: failure, Output: output})
	}
	for _, c := range p.Cells {
		pair := c.From + " → " + c.To
		if len(c.Calls) == 0 && !c.Drained {
			add("calls", pair, "", failureOf(c.OK, c.Wrong, c.Reasons))
		}
		for _, call := range c.Calls {
			output := ""
			if call.OK {
				output = fmt.Sprintf("%.1f ms", call.Result.LatencyMillis)
			}
			add("calls", pair+" "+call.Protocol, output, failureOf(call.OK, call.Wrong, c.Reasons))
		}
	}
	for _, r := range p.Refusals {
		add("refusals", fmt.Sprintf("%s → %s %s", r.From, r.To, r.Kind), string(r.Verdict), failureOf(r.OK, r.Wrong, r.Reasons))
	}
	for _, a := range p.Any {
		name := a.From + " → " + anyCluster
		if a.Local {
			name += ", kept local"
		}
		add("calls", name, "", failureOf(a.OK, a.Wrong, a.Reasons))
	}
	for _, f := range p.Failover {
		output := ""
		if f.Skipped == "" && f.OK {
			output = fmt.Sprintf("answered by %s; %d of %d calls failed meanwhile", strings.Join(slices.Sorted(maps.Keys(f.After)), ", "), f.Failed, f.Sent)
		}
		add("failover", f.From+" → "+elsewhereOnly, output, failureOf(f.OK, f.Wrong, f.Reasons))
		if f.Skipped != "" {
			s.Skipped++
			s.Cases[len(s.Cases)-1].Skipped = &TestMessage{Message: f.Skipped}
		}
	}
	for _, c := range p.Tokens {
		add("tokens", c.subject(), "", failureOf(c.OK, c.Wrong, c.Reasons))
	}
	for _, c := range p.Ingress {
		add("ingress", c.subject(), c.Door, failureOf(c.OK, c.Wrong, c.Reasons))
		if c.Skipped != "" {
			s.Skipped++
			s.Cases[len(s.Cases)-1].Skipped = &TestMessage{Message: c.Skipped}
		}
	}
	return s
}

func failureOf(ok bool, wrong string, reasons []Reason) *TestMessage {
	if ok {
		return nil
	}
	var text []string
	for _, r := range reasons {
		text = append(text, r.Text, "Next: "+r.Next)
	}
	return &TestMessage{Message: wrong, Text: strings.Join(text, "\n")}
}
