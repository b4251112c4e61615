package verify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"isthmus.dev/isthmus/internal/explain"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
)

// quickly is for how long the second act just tries again before it looks for a cause. A change of endpoints is in the
// proxies after some 200 ms (PILOT_DEBOUNCE_AFTER, and what it takes to push).
const quickly = 2 * time.Second

// second proves what takes a change of verify's own objects, or facts to know what is asked, once everything else has been
// tried: that calls go elsewhere when their endpoints at home are gone, and that calls from outside come in through
// ingress gateways. All clusters change at the same time, and each once.
func (r *proving) second(ctx context.Context) error {
	for _, a := range r.attempts { // what did not pass by now has had its time
		a.givenUp = a.givenUp || !a.passed
	}
	part := act{key: "last calls", first: len(r.attempts), quick: quickly}
	change := r.leaving()
	r.entering(change)
	if len(r.attempts) == part.first {
		return nil
	}
	r.changed = change
	r.each(present, func(c mesh.Cluster, _ *SiteEvidence) {
		objects, due := change[c.Name]
		if !due {
			return
		}
		report := func(text string) { r.Report(Step{Key: c.Name, Text: text}) }
		report(fmt.Sprintf("placing %d objects for the last calls", len(objects)))
		bounded, cancel := context.WithTimeout(ctx, r.limits.Start)
		defer cancel()
		err := r.Sites[c.Name].Place(bounded, objects, report)
		if err == nil || ctx.Err() != nil {
			return
		}
		for _, a := range r.attempts[part.first:] {
			if a.gone && a.from.Name == c.Name || a.ingress && r.Mesh.Primary(a.via).Name == c.Name {
				a.unmade, a.givenUp = err.Error(), true
			}
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.call(ctx, part)
}

// asksProxy tells attempts for which the caller's own proxy is asked what it has for the service: when its endpoints at
// home are gone, and when calls went elsewhere that should have stayed.
func (a *attempt) asksProxy() bool { return a.gone || a.any && a.local && a.tries > 0 && a.result.OK }

// detect reads from a client's own proxy whether it leaves out endpoints of a service that do not answer, and whose
// DestinationRule says so. Of the configuration only what has that name is asked for.
func (r *proving) detect(ctx context.Context, c mesh.Cluster, pod string, a *attempt) {
	service := AnyService(r.Mesh)
	if a.gone {
		service = FailoverService(c.Name)
	}
	service += "." + r.Mesh.Verify.Namespace
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := r.Sites[c.Name].Envoy(bounded, pod, "config_dump?name_regex=outbound.*"+service+".*")
	var proxy *explain.Proxy
	if err == nil {
		proxy, err = explain.ParseProxy(r.Mesh.Verify.Namespace, pod, out, []byte("{}"))
	}
	d := &a.departure
	d.rule, d.detects, d.asked, d.unread = "", false, err == nil, ""
	if err != nil {
		d.unread = facts.Plain(err)
		return
	}
	prefix := fmt.Sprintf("outbound|%d||%s.", servicePorts[0].port, service)
	for name, u := range proxy.Clusters {
		if strings.HasPrefix(name, prefix) {
			d.rule, d.detects = u.Rule, u.Outlier
		}
	}
}
