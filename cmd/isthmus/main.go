// Command isthmus turns several Kubernetes clusters into one Istio mesh, keeps it that way and proves it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"isthmus.dev/isthmus/internal/cli"
	_ "isthmus.dev/isthmus/internal/garbage" // a command lives for a second
	"isthmus.dev/isthmus/internal/screen"
)

func main() {
	// client-go logs to standard error, into the middle of what a person reads; what matters comes back as errors.
	klog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, screen.Std(), os.Args[1:])
	stop()
	os.Exit(code)
}
