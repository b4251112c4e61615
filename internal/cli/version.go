package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/istio"
	"isthmus.dev/isthmus/internal/screen"
)

func newVersion(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "This program's version and the Istio whose charts it holds",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Isthmus string `json:"isthmus"`
				Istio   string `json:"istio"`
				Go      string `json:"go"`
			}{program(), istio.Version(), runtime.Version()}
			return e.show(v, func(p *screen.Page) {
				fmt.Fprintf(p, "isthmus %s · Istio %s · %s\n", v.Isthmus, v.Istio, v.Go)
			})
		},
	}
}

// program is this program's version.
func program() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
