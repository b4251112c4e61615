package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/patience"
)

// Times between tries and looks. The first ones are short, since what is waited for mostly takes a moment.
const (
	firstPause = 100 * time.Millisecond
	longPause  = 2 * time.Second
	kindPause  = 15 * time.Second // how long a kind may take to be served after its definition is established
)

// retry does a request again while it fails for reasons that pass.
func (r *run) retry(ctx context.Context, notice func(string), do func(context.Context) error) error {
	limit := cmp.Or(r.a.RetryFor, 60*time.Second)
	began, said := r.now(), ""
	for pause := firstPause; ; pause = min(pause*3/2, longPause) {
		err := do(ctx)
		if err == nil || !passes(err) || ctx.Err() != nil {
			return err
		}
		passed := r.since(began)
		if passed > limit || noKind(err) && passed > kindPause {
			return fmt.Errorf("tried for %s: %w", passed.Round(time.Second), plainly{err})
		}
		if s, ok := apierrors.SuggestsClientDelay(err); ok && apierrors.IsTooManyRequests(err) {
			pause = max(pause, time.Duration(s)*time.Second)
		}
		if text := "trying again: " + oneLine(explain(err)); passed > longPause && text != said {
			said = text
			notice(text)
		}
		if err := patience.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// plainly is an error that says in its text what explain says.
type plainly struct{ error }

func (p plainly) Error() string { return explain(p.error) }

func (p plainly) Unwrap() error { return p.error }

// gone waits until a deleted object is no longer there, or its name means another one.
func (w writer) gone(ctx context.Context) error {
	limit := cmp.Or(w.run.a.ReadyFor, defaultReadyFor)
	began, said := w.run.now(), ""
	for {
		var why string
		err := w.run.retry(ctx, w.notice, func(ctx context.Context) error {
			r, err := w.client("")
			if noKind(err) {
				return nil
			}
			if err != nil {
				return err
			}
			live, err := r.Get(ctx, w.change.Object.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			if err != nil || w.change.UID != "" && string(live.GetUID()) != w.change.UID {
				return err
			}
			why = "is being deleted"
			if f := live.GetFinalizers(); len(f) > 0 {
				why = fmt.Sprintf("waits for its finalizers: %v", f)
			}
			return nil
		})
		if err != nil || why == "" {
			return err
		}
		passed := w.run.since(began)
		if passed > limit {
			return errors.New("it is still there after " + passed.Round(time.Second).String() + ": it " + why)
		}
		if passed > longPause && why != said {
			said = why
			w.notice(w.change.Object.String() + " " + why)
		}
		if err := lookAgain(ctx, passed); err != nil {
			return err
		}
	}
}
