package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/patience"
	"isthmus.dev/isthmus/internal/plan"
)

const (
	defaultReadyFor = 5 * time.Minute
	look            = 200 * time.Millisecond  // between the first looks at an object that is not ready
	lookLater       = time.Second             // between the last ones
	explainAfter    = 1500 * time.Millisecond // below that, nobody asks why
)

// ready waits for objects, all at the same time. The first that cannot become ready ends the waiting for all.
func (r *run) ready(ctx context.Context, wave int, changes []plan.Change) error {
	if r.a.Unready {
		return nil
	}
	waits, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var first error
	var wg sync.WaitGroup
	for _, c := range changes {
		wg.Go(func() {
			began := r.now()
			r.begin(wave, c)
			err := r.waitFor(waits, wave, c, began)
			if err == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if first == nil || errors.Is(first, context.Canceled) {
				first = err
			}
			cancel()
		})
	}
	wg.Wait()
	return join(ctx, []error{first})
}

func (r *run) waitFor(ctx context.Context, wave int, c plan.Change, began time.Time) error {
	limit := cmp.Or(r.a.ReadyFor, defaultReadyFor)
	w := writer{run: r, conn: r.a.Conns[c.Cluster], change: c, notice: func(string) {}}
	said, asked := "", time.Time{}
	for {
		live, err := w.live(ctx)
		if err != nil {
			return w.failed("read", err)
		}
		if live == nil {
			return &NotReadyError{Cluster: c.Cluster, Object: c.Object, After: r.since(began), Why: "somebody deleted it"}
		}
		ready, failed, why := plan.Ready(live)
		untold := ""
		if ready && c.Restarted {
			if untold, err = w.untold(ctx); err != nil {
				return w.failed("read", err)
			}
			ready = untold == ""
		}
		if ready {
			r.did(wave, c, began, address(c.Object, plan.Addresses(live)))
			return nil
		}
		passed := r.since(began)
		// What somebody else may have mended since is given its time.
		over := failed && c.Action != plan.Unchanged || passed > limit
		if passed > explainAfter && (over || r.since(asked) > 2*time.Second) {
			asked = r.now()
			why = cmp.Or(untold, w.reason(ctx, live), why)
			if why != said && !over {
				said = why
				r.says(wave, c, began, "waiting for "+c.Object.String()+": "+why, nil)
			}
		}
		if over {
			err := &NotReadyError{Cluster: c.Cluster, Object: c.Object, After: passed, Why: why}
			r.says(wave, c, began, "", err)
			return err
		}
		if err := lookAgain(ctx, passed); err != nil {
			return err
		}
	}
}

// lookAgain waits until it is time to look again at what has been waited for that long.
func lookAgain(ctx context.Context, waited time.Duration) error {
	return patience.Sleep(ctx, patience.Pause(waited, look, lookLater))
}

// untold says what an istiod that started anew for another root still has to do; "" for nothing. It writes the root
// that workloads trust only once it leads its cluster, which it tries every 7.5 s and, after one that ended without a
// word, for 30 s (istio: pilot/pkg/leaderelection). A pod that starts before that has the old root until its kubelet looks
// again, a minute or more, and trusts no istiod meanwhile.
func (w writer) untold(ctx context.Context) (string, error) {
	namespace, core := w.change.Object.Namespace, w.conn.Kube.CoreV1()
	var holds, tells []facts.Certificate
	err := w.run.retry(ctx, w.notice, func(ctx context.Context) error {
		cacerts, err := core.Secrets(namespace).Get(ctx, facts.CACerts, metav1.GetOptions{})
		if err != nil {
			return err
		}
		told, err := core.ConfigMaps(namespace).Get(ctx, facts.RootConfigMap, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		holds, tells = facts.Certificates(cacerts.Data[facts.RootFile]), facts.Certificates([]byte(told.Data[facts.RootFile]))
		return nil
	})
	if err != nil || len(holds) == 0 || slices.ContainsFunc(tells, func(c facts.Certificate) bool { return c.Fingerprint == holds[0].Fingerprint }) {
		return "", err
	}
	return "it has not told workloads of its root yet (ConfigMap " + facts.RootConfigMap + ")", nil
}

// live reads the object; nil when it does not exist.
func (w writer) live(ctx context.Context) (live *unstructured.Unstructured, err error) {
	err = w.run.retry(ctx, w.notice, func(ctx context.Context) error {
		r, err := w.client(w.change.Want.Body.GroupVersionKind().Version)
		if err != nil {
			return err
		}
		live, err = r.Get(ctx, w.change.Object.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			live = nil
			return nil
		}
		return err
	})
	return live, err
}

// reason looks at what stands behind an object that is not ready: its pods, or who should give it an address.
// It answers "" when it finds nothing, and never fails: it only makes a message better.
func (w writer) reason(ctx context.Context, live *unstructured.Unstructured) string {
	switch live.GetKind() {
	case "Service":
		return "no LoadBalancer implementation has given it an address; install one, or set spec.gateways.eastWest.serviceType"
	case "Deployment", "StatefulSet", "DaemonSet", "Job":
		return w.pods(ctx, live)
	}
	return ""
}

func (w writer) pods(ctx context.Context, live *unstructured.Unstructured) string {
	labels, _, _ := unstructured.NestedStringMap(live.Object, "spec", "selector", "matchLabels") // none: every pod, told apart by its owner below
	pods, err := w.conn.Kube.CoreV1().Pods(live.GetNamespace()).List(ctx, metav1.ListOptions{
		LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels}),
	})
	if err != nil {
		return ""
	}
	if len(pods.Items) == 0 {
		return w.noPods(live)
	}
	// The newest pods belong to what was just applied.
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	for _, p := range pods.Items {
		if why := podTrouble(p); why != "" {
			return fmt.Sprintf("pod %s: %s", p.Name, why)
		}
	}
	return ""
}

// noPods reads from a Deployment's conditions why it could not make pods: a quota, a webhook, a policy.
func (w writer) noPods(live *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions") // none
	for _, x := range conditions {
		m, _ := x.(map[string]any)
		if m["type"] == "ReplicaFailure" && m["status"] == "True" {
			return fmt.Sprintf("no pod can be made: %v", m["message"])
		}
	}
	return "no pod was made yet"
}

// podTrouble says what keeps a pod from being ready, the most telling thing first.
func podTrouble(p corev1.Pod) string {
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason == "CrashLoopBackOff" && c.LastTerminationState.Terminated != nil:
			t := c.LastTerminationState.Terminated
			return fmt.Sprintf("container %s ended %d times, last with exit code %d: %s", c.Name, c.RestartCount, t.ExitCode, cmp.Or(oneLine(t.Message), t.Reason))
		case c.State.Waiting != nil && c.State.Waiting.Reason != "PodInitializing" && c.State.Waiting.Reason != "ContainerCreating":
			return fmt.Sprintf("container %s: %s: %s", c.Name, c.State.Waiting.Reason, oneLine(c.State.Waiting.Message))
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "cannot be scheduled: " + oneLine(c.Message)
		}
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		switch {
		case c.State.Waiting != nil:
			return fmt.Sprintf("container %s is being made", c.Name)
		case c.State.Running != nil && !c.Ready && !slices.ContainsFunc(p.Status.InitContainerStatuses, func(i corev1.ContainerStatus) bool { return i.Name == c.Name }):
			return fmt.Sprintf("container %s runs and does not say that it is ready", c.Name)
		}
	}
	if p.Spec.NodeName == "" {
		return "waits for a node"
	}
	return ""
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 300 {
		s = string(r[:299]) + "…"
	}
	return s
}
