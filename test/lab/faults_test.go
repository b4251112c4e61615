//go:build lab

package lab_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/trust"
	"isthmus.dev/isthmus/internal/verify"
	"isthmus.dev/isthmus/lab"
)

// A breakage is something done to the mesh, and what verify has to say of it.
type breakage struct {
	name string
	do   func(t *testing.T, doc string)
	mend func(t *testing.T, doc string)
	// code is the reason that must be given for subject, and the first one.
	code, subject string
	new           bool
}

// Where new is set, workloads must be new to meet it: proxies that run already keep the certificates that they have, and
// servers are called on while their API server is away. These come last, each without workloads of a proof before. All
// others are seen by those.
var breakages = []breakage{
	{
		name:    "the gateway of west is scaled to 0",
		do:      func(t *testing.T, _ string) { scaleGateway(t, 0) },
		mend:    func(t *testing.T, _ string) { scaleGateway(t, 1) },
		code:    "gateway-not-ready",
		subject: "east → west",
	},
	{
		name: "east loses its remote secret for west",
		do: func(t *testing.T, _ string) {
			kubectl(t, "east", "-n", "istio-system", "delete", "secret", "istio-remote-secret-west")
		},
		mend:    reapply,
		code:    "remote-secret-missing",
		subject: "east → west",
	},
	{
		name: "west takes plain text",
		do: func(t *testing.T, _ string) {
			kubectl(t, "west", "-n", "istio-system", "patch", "peerauthentication", "default", "--type", "merge", "-p", `{"spec":{"mtls":{"mode":"DISABLE"}}}`)
		},
		mend:    reapply,
		code:    "mtls-off",
		subject: "west",
	},
	{
		name: "a DestinationRule of somebody's own takes the place of east's failover",
		do: func(t *testing.T, _ string) {
			applied(t, "east", `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: slow, namespace: istio-system}
spec:
  host: "*.isthmus-verify.svc.cluster.local"
  trafficPolicy: {connectionPool: {tcp: {maxConnections: 1000}}}
`, "apply")
		},
		mend: func(t *testing.T, _ string) {
			kubectl(t, "east", "-n", "istio-system", "delete", "destinationrule", "slow")
		},
		code:    "failover-replaced",
		subject: "east → elsewhere",
	},
	{
		name:    "west is given another root",
		do:      func(t *testing.T, _ string) { giveAnotherRoot(t, "west") },
		mend:    mendRoot,
		code:    "other-root",
		subject: "east → west",
		new:     true,
	},
	{
		name: "the API server of west is stopped",
		do: func(t *testing.T, _ string) {
			if _, err := here(t).Begin(t.Context(), lab.Fault{Kind: "stop", Cluster: "west", Component: "kube-apiserver"}); err != nil {
				t.Fatal(err)
			}
		},
		mend: func(t *testing.T, _ string) {
			if _, err := here(t).Mend(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			answersAgain(t, "west")
		},
		code:    "cluster-away",
		subject: "east → west",
		new:     true,
	},
}

// faults breaks the mesh in every way of the table, looks at what verify says, mends it, and sees it proved again. The
// workloads of the proof before it are there when it begins.
func faults(t *testing.T, doc string) {
	kept := true
	for _, b := range breakages {
		t.Run(b.name, func(t *testing.T) {
			prove := []string{"verify", "-f", "-"}
			switch {
			case !b.new:
				prove = append(prove, "--keep")
			case kept:
				must(t, doc, prove...) // takes away what was kept
				kept = false
			}
			b.do(t, doc)
			r := isthmus(t, doc, append(slices.Clone(prove), "-o", "json")...)
			b.mend(t, doc)
			if r.code != 4 {
				t.Errorf("exit %d, want 4\n%s\n%s", r.code, r.out, r.err)
			}
			var proof verify.Proof
			if err := json.Unmarshal([]byte(r.out), &proof); err != nil {
				t.Fatalf("%v\n%s", err, r.out)
			}
			if proof.Passed {
				t.Error("the proof says that it passed")
			}
			if !names(proof, b.code, b.subject) {
				t.Errorf("no failure gives %s as the reason for %q:\n%s", b.code, b.subject, said(proof))
			}
			t.Logf("said: %s", said(proof))
			// istiod, kubelet and the controllers come back to a restarted API server in their own time, with up to
			// half a minute between tries (client-go's reflectors).
			eventually(t, "the mesh works again", func() (bool, string) {
				r := isthmus(t, doc, prove...)
				return r.code == 0, r.out
			})
		})
	}
}

// names tells whether a failure with that reason is about the subject.
func names(p verify.Proof, code, subject string) bool {
	return slices.ContainsFunc(p.Failures, func(f verify.Failure) bool {
		return f.Reason.Code == code && f.Reason.Text != "" && f.Reason.Next != "" &&
			slices.ContainsFunc(f.Subjects, func(s string) bool { return strings.Contains(s, subject) })
	})
}

func said(p verify.Proof) string {
	var b strings.Builder
	for _, f := range p.Failures {
		fmt.Fprintf(&b, "%s: %s: %s → %s\n", strings.Join(f.Subjects, ", "), f.Reason.Code, f.Reason.Text, f.Reason.Next)
	}
	return b.String()
}

func reapply(t *testing.T, doc string) { must(t, doc, "apply", "-f", "-") }

// mendRoot sees that the plan says that istiod of west starts anew, and that one apply is all that it takes.
func mendRoot(t *testing.T, doc string) {
	if r := must(t, doc, "plan", "-f", "-", "--show", "all"); !strings.Contains(r.out, "restarts istiod (1 pod)") {
		t.Errorf("the plan does not say that it restarts istiod:\n%s", r.out)
	}
	reapply(t, doc)
	if r := must(t, doc, "plan", "-f", "-", "--detailed-exitcode"); r.code != 0 {
		t.Errorf("a plan right after that changes something:\n%s", r.out)
	}
}

func scaleGateway(t *testing.T, replicas int) {
	kubectl(t, "west", "-n", "istio-system", "scale", "deployment", "istio-eastwestgateway", fmt.Sprintf("--replicas=%d", replicas))
	eventually(t, fmt.Sprintf("west's gateway has %d pods", replicas), func() (bool, string) {
		out := kubectl(t, "west", "-n", "istio-system", "get", "deployment", "istio-eastwestgateway", "-o", "jsonpath={.status.readyReplicas}")
		return out == fmt.Sprint(replicas) || replicas == 0 && out == "", out
	})
	if replicas == 0 { // what is told to end serves for some seconds more
		kubectl(t, "west", "-n", "istio-system", "wait", "pod", "--for=delete", "-l", "istio=eastwestgateway", "--timeout="+patience.String())
	}
}

// giveAnotherRoot writes a cacerts of a root that the mesh does not know, as a person would who follows the wrong page.
func giveAnotherRoot(t *testing.T, cluster string) {
	now := time.Now()
	data, err := trust.NewRoot("another", time.Hour, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root, err := trust.ParseRoot(data)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := trust.NewIntermediate("another", cluster, root, time.Hour, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := json.Marshal(map[string]any{"data": ca})
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, cluster, "-n", "istio-system", "patch", "secret", "cacerts", "--type", "merge", "-p", string(patch))
	// It reads its certificates now; by itself it does when the volume changes, a minute later.
	restart(t, cluster, "istio-system", "istiod")
	// And tells workloads of the root when it has become the leader: those that start before wait for kubelet to see it.
	want := strings.TrimSpace(string(ca[facts.RootFile]))
	eventually(t, "istiod tells workloads of the other root", func() (bool, string) {
		told := kubectl(t, cluster, "-n", "istio-system", "get", "configmap", facts.RootConfigMap, "-o", `jsonpath={.data.root-cert\.pem}`)
		return told == want, told
	})
}
