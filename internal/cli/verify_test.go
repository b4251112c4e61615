package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"isthmus.dev/isthmus/api/v1alpha1"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/probe"
	"isthmus.dev/isthmus/internal/screen"
	"isthmus.dev/isthmus/internal/verify"
)

var proofMesh = mesh.Mesh{Name: "shop", Verify: v1alpha1.Verify{Namespace: "isthmus-verify"}}

// provedMesh is the proof of a mesh of n clusters in which everything works.
func provedMesh(n int) verify.Proof {
	names := []string{"east", "west"}
	for i := len(names); i < n; i++ {
		names = append(names, fmt.Sprintf("c%d", i+1))
	}
	p := verify.Proof{Mesh: "shop", Taken: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), TookMillis: 9400, Passed: true}
	yes := true
	for _, from := range names {
		p.Clusters = append(p.Clusters, verify.ProvedCluster{Name: from, Network: from})
		for _, to := range names {
			c := verify.Cell{From: from, To: to, Path: verify.Gateway, OK: true, LatencyMillis: 11.4}
			if from == to {
				c.Path, c.LatencyMillis = verify.Local, 0.44
				p.Refusals = append(p.Refusals, verify.Refusal{From: from, To: to, Kind: verify.PlainText, OK: true, Verdict: probe.TurnedAway, Tries: 1})
			} else {
				for _, kind := range []verify.RefusalKind{verify.NoCertificate, verify.Forged} {
					p.Refusals = append(p.Refusals, verify.Refusal{
						From: from, To: to, Kind: kind, Door: "198.18.0.12:15443", OK: true, Verdict: probe.TurnedAway, Tries: 1,
						Result: &probe.Result{
							To: "tls://198.18.0.12:15443", Sent: 1, Class: probe.TLSAlert, Error: "read: remote error: tls: certificate required",
							Shown: &probe.Shown{Identities: []string{"spiffe://cluster.local/ns/isthmus-verify/sa/server"}, Root: "9f3c", AskedForCertificate: true},
						},
					})
				}
			}
			c.Calls = []verify.CallProof{
				{
					Protocol: probe.HTTP, Delivered: true, Encrypted: &yes, OK: true, Tries: 1,
					Result: probe.Result{
						ID: to + "/http/", To: "http://to-" + to + ":80", OK: true, Sent: 5, Answered: 5, LatencyMillis: c.LatencyMillis, Code: 200,
						Reply: &probe.Reply{
							Cluster: to, Pod: "server-1", Protocol: "http/1.1", Remote: "127.0.0.6:1", Caller: "spiffe://cluster.local/ns/isthmus-verify/sa/client",
							Server: "spiffe://cluster.local/ns/isthmus-verify/sa/server", Headers: map[string]string{"x-request-id": "r1"},
						},
						Clusters: map[string]int{to: 5},
					},
				},
				{Protocol: probe.TCP, Delivered: true, OK: true, Tries: 1, Result: probe.Result{To: "tcp://to-" + to + ":9000", OK: true, Sent: 2, Answered: 2}},
			}
			p.Cells = append(p.Cells, c)
		}
	}
	return p
}

