package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"isthmus.dev/isthmus/internal/screen"
)

func newLogs(e *env) *cobra.Command {
	var follow bool
	var tail int
	c := &cobra.Command{
		Use:   "logs [CLUSTER [COMPONENT [NODE]]]",
		Short: "Print a component's log; without a component, list them; without a cluster, print the supervisor's",
		Args:  args(cobra.MaximumNArgs(3)),
		RunE: func(c *cobra.Command, a []string) error {
			l, err := e.lab()
			if err != nil {
				return err
			}
			if len(a) == 1 {
				logs, err := l.Logs(a[0])
				if err != nil {
					return err
				}
				rows := [][]string{{"COMPONENT", "NODE", "LOG"}}
				for _, g := range logs {
					rows = append(rows, []string{g.Component, g.Node, g.Path})
				}
				fmt.Fprint(e.Out, screen.Columns(rows))
				return nil
			}
			path := l.SupervisorLog()
			if len(a) > 1 {
				a = append(a, "")
				if path, err = l.Log(a[0], a[1], a[2]); err != nil {
					return err
				}
			}
			return printLog(c.Context(), e.Out, path, tail, follow)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on printing as it grows")
	c.Flags().IntVar(&tail, "tail", -1, "only the last so many lines; -1 is all")
	return c
}

func printLog(ctx context.Context, w io.Writer, path string, tail int, follow bool) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	defer func() { _ = f.Close() }()
	if tail >= 0 {
		if err := seekLines(f, tail); err != nil {
			return fmt.Errorf("read log: %w", err)
		}
	}
	for {
		if _, err := io.Copy(w, f); err != nil {
			return err
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// seekLines goes to where the last n lines begin.
func seekLines(f *os.File, n int) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	left := n + 1 // the last line ends with a newline of its own
	for pos := end; pos > 0; {
		size := min(int64(len(buf)), pos)
		pos -= size
		if _, err := f.ReadAt(buf[:size], pos); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for i := size - 1; i >= 0; i-- {
			if buf[i] != '\n' {
				continue
			}
			if left--; left == 0 {
				_, err := f.Seek(pos+i+1, io.SeekStart)
				return err
			}
		}
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}
