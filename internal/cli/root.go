// Package cli is the isthmus program: one file a command, each of them arguments → engine → view.
// Nothing here decides anything about a mesh.
package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/screen"
)

// Run runs one command line and returns the process's exit code: 0 done, 1 failed, 2 usage, 3 plan has
// changes, 4 checks failed, 5 not known. Only main exits.
func Run(ctx context.Context, s screen.Streams, args []string) int {
	root := newRoot(&env{Streams: s})
	s.Root(root, args, func(err error) error { return &exitError{exitUsage, err} })
	err := root.ExecuteContext(ctx)
	var ee *exitError
	if err != nil && (!errors.As(err, &ee) || ee.err != nil) {
		page := screen.NewPage(s.Err, s.Colour(s.Err))
		fmt.Fprintf(page, "%s %v\n", page.Mark(screen.No), err)
	}
	return codeOf(err)
}

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "isthmus",
		Short: "Several Kubernetes clusters, one Istio mesh, proved by real calls",
		Long: `Isthmus turns several Kubernetes clusters into one Istio mesh, keeps it that way and proves it.

Write one short document, read one plan, and watch real calls prove the result:
  isthmus init      write mesh.yaml from kubeconfig contexts
  isthmus check     are these clusters fit to be joined?
  isthmus plan      what would change; nothing is written
  isthmus apply     do it; safe to run again, safe to interrupt
  isthmus verify    real calls between every pair of clusters`,
	}
	f := root.PersistentFlags()
	f.StringVarP(&e.file, "file", "f", "mesh.yaml", "the mesh document; - is standard input")
	f.StringVar(&e.kubeconfig, "kubeconfig", "", "kubeconfig file (default: KUBECONFIG, then ~/.kube/config)")
	f.StringVarP(&e.output, "output", "o", "", "json or yaml instead of the form for people")
	f.StringArrayVar(&e.set, "set", nil, "path=value over the document, as in istioctl; may be repeated")
	f.StringSliceVar(&e.plainHTTP, "plain-http", nil, "a registry, HOST[:PORT], that may be spoken to without TLS, credentials included; may be repeated")
	root.AddGroup(&cobra.Group{ID: "mesh", Title: "The mesh:"}, &cobra.Group{ID: "more", Title: "More:"})
	for _, add := range []struct {
		group string
		make  func(*env) *cobra.Command
	}{
		{"mesh", newInit},
		{"mesh", newCheck},
		{"mesh", newPlan},
		{"mesh", newApply},
		{"mesh", newVerify},
		{"mesh", newStatus},
		{"mesh", newExplain},
		{"mesh", newDrain},
		{"mesh", newUndrain},
		{"mesh", newUninstall},
		{"more", newRender},
		{"more", newImages},
		{"more", newLock},
		{"more", newFacts},
		{"more", newAccess},
		{"more", newAnalyze},
		{"more", newImage},
		{"more", newVersion},
		{"more", newProbe},
	} {
		c := add.make(e)
		c.GroupID = add.group
		root.AddCommand(c)
	}
	root.SetHelpCommand(newHelp(e))
	root.SetHelpCommandGroupID("more")
	return root
}
