package plan

import (
	"slices"

	"isthmus.dev/isthmus/internal/object"
)

// Options are what a person lets a plan do that it does not do by itself. A plan keeps those that it was made with.
type Options struct {
	// Adopt takes over an Istio that istioctl, Helm or kubectl installed. It never replaces a certificate authority.
	Adopt bool `json:"adopt,omitempty"`
	// TakeOver names what is overruled though somebody keeps applying it: objects ("Deployment istio-system/istiod"),
	// field managers ("argocd-controller"), owners ("helm:istiod"), or TakeOverAll.
	TakeOver []string `json:"takeOver,omitempty"`
	// Forget are former members that are given up: they are listed no more, whatever is left in them.
	Forget []string `json:"forget,omitempty"`
	// NewClusters are members of the document that were made anew: records that know another cluster by their names do
	// not count.
	NewClusters []string `json:"newClusters,omitempty"`
	// Drain are members that calls are kept from, Undrain such that they are not kept from any more.
	Drain   []string `json:"drain,omitempty"`
	Undrain []string `json:"undrain,omitempty"`
	// By is who drains or undrains them, for the record.
	By string `json:"by,omitempty"`
}

// TakeOverAll overrules every field manager. It does not reach a certificate authority: that is named or left alone.
const TakeOverAll = "all"

// named tells whether an object, or somebody who has to do with it, is to be overruled.
func (o Options) named(ref object.Ref, who ...string) bool {
	return slices.Contains(o.TakeOver, TakeOverAll) || o.namedAlone(ref) ||
		slices.ContainsFunc(who, func(w string) bool { return w != "" && slices.Contains(o.TakeOver, w) })
}

// namedAlone tells whether this very object is named.
func (o Options) namedAlone(ref object.Ref) bool { return slices.Contains(o.TakeOver, ref.String()) }
