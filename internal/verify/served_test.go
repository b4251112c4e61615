package verify

import (
	"strings"
	"testing"

	"isthmus.dev/isthmus/internal/facts"
)

// westIsRemote makes west a remote of east that has joined.
func westIsRemote(in *Input) {
	in.Mesh.Clusters[1].RemoteOf = "east"
	w := west(in)
	w.Istiods, w.Secrets = nil, map[string]*facts.Secret{}
}

func then(changes ...func(*Input)) func(*Input) {
	return func(in *Input) {
		for _, c := range changes {
			c(in)
		}
	}
}

var servedCases = []checkCase{
	{id: "CHK048", reason: "a remote whose primary is well", change: westIsRemote},
	{
		id: "CHK048", reason: "the gateway in front of its istiod has no address",
		change: then(westIsRemote, func(in *Input) { in.Now.Clusters["east"].Gateways[0].Addresses = nil }),
		want:   []string{"warning west/east: east's east-west gateway, through which it reaches its istiod, has no address or no ready pod: new pods are refused"},
	},
	{
		id: "CHK048", reason: "its istiod is not ready",
		change: then(westIsRemote, func(in *Input) { in.Now.Clusters["east"].Istiods[0].Ready = 0 }),
		want:   []string{"warning west/east: the istiod in east that serves it has no ready pod: new pods are refused"},
	},
	{
		id: "CHK048", reason: "its primary is away",
		change: then(westIsRemote, func(in *Input) { in.Now.Clusters["east"].Err = "refused" }),
		want:   []string{"warning west/east: east, whose istiod serves it, does not answer: whether it still serves cannot be told"},
	},
	{
		id: "CHK048", reason: "one that is still to join",
		change: then(westIsRemote, func(in *Input) { west(in).Webhooks, in.Now.Clusters["east"].Gateways = nil, nil }),
	},
	{id: "CHK049", reason: "a remote without an istiod", change: westIsRemote},
	{
		id: "CHK049", reason: "a primary that becomes a remote", change: func(in *Input) { in.Mesh.Clusters[1].RemoteOf = "east" },
		want: []string{"warning west: an istiod runs here, and east's is to serve this cluster"},
	},
}

// TestServedFromElsewhere: the broken link between a remote and its istiod is named, and not one that a remote lacks
// by its nature.
func TestServedFromElsewhere(t *testing.T) {
	for _, tt := range []struct {
		reason     string
		change     func(*Case)
		code, text string
	}{
		{"nothing known is wrong", func(*Case) {}, "unknown", "calls from west to east"},
		{
			"the primary's istiod is scaled to nothing", func(c *Case) { c.Evidence.Now.Clusters["east"].Istiods[0].Ready = 0 },
			"control-plane-not-ready", "east's control plane, which serves west, has no ready pod",
		},
		{
			"the primary is away, and the pods did not start", func(c *Case) {
				s := c.Evidence.Sites["east"]
				s.Away = "connection refused"
				c.Evidence.Sites["east"] = s
				noPods(c)
				c.To = c.From // what runs in west alone
			}, "control-plane-away", "west is served by the istiod in east, whose API server does not answer",
		},
		{
			"the gateway between them is gone", func(c *Case) {
				c.Evidence.Now.Clusters["east"].Gateways = nil
				noPods(c)
				c.To, c.Path = c.From, Local
			}, "control-plane-unreachable", "west reaches its istiod through east's east-west gateway",
		},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			m := twoClusters()
			m.Clusters[1].RemoteOf = "east"
			e := healthy(m)
			w := e.Now.Clusters["west"]
			w.Istiods, w.Secrets = nil, nil
			c := Case{
				Mesh: m, From: m.Clusters[1], To: m.Clusters[0], Path: Gateway, Evidence: e,
				Calls: []CallProof{{Protocol: "http", Wrong: "strange"}},
			}
			tt.change(&c)
			got := Judge(c)[0]
			if got.Code != tt.code || !strings.Contains(got.Text, tt.text) {
				t.Errorf("%s: %s: %s", tt.reason, got.Code, got.Text)
			}
		})
	}
}

func noPods(c *Case) {
	s := c.Evidence.Sites["west"]
	s.Pods = map[Role]Pod{Client: {Problem: noPod}, Server: {Problem: noPod}}
	c.Evidence.Sites["west"] = s
}
