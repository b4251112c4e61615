package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/lab"
)

func newFaultAPIServer(e *env) *cobra.Command {
	var h harm
	c := &cobra.Command{
		Use:   "apiserver CLUSTER",
		Short: "Stop a cluster's API server, freeze it or make it slow",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			return e.begin(c, h.to(a[0], "kube-apiserver"))
		},
	}
	h.flags(c)
	return c
}

func newFaultComponent(e *env) *cobra.Command {
	var h harm
	c := &cobra.Command{
		Use:   "component CLUSTER NAME",
		Short: "Stop any component of a cluster: etcd, kube-scheduler, kubelet, ...",
		Args:  args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			return e.begin(c, h.to(a[0], a[1]))
		},
	}
	h.flags(c)
	return c
}

// harm is what is done to a component.
type harm struct {
	pause bool
	slow  time.Duration
}

func (h *harm) flags(c *cobra.Command) {
	c.Flags().BoolVar(&h.pause, "pause", false, "freeze it: it accepts connections and answers nothing")
	c.Flags().DurationVar(&h.slow, "slow", 0, "make it slow: every answer takes up to this much longer")
	c.MarkFlagsMutuallyExclusive("pause", "slow")
}

func (h *harm) to(cluster, component string) lab.Fault {
	f := lab.Fault{Kind: "stop", Cluster: cluster, Component: component}
	switch {
	case h.pause:
		f.Kind = "pause"
	case h.slow != 0:
		f.Kind, f.Slow = "slow", metav1.Duration{Duration: h.slow}
	}
	return f
}

func newFaultToken(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "token CLUSTER NAMESPACE/SERVICEACCOUNT",
		Short: "End every token of a ServiceAccount: the API server refuses them",
		Long: `Ends every token of a ServiceAccount, as time would: the API server refuses them, 10 seconds later at the latest (so
long it remembers that one was good). The account is taken away; fault clear brings the same one back, and its tokens.`,
		Example: "  isthmus-lab fault token west isthmus-system/isthmus-reader   # what other clusters read west with",
		Args:    args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			ns, account, ok := strings.Cut(a[1], "/")
			if !ok || ns == "" || account == "" {
				return usagef("%q names no ServiceAccount; write NAMESPACE/NAME", a[1])
			}
			return e.begin(c, lab.Fault{Kind: "token", Cluster: a[0], Namespace: ns, Account: account})
		},
	}
}

func newFaultCut(e *env) *cobra.Command {
	var from string
	c := &cobra.Command{
		Use:   "cut CLUSTER",
		Short: "Cut a cluster off: every packet between it and the others is dropped",
		Long: `Drops every packet between a cluster and the others, and between it and this machine. Connections are not ended: to
them it is as if a cable had been pulled. Nodes of the cluster still reach each other.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			return e.begin(c, lab.Fault{Kind: "cut", Cluster: a[0], Peer: from})
		},
	}
	c.Flags().StringVar(&from, "from", "", "cut it off from this cluster only; \"host\" is this machine")
	return c
}

func newFaultLink(e *env) *cobra.Command {
	var latency, jitter time.Duration
	var loss float64
	c := &cobra.Command{
		Use:   "link CLUSTER OTHER",
		Short: "Put latency and loss between two clusters",
		Long: `Sets the distance between two clusters, in place of what lab.yaml says: latency and loss are for each direction, so
a round trip takes twice the latency. Traffic between this machine and the clusters is not slowed down.`,
		Example: "  isthmus-lab fault link east west --latency 50ms --jitter 5ms --loss 1",
		Args:    args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			return e.begin(c, lab.Fault{Kind: "link", Link: &lab.Link{
				From: a[0], To: a[1], Latency: metav1.Duration{Duration: latency}, Jitter: metav1.Duration{Duration: jitter}, Loss: loss,
			}})
		},
	}
	c.Flags().DurationVar(&latency, "latency", 0, "added to every packet, one way")
	c.Flags().DurationVar(&jitter, "jitter", 0, "how much the latency varies, up and down")
	c.Flags().Float64Var(&loss, "loss", 0, "percent of packets that are lost, one way")
	return c
}

func newFaultPod(e *env) *cobra.Command {
	var pause bool
	var container string
	c := &cobra.Command{
		Use:   "pod CLUSTER NAMESPACE/NAME|NAMESPACE/LABEL=VALUE",
		Short: "Kill the processes of pods, once; kubelet starts them again",
		Args:  args(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, a []string) error {
			ns, pod, ok := strings.Cut(a[1], "/")
			if !ok || pod == "" {
				return usagef("%q names no pod; write NAMESPACE/NAME or NAMESPACE/LABEL=VALUE", a[1])
			}
			return e.begin(c, lab.Fault{Kind: killOrPause(pause), Cluster: a[0], Namespace: ns, Pod: pod, Container: container})
		},
	}
	c.Flags().BoolVar(&pause, "pause", false, "freeze them instead: they accept connections and answer nothing")
	c.Flags().StringVar(&container, "container", "", "only this container's processes")
	return c
}

func killOrPause(pause bool) string {
	if pause {
		return "pause-pods"
	}
	return "kill-pods"
}

func newFaultIstiod(e *env) *cobra.Command {
	var pause bool
	c := &cobra.Command{
		Use:   "istiod CLUSTER",
		Short: "Stop a cluster's istiod: scale it to 0",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			f := lab.Fault{Kind: "scale", Cluster: a[0], Pod: "app=istiod"}
			if pause {
				f.Kind = "pause-pods"
			}
			return e.begin(c, f)
		},
	}
	c.Flags().BoolVar(&pause, "pause", false, "freeze it instead: it accepts connections and answers nothing")
	return c
}

func newFaultGateway(e *env) *cobra.Command {
	var pause, stop bool
	c := &cobra.Command{
		Use:   "gateway CLUSTER",
		Short: "Kill the process of a cluster's east-west gateway, once",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			f := lab.Fault{Kind: killOrPause(pause), Cluster: a[0], Pod: "istio=eastwestgateway"}
			if stop {
				f.Kind = "scale"
			}
			return e.begin(c, f)
		},
	}
	c.Flags().BoolVar(&pause, "pause", false, "freeze it instead: it accepts connections and answers nothing")
	c.Flags().BoolVar(&stop, "stop", false, "scale it to 0 instead")
	c.MarkFlagsMutuallyExclusive("pause", "stop")
	return c
}
