package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/lab"
)

func newFault(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "fault",
		Short: "Break something on purpose, and mend it",
	}
	screen.Parent(c, usage)
	for _, sub := range []func(*env) *cobra.Command{
		newFaultAPIServer, newFaultComponent, newFaultCut, newFaultLink, newFaultPod, newFaultIstiod, newFaultGateway, newFaultToken,
		newFaultList, newFaultClear,
	} {
		c.AddCommand(sub(e))
	}
	return c
}

func newFaultList(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "What is broken on purpose now",
		Args:  args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := e.lab()
			if err != nil {
				return err
			}
			s, err := l.Status(c.Context())
			if err != nil {
				return err
			}
			return e.show(s.Faults, func(p io.Writer) {
				rows := [][]string{{"ID", "WHAT", "FOR"}}
				for _, f := range s.Faults {
					rows = append(rows, []string{f.ID, f.Seen, screen.Seconds(time.Since(f.Since))})
				}
				if len(s.Faults) == 0 {
					fmt.Fprintln(p, "Nothing is broken on purpose.")
					return
				}
				fmt.Fprint(p, screen.Columns(rows))
			})
		},
	}
	e.outputFlag(c)
	return c
}

func newFaultClear(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "clear [ID]",
		Short: "Mend one fault, or all",
		Args:  args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			l, err := e.lab()
			if err != nil {
				return err
			}
			list, err := l.Mend(c.Context(), append(a, "")[0])
			for _, f := range list {
				fmt.Fprintf(e.Out, "mended %s: %s\n", f.ID, f.Seen)
			}
			if err == nil && len(list) == 0 {
				fmt.Fprintln(e.Out, "Nothing was broken on purpose.")
			}
			return err
		},
	}
}

// begin makes a fault happen and says how to mend it.
func (e *env) begin(c *cobra.Command, f lab.Fault) error {
	l, err := e.lab()
	if err != nil {
		return err
	}
	f, err = l.Begin(c.Context(), f)
	if err != nil {
		return err
	}
	if f.ID == "" {
		fmt.Fprintln(e.Out, f.Seen)
		return nil
	}
	fmt.Fprintf(e.Out, "%s: %s\nMend: isthmus-lab fault clear %s%s\n", f.ID, f.Seen, f.ID, e.flag())
	return nil
}
