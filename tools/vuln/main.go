// Command vuln looks the code of this project up in Go's vulnerability database and fails on every finding that nobody
// judged. A finding is a vulnerable function that the code can reach; a judgement is a line of judged.txt with its
// reason, and one that nothing finds any more is an error too.
//
// The database is the module golang.org/x/vulndb of the version that go.mod requires, so that the same commit gives the
// same answer and no other server is asked than Go's module proxy. To judge by a newer one: go get golang.org/x/vulndb@latest here.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/vuln/scan"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := check(ctx, "../..", "judged.txt")
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(1)
	}
}

func check(ctx context.Context, dir, judgedFile string) error {
	raw, err := os.ReadFile(judgedFile)
	if err != nil {
		return err
	}
	judged, err := judgements(string(raw))
	if err != nil {
		return fmt.Errorf("%s: %w", judgedFile, err)
	}
	db, err := database(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(db) }()
	var out bytes.Buffer
	cmd := scan.Command(ctx, "-C", dir, "-db", "file://"+db, "-format", "json", "./...")
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return err
	}
	found, err := reached(&out)
	if err != nil {
		return err
	}
	return verdict(found, judged)
}

// database writes the database of the required version in the form that the scanner reads, into a folder of its own.
func database(ctx context.Context) (dir string, err error) {
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", "golang.org/x/vulndb").Output()
	if err != nil {
		return "", fmt.Errorf("find the database: %w", err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return "", fmt.Errorf("find the database: %w", err)
	}
	if dir, err = os.MkdirTemp("", "isthmus-vulndb-"); err != nil {
		return "", err
	}
	entries := filepath.Join(module.Dir, "data", "osv")
	if out, err := exec.CommandContext(ctx, "go", "tool", "indexdb", "-vulns", entries, "-out", dir).CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("index the database: %w: %s", err, out), os.RemoveAll(dir))
	}
	return dir, nil
}

// A finding is what the scanner says of one vulnerable function that is called (govulncheck's Finding).
type finding struct {
	OSV   string `json:"osv"`
	Fixed string `json:"fixed_version"`
	Trace []struct {
		Module   string `json:"module"`
		Version  string `json:"version"`
		Package  string `json:"package"`
		Function string `json:"function"`
	} `json:"trace"`
}

// reached reads the scanner's messages and returns one finding for each vulnerability whose code can be reached.
func reached(in io.Reader) (map[string]finding, error) {
	found, messages := map[string]finding{}, json.NewDecoder(in)
	scanned := false
	for {
		var m struct {
			Config  *struct{} `json:"config"`
			Finding *finding  `json:"finding"`
		}
		err := messages.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the scanner's messages: %w", err)
		}
		scanned = scanned || m.Config != nil
		if f := m.Finding; f != nil && len(f.Trace) > 0 && f.Trace[0].Function != "" {
			found[f.OSV] = *f
		}
	}
	if !scanned {
		return nil, errors.New("the scanner said nothing")
	}
	return found, nil
}

// judgements reads lines of an id and a reason; empty lines and those that begin with # are comments.
func judgements(text string) (map[string]string, error) {
	judged := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, why, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(id, "GO-") || len(strings.TrimSpace(why)) < 20 {
			return nil, fmt.Errorf("line %d: a judgement is an id of the database and a reason", n)
		}
		judged[id] = strings.TrimSpace(why)
	}
	return judged, lines.Err()
}

func verdict(found map[string]finding, judged map[string]string) error {
	var errs []error
	for id, f := range found {
		at := f.Trace[0]
		if why := judged[id]; why != "" {
			fmt.Printf("judged      %s  %s %s: %s\n", id, at.Module, at.Version, why)
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %s.%s of %s %s can be reached (mended in: %s); see https://pkg.go.dev/vuln/%[1]s", id, at.Package, at.Function, at.Module, at.Version, f.Fixed))
	}
	for id := range judged {
		if _, ok := found[id]; !ok {
			errs = append(errs, fmt.Errorf("%s is judged and not found any more: delete its line", id))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
