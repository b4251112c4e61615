package verify

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// A TestSuite is a result in the form that CI systems read: JUnit's XML, as testmoapp/junitxml describes it.
type TestSuite struct {
	XMLName  xml.Name   `xml:"testsuite"`
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Skipped  int        `xml:"skipped,attr"`
	Time     string     `xml:"time,attr"` // seconds
	At       string     `xml:"timestamp,attr,omitempty"`
	Cases    []TestCase `xml:"testcase"`
}

// A TestCase is one question of a suite.
type TestCase struct {
	Class   string       `xml:"classname,attr"`
	Name    string       `xml:"name,attr"`
	Failure *TestMessage `xml:"failure,omitempty"`
	Skipped *TestMessage `xml:"skipped,omitempty"`
	Output  string       `xml:"system-out,omitempty"`
}

// A TestMessage says why a case failed or was skipped.
type TestMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit is the report as a suite with a case for each check. Errors fail a case; warnings and notes are its output.
func (r Report) JUnit() TestSuite {
	s := TestSuite{
		Name: "isthmus check " + r.Mesh, Tests: len(r.Results), Skipped: r.Skipped, Time: fmt.Sprintf("%.3f", r.Seconds),
		At: r.Taken.UTC().Format("2006-01-02T15:04:05"),
	}
	for _, x := range r.Results {
		c := TestCase{Class: "check", Name: x.ID + " " + x.Question}
		var errs, others []string
		for _, f := range x.Findings {
			line := fmt.Sprintf("%s %s: %s\n  %s", f.Severity, orMesh(f.Cluster), f.Seen, f.Do)
			if f.Severity == Error {
				errs = append(errs, line)
			} else {
				others = append(others, line)
			}
		}
		if x.Skipped != "" {
			c.Skipped = &TestMessage{Message: x.Skipped + " failed"}
		}
		if len(errs) > 0 {
			s.Failures++
			c.Failure = &TestMessage{Message: fmt.Sprintf("%d found", len(errs)), Text: strings.Join(errs, "\n")}
		}
		c.Output = strings.Join(others, "\n")
		s.Cases = append(s.Cases, c)
	}
	return s
}

func orMesh(cluster string) string {
	if cluster == "" {
		return "the mesh"
	}
	return cluster
}
