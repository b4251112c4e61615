// Command isthmus turns several Kubernetes clusters into one Istio mesh, keeps it that way and proves it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"isthmus.dev/isthmus/internal/cli"
	"isthmus.dev/isthmus/internal/screen"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, screen.Std(), os.Args[1:])
	stop()
	os.Exit(code)
}
