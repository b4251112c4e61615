// Command report runs go test and says at the end what a person needs to know of the run: which tests failed, which
// were skipped and why, the slowest ones, and the time of each layer. It fails where go test fails, and where a test
// was skipped that nobody expected to be skipped (skips.go): a check that silently stopped running is a failure.
//
//	report run -layer NAME [-skips any] [-stream] -out FILE go test -json ...   run one layer, keep its summary
//	report sum FILE...                                             print the summary of several layers
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("say run or sum")
	}
	switch args[0] {
	case "run":
		return runLayer(ctx, args[1:], out)
	case "sum":
		return sum(args[1:], out)
	}
	return fmt.Errorf("%q: say run or sum", args[0])
}

// runLayer runs the command that follows the flags, whose output is that of go test -json.
func runLayer(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	name := flags.String("layer", "", "what the tests of this run are called in the summary")
	file := flags.String("out", "", "the file that the layer's summary is written to")
	skips := flags.String("skips", "expected", `"expected": a skip that skips.go does not list is a failure; "any": skips are only listed`)
	stream := flags.Bool("stream", false, "print the output of tests while they run, and not only that of failed ones")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *name == "" || *file == "" || flags.NArg() == 0 || *skips != "expected" && *skips != "any" {
		return errors.New("run needs -layer, -out and a command")
	}
	layer := Layer{Name: *name}
	began := time.Now()
	err := execute(ctx, flags.Args(), &reader{layer: &layer, out: out, stream: *stream})
	layer.Seconds = time.Since(began).Seconds()
	if *skips == "expected" {
		layer.Unexpected = unexpected(layer.Skipped)
	}
	layer.print(out)
	raw, jsonErr := json.Marshal(layer)
	if jsonErr != nil {
		return jsonErr
	}
	if err := os.MkdirAll(filepath.Dir(*file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(*file, raw, 0o644); err != nil {
		return err
	}
	return errors.Join(err, layer.verdict())
}

// execute runs a command and reads what it prints.
func execute(ctx context.Context, argv []string, r *reader) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // tests take their clusters down
	cmd.WaitDelay = 5 * time.Minute
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = r.read(stdout)
	if waitErr := cmd.Wait(); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w", argv[0], waitErr))
	}
	return err
}

// sum prints the summaries of layers that ran, in the order of the files.
func sum(files []string, out io.Writer) error {
	var layers []Layer
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var l Layer
		if err := json.Unmarshal(raw, &l); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		layers = append(layers, l)
	}
	printSum(out, layers)
	return nil
}