// withMore is a proof with what only some documents have proved: that forged tokens are refused, and calls stay local.
func withMore(p verify.Proof, served bool) verify.Proof {
	for _, c := range p.Cells {
		p.Refusals = append(p.Refusals, verify.Refusal{
			From: c.From, To: c.To, Kind: verify.ForgedToken, Issuer: "login", Door: "to-" + c.To, OK: true, Verdict: probe.TurnedAway, Tries: 1,
			Result: &probe.Result{
				ID: c.To + "//forged token", To: "http://to-" + c.To + ":80", Sent: 1, Class: probe.Status, Code: 401,
				Body: "Jwt verification fails", Error: "answered 401: Jwt verification fails",
			},
		})
	}
	for _, c := range p.Clusters {
		p.Any = append(p.Any, verify.AnyCall{From: c.Name, Local: true, OK: true, Tries: 1, Result: &probe.Result{
			ID: "any", To: "http://to-any:80", OK: true, Sent: 10, Answered: 10, LatencyMillis: 0.4, Code: 200, Clusters: map[string]int{c.Name: 10},
		}})
	}
	yes, no := true, false
	for i, c := range p.Clusters {
		other := p.Clusters[(i+1)%len(p.Clusters)].Name
		p.Failover = append(p.Failover, verify.Failover{
			From: c.Name, OK: true, Before: map[string]int{c.Name: 1}, After: map[string]int{other: 10}, Sent: 20, Home: 4, Tries: 2,
			Rule: "istio-system/isthmus-failover", OutlierDetection: &yes,
			Result: &probe.Result{ID: "failover/9", To: "http://failover-" + c.Name + ":80", OK: true, Sent: 1, Answered: 1, LatencyMillis: 3, Clusters: map[string]int{other: 1}},
		})
	}
	p.Tokens = []verify.TokenCall{{From: "east", To: "west", Issuer: "login", Rule: "admins", Brought: true, LetIn: true, OK: true, Tries: 1, Result: &probe.Result{
		ID: "west/token/admins?true", To: "http://to-west:80/token/admins", OK: true, Sent: 1, Answered: 1, LatencyMillis: 3, Code: 200, Clusters: map[string]int{"west": 1},
	}}}
	for i, c := range p.Clusters {
		other := p.Clusters[(i+1)%len(p.Clusters)].Name
		p.Ingress = append(p.Ingress, verify.IngressCall{Via: c.Name, To: other, From: other, Door: "198.18.0.21:80", OK: true, Tries: 2, Result: &probe.Result{
			ID: "ingress/" + c.Name, To: "http://198.18.0.21:80/" + other, OK: true, Sent: 1, Answered: 1, LatencyMillis: 3, Code: 200, Clusters: map[string]int{other: 1},
		}})
	}
	if !served {
		return p
	}
	shut := verify.Reason{
		Code: "ingress-not-ready", Next: "kubectl --context west scale deployment -n istio-system istio-ingressgateway --replicas=1", Proven: true,
		Text: "west's ingress gateway has no ready pod (Deployment istio-system/istio-ingressgateway, 0/0)",
	}
	in := &p.Ingress[1]
	in.OK, in.Wrong, in.Reasons = false, "no route", []verify.Reason{shut}
	in.Result = &probe.Result{ID: in.Result.ID, To: in.Result.To, Sent: 1, Class: probe.Unreachable, Error: "dial tcp 198.18.0.21:80: connect: no route to host"}
	replaced := verify.Reason{
		Code: "failover-replaced", Next: "kubectl --context east edit destinationrule -n shop slow   and add outlierDetection to its trafficPolicy", Proven: true,
		Text: "DestinationRule shop/slow in east takes the place of istio-system/isthmus-failover, and has no outlierDetection: calls from east do not leave endpoints that stop answering",
	}
	f := &p.Failover[0]
	f.OK, f.Rule, f.OutlierDetection, f.Wrong, f.Reasons = false, "shop/slow", &no, "no outlier detection", []verify.Reason{replaced}
	token := verify.Reason{
		Code: "token-served", Next: "isthmus apply", Proven: true,
		Text: "west serves callers with a forged token of issuer login: RequestAuthentication istio-system/isthmus-jwt-login is missing in west",
	}
	for i := range p.Refusals {
		if r := &p.Refusals[i]; r.Kind == verify.ForgedToken && r.To == "west" {
			r.OK, r.Verdict, r.Wrong, r.Reasons = false, probe.Accepted, "answered", []verify.Reason{token}
			r.Result.OK, r.Result.Class, r.Result.Code, r.Result.Body, r.Result.Error = true, "", 200, "", ""
		}
	}
	left := verify.Reason{
		Code: "left-home", Next: "isthmus apply", Proven: true,
		Text: "calls from east to a service that it has itself are answered by west too, since DestinationRule istio-system/isthmus-failover, " +
			"by which callers prefer their own region, is missing in east",
	}
	a := &p.Any[0]
	a.OK, a.Wrong, a.Reasons, a.Result.Clusters = false, "answered by west", []verify.Reason{left}, map[string]int{"east": 4, "west": 6}
	p.Passed = false
	p.Failures = []verify.Failure{
		{Subjects: []string{"client from east at west (forged token)", "client from west at west (forged token)"}, Reason: token},
		{Subjects: []string{"east → any cluster"}, Reason: left},
		{Subjects: []string{"east → elsewhere"}, Reason: replaced},
		{Subjects: []string{"outside → west → east"}, Reason: shut},
	}
	return p
}

