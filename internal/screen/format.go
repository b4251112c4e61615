package screen

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/yaml"
)

// A Format is a form in which a command prints its result.
type Format string

// The formats. Not every command has every one; JUnit is for those that judge.
const (
	Human Format = ""
	JSON  Format = "json"
	YAML  Format = "yaml"
	JUnit Format = "junit"
)

// Machine prints v for programs, as JSON or YAML; what they may show to people is clean, see Clean.
func Machine(w io.Writer, f Format, v any) error {
	switch f {
	case JSON:
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			return err
		}
		_, err := io.WriteString(w, Clean(b.String())) // inside texts only, where JSON reads it as what it was
		return err
	case YAML:
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		out, err := yaml.JSONToYAML([]byte(Clean(string(raw)))) // what is not clean it would not read
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, Clean(string(out)))
		return err
	}
	return fmt.Errorf("no output format %q here", f)
}
