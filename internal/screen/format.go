package screen

import (
	"encoding/json"
	"fmt"
	"io"

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

// Machine prints v for programs, as JSON or YAML.
func Machine(w io.Writer, f Format, v any) error {
	switch f {
	case JSON:
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	case YAML:
		out, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(out)
		return err
	}
	return fmt.Errorf("no output format %q here", f)
}