// oneCluster is a proof of a mesh of one, whose document has failover.
func oneCluster() verify.Proof {
	p := provedMesh(2)
	p.Clusters, p.Cells, p.Refusals = p.Clusters[:1], p.Cells[:1], p.Refusals[:1]
	p.Failover = []verify.Failover{{From: "east", OK: true, Skipped: "the mesh has no other cluster"}}
	return p
}

// gatewayDown is the same after west's gateway was scaled to nothing.
func gatewayDown() verify.Proof {
	p := provedMesh(2)
	reason := verify.Reason{
		Code: "gateway-not-ready", Next: "isthmus apply", Proven: true,
		Text: "west's east-west gateway has no ready pod (Deployment istio-system/istio-eastwestgateway, 0/0)",
	}
	c := &p.Cells[1]
	c.OK, c.Wrong, c.LatencyMillis, c.Reasons = false, "no healthy upstream", 0, []verify.Reason{reason}
	c.Calls[0].OK, c.Calls[0].Delivered, c.Calls[0].Encrypted, c.Calls[0].Wrong = false, false, new(bool), c.Wrong
	p.Passed = false
	p.Failures = []verify.Failure{{Subjects: []string{"east → west"}, Reason: reason, Why: "isthmus explain --from east --to west"}}
	p.Left = []string{"west"}
	return p
}

func TestProofPages(t *testing.T) {
	kept := provedMesh(2)
	kept.Kept = true
	drained := provedMesh(2)
	drained.Cells[1].Drained, drained.Cells[1].Calls = true, nil
	cases := []struct {
		reason, file string
		proof        verify.Proof
	}{
		{"a cluster is drained", "verify-drained.txt", drained},
		{"everything works", "verify-green.txt", provedMesh(2)},
		{"the workloads are kept", "verify-kept.txt", kept},
		{"tokens are believed and calls stay local", "verify-more.txt", withMore(provedMesh(2), false)},
		{"and somebody took both rules away", "verify-more-red.txt", withMore(provedMesh(2), true)},
		{"a gateway is gone", "verify-gateway.txt", gatewayDown()},
		{"one cluster has nowhere to go", "verify-one.txt", oneCluster()},
		{"more clusters than fit side by side are counted", "verify-many.txt", provedMesh(10)},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			show := func(p *screen.Page) { proofPage(p, c.proof, proofMesh) }
			var b bytes.Buffer
			show(screen.NewPage(&b, false))
			golden(t, c.file, b.String())
			inColour(t, b.String(), show)
		})
	}
}

// TestProofJSON: programs read these names; they do not change.
func TestProofJSON(t *testing.T) {
	out, err := json.MarshalIndent(gatewayDown(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "verify.json", string(out)+"\n")
	more := withMore(provedMesh(2), true)
	more.Cells, more.Refusals = nil, more.Refusals[len(more.Refusals)-2:]
	if out, err = json.MarshalIndent(more, "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "verify-more.json", string(out)+"\n")
}

func TestStepsThatEndWellLeaveNoLine(t *testing.T) {
	var b bytes.Buffer
	progress := screen.NewProgress(screen.Streams{Err: &b, Env: func(string) string { return "" }})
	report := stepsOn(progress)
	report(verify.Step{Key: "east", Text: "placing 9 objects"})
	report(verify.Step{Key: "east", Text: "workloads ready", Done: true, OK: true})
	report(verify.Step{Key: "west", Text: "does not answer", Done: true})
	progress.Close()
	want := "east  placing 9 objects\neast  workloads ready\n✘ west  does not answer\n"
	if b.String() != want {
		t.Errorf("progress:\n%s\nwant:\n%s", b.String(), want)
	}
}
