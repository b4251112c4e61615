// Command isthmus-lab runs several real Kubernetes clusters on one Linux machine, as root, without Docker.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"isthmus.dev/isthmus/internal/screen"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Run(ctx, screen.Std(), os.Args[1:])
	stop()
	os.Exit(code)
}
