//go:build lab

// Package lab_test runs Isthmus on real clusters: real API servers, kubelets, istiod and Envoy. One lab is brought
// up once for the tests of the package, and another for those that run beside others (labs); both are taken down after
// the last. Tests of the lab itself bring their own, under other names. It needs root and a Linux machine; see docs/lab.md.
package lab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"isthmus.dev/isthmus/lab"
	"isthmus.dev/isthmus/lab/build"
)

// world is what all tests share.
var world struct {
	programs build.Set
	bin      string // folder of isthmus and isthmus-lab, built from this tree
	archive  string // probeImage as a file
	labs     labs
}

// probeImage is what verify's workloads run here.
const probeImage = "lab.local/isthmus:dev"

func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, m)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab tests:", err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	if os.Getuid() != 0 {
		return 1, errors.New("the lab makes network namespaces: run as root")
	}
	if world.bin, err = os.MkdirTemp("", "isthmus-bin-"); err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(world.bin) }()
	if world.programs, err = build.Ensure(ctx, build.Options{Report: say}); err != nil {
		return 1, err
	}
	programs := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", world.bin+"/",
		"isthmus.dev/isthmus/cmd/isthmus", "isthmus.dev/isthmus/cmd/isthmus-lab")
	programs.Env = append(os.Environ(), "CGO_ENABLED=0") // an image has no libraries
	if out, err := programs.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build isthmus: %w: %s", err, out)
	}
	if err := world.labs.down(ctx); err != nil { // what a killed run left
		return 1, err
	}
	// Taken down even if the tests were interrupted: the next run wants an empty machine.
	defer func() { err = errors.Join(err, world.labs.down(context.WithoutCancel(ctx))) }()
	world.archive = filepath.Join(world.bin, "isthmus.tar")
	if out, err := exec.CommandContext(ctx, filepath.Join(world.bin, "isthmus"), "image", "--output", world.archive, "--tag", probeImage).CombinedOutput(); err != nil {
		return 1, fmt.Errorf("isthmus image: %w: %s", err, out)
	}
	world.labs.of, world.labs.free = map[string]*lab.Lab{}, make(chan *lab.Lab, most)
	first, err := world.labs.add(ctx)
	if err != nil {
		return 1, err
	}
	world.labs.free <- first
	// Tests do not know of the context: an interrupted run takes the labs down here and ends.
	unwatch := context.AfterFunc(ctx, func() {
		fmt.Fprintln(os.Stderr, "lab tests: interrupted; taking the labs down")
		_ = world.labs.down(context.WithoutCancel(ctx))
		os.Exit(130)
	})
	defer unwatch()
	return m.Run(), nil
}

// up brings a lab up with the programs and the supervisor built from this tree.
func up(ctx context.Context, c lab.Config) (*lab.Lab, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	return lab.Up(ctx, c, lab.Options{Programs: world.programs.Dir, Executable: filepath.Join(world.bin, "isthmus-lab")})
}

// say tells a person who waits for the first build how far it is.
func say(e build.Event) {
	if e.Done && !e.Cached {
		fmt.Fprintf(os.Stderr, "built %s (%d of %d), %s so far\n", e.Program, e.Index, e.Total, e.Elapsed.Round(time.Second))
	}
}

// A result is how a command ended.
type result struct {
	code     int
	out, err string
	// peak is the most memory the process held, in bytes.
	peak int64
	took time.Duration
}

// isthmus runs the built program as a person would, against the test's lab.
func isthmus(t testing.TB, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := command(ctx, t, stdin, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	start := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("isthmus %s: %v", strings.Join(args, " "), err)
	}
	r := result{code: cmd.ProcessState.ExitCode(), out: out.String(), err: errOut.String(), took: time.Since(start)}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.peak = usage.Maxrss << 10
	}
	t.Logf("isthmus %s: exit %d after %s", strings.Join(args, " "), r.code, r.took.Round(time.Millisecond))
	return r
}

