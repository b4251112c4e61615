package plan

import (
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/object"
)

// A Stage orders the objects of one cluster; derived from the object, see StageOf.
type Stage int

// The stages in the order in which they are made; objects are deleted in the reverse one. Policy comes before
// gateways, so that no gateway carries a call before the rules for it are there.
const (
	StageSystem       Stage = iota // isthmus-system, which holds the inventory
	StageInventory                 // written before anything else, so that nothing is ever orphaned
	StageNamespaces                // all other namespaces
	StageRoot                      // the mesh's root, which the intermediates are signed by
	StageCRDs                      // kinds before objects of them
	StageTrust                     // intermediates: istiod reads them when it starts
	StageConfig                    // roles, accounts, configuration, Services
	StageWebhooks                  // istiod fills in their CA when it starts
	StageControlPlane              // istiod
	StageDiscovery                 // remote secrets
	StagePolicy                    // objects of Istio's kinds: its webhook must answer
	StageGateways                  // proxies: injected by istiod
	StageProbes                    // what verify brings
)

var stageNames = []string{
	"system", "inventory", "namespaces", "root", "kinds", "trust", "configuration", "webhooks",
	"control plane", "discovery", "policy", "gateways", "probes",
}

func (s Stage) String() string {
	if s < 0 || int(s) >= len(stageNames) {
		return fmt.Sprintf("stage %d", int(s))
	}
	return stageNames[s]
}

// MarshalText writes a stage as its name.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a stage's name.
func (s *Stage) UnmarshalText(text []byte) error {
	i := slices.Index(stageNames, string(text))
	if i < 0 {
		return fmt.Errorf("no stage %q; there are: %s", text, strings.Join(stageNames, ", "))
	}
	*s = Stage(i)
	return nil
}

// workloads are kinds that run pods or steer how many.
var workloads = map[string]bool{
	"Deployment": true, "DaemonSet": true, "StatefulSet": true, "ReplicaSet": true, "Job": true, "CronJob": true,
	"Pod": true, "HorizontalPodAutoscaler": true,
}

var stageOfSeal = map[object.SealKind]Stage{
	object.SealRoot: StageRoot, object.SealIntermediate: StageTrust, object.SealRemoteSecret: StageDiscovery,
	object.SealPullSecret: StageConfig,
}

// StageOf says when an object is made.
func StageOf(ref object.Ref, part object.Part, sealed *object.Sealed) Stage {
	switch {
	case ref.Kind == "Namespace" && ref.Group == "":
		if ref.Name == object.SystemNamespace {
			return StageSystem
		}
		return StageNamespaces
	case ref.Kind == "CustomResourceDefinition":
		return StageCRDs
	case sealed != nil:
		return stageOfSeal[sealed.Kind]
	case ref == rootRef:
		return StageRoot
	case ref.Kind == "Secret" && ref.Group == "" && part == object.PartTrust:
		return StageTrust // what goes has no seal any more
	case ref.Kind == "Secret" && ref.Group == "" && part == object.PartDiscovery:
		return StageDiscovery
	case strings.HasSuffix(ref.Kind, "WebhookConfiguration"), strings.HasPrefix(ref.Kind, "ValidatingAdmissionPolicy"):
		return StageWebhooks
	case workloads[ref.Kind]:
		switch part {
		case object.PartGateway:
			return StageGateways
		case object.PartProbes:
			return StageProbes
		}
		return StageControlPlane
	case strings.HasSuffix(ref.Group, ".istio.io"), ref.Group == "gateway.networking.k8s.io":
		return StagePolicy
	}
	return StageConfig
}
