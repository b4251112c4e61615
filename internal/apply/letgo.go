package apply

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/patience"
	"isthmus.dev/isthmus/internal/plan"
)

// Blind is how long is waited where nobody may ask istiod: ten times what it takes to push a change.
const Blind = 15 * time.Second

// letGo waits before a wave that takes clusters away until nobody sends to them: their gateways carry calls of the
// others until then.
func (r *run) letGo(ctx context.Context, wave int, w plan.Wave) error {
	if w.LetGo == nil || r.a.LetGo == nil || len(stages(w.Changes)) == 0 {
		return nil
	}
	asked := make([]plan.Change, 0, len(w.LetGo.By))
	for _, name := range w.LetGo.By {
		asked = append(asked, plan.Change{Cluster: name, Part: object.PartDiscovery})
	}
	return r.all(ctx, asked, func(ctx context.Context, c plan.Change) error { return r.letsGo(ctx, wave, c, w.LetGo.Of) })
}

func (r *run) letsGo(ctx context.Context, wave int, c plan.Change, of []string) error {
	limit, began, said := cmp.Or(r.a.ReadyFor, defaultReadyFor), r.now(), ""
	for pause := firstPause; ; pause = min(pause*3/2, longPause) {
		still, err := r.a.LetGo(ctx, c.Cluster, of)
		switch {
		case apierrors.IsForbidden(err):
			r.says(wave, c, began, fmt.Sprintf("nobody may ask its istiod whether it still sends to %s: waiting %s instead", strings.Join(of, ", "), Blind), nil)
			return patience.Sleep(ctx, Blind)
		case err == nil && still == "":
			return nil
		case err != nil:
			still = explain(err)
		}
		if passed := r.since(began); passed > limit {
			return fmt.Errorf("cluster %s has not let go of %s after %s: %s; nothing was taken from there yet",
				c.Cluster, strings.Join(of, ", "), passed.Round(time.Second), still)
		}
		if still != said {
			said = still
			r.says(wave, c, began, "waiting until it lets go of "+strings.Join(of, ", ")+": "+still, nil)
		}
		if err := patience.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}