func command(ctx context.Context, t testing.TB, stdin string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(world.bin, "isthmus"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+here(t).Kubeconfig, "NO_COLOR=1")
	cmd.Stdin = strings.NewReader(stdin)
	return cmd
}

// kill runs isthmus and kills it after some time.
func kill(t *testing.T, after time.Duration, stdin string, args ...string) {
	t.Helper()
	cmd := command(t.Context(), t, stdin, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pause(t.Context(), t, after)
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
}

// must runs isthmus and ends the test unless it exits 0.
func must(t testing.TB, stdin string, args ...string) result {
	t.Helper()
	r := isthmus(t, stdin, args...)
	if r.code != 0 {
		t.Fatalf("isthmus %s: exit %d\n%s\n%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r
}

// kubectl runs kubectl on a cluster of the test's lab and returns what it printed.
func kubectl(t testing.TB, cluster string, args ...string) string {
	t.Helper()
	return kubectlInput(t, cluster, "", args...)
}

// kubectlInput is kubectl with something to read.
func kubectlInput(t testing.TB, cluster, stdin string, args ...string) string {
	t.Helper()
	out, err := runKubectl(t, cluster, stdin, args...)
	if err != nil {
		t.Fatalf("kubectl --context %s %s: %v\n%s", cluster, strings.Join(args, " "), err, out)
	}
	return out
}

// applied applies or deletes objects.
func applied(t testing.TB, cluster, objects, verb string) {
	t.Helper()
	args := []string{verb, "-f", "-"}
	if verb == "delete" {
		args = append(args, "--ignore-not-found", "--wait=true")
	}
	kubectlInput(t, cluster, objects, args...)
}

// tryKubectl is kubectl where failing is an answer.
func tryKubectl(t testing.TB, cluster string, args ...string) (string, error) {
	t.Helper()
	return runKubectl(t, cluster, "", args...)
}

func runKubectl(t testing.TB, cluster, stdin string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, world.programs.Program("kubectl"), append([]string{"--context", cluster}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+here(t).Kubeconfig)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// restart lets a Deployment's pods be made anew, and waits for them.
func restart(t testing.TB, cluster, namespace, deployment string) {
	t.Helper()
	kubectl(t, cluster, "-n", namespace, "rollout", "restart", "deployment", deployment)
	rolledOut(t, cluster, namespace, deployment)
}

// rolledOut waits until the pods of Deployments are those of their last change, and ready. If that takes too long, it
// says what became of them.
func rolledOut(t testing.TB, cluster, namespace string, deployments ...string) {
	t.Helper()
	for _, d := range deployments {
		out, err := tryKubectl(t, cluster, "-n", namespace, "rollout", "status", "deployment", d, "--timeout="+patience.String())
		if err == nil {
			continue
		}
		seen := []string{out}
		for _, look := range [][]string{
			{"get", "deployment,replicaset,pod", "-o", "wide"},
			{"get", "events", "--sort-by=.lastTimestamp"},
			{"logs", "deployment/" + d, "--all-containers", "--all-pods", "--prefix", "--tail=30"},
		} {
			out, _ := tryKubectl(t, cluster, append([]string{"-n", namespace}, look...)...) // its error is in out
			seen = append(seen, out)
		}
		t.Fatalf("%s: Deployment %s/%s is not rolled out: %v\n%s", cluster, namespace, d, err, strings.Join(seen, "\n"))
	}
}

// answersAgain waits for a cluster's API server.
func answersAgain(t testing.TB, cluster string) {
	t.Helper()
	eventually(t, cluster+"'s API server answers", func() (bool, string) {
		out, err := tryKubectl(t, cluster, "get", "--raw", "/readyz")
		return err == nil, out
	})
}

// patience is how long something may take that is waited for. It is no measure: on a busy machine everything takes longer.
const patience = 4 * time.Minute

// eventually polls until ok, and fails with what was last seen when patience is over.
func eventually(t testing.TB, what string, ok func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		good, seen := ok()
		if good {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s; last seen: %s", what, patience, seen)
		}
		pause(t.Context(), t, 200*time.Millisecond)
	}
}
