package verify

import (
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
)

var istioCases = []checkCase{
	{id: "CHK015", reason: "ours", want: nil},
	{
		id: "CHK015", reason: "somebody ran istioctl install", change: func(in *Input) {
			westIstiod(in).Owner, westIstiod(in).Version = "istioctl", "1.29.1"
		},
		want: []string{"error west: has Istio 1.29.1 (revision default) that isthmus did not install; owner: istioctl"},
	},
	{
		id: "CHK015", reason: "a Helm release of a revision", change: func(in *Input) {
			westIstiod(in).Owner, westIstiod(in).Revision, westIstiod(in).Version = "helm:istiod", "1-30", ""
		},
		want: []string{"error west: has Istio of unknown version (revision 1-30) that isthmus did not install; owner: helm:istiod"},
	},
	{id: "CHK016", reason: "this mesh", want: nil},
	{
		id: "CHK016", reason: "another document has it", change: func(in *Input) { westIstiod(in).Mesh = "bank" },
		want: []string{`error west: belongs to mesh "bank", and this document is mesh "shop"`},
	},
	{
		id: "CHK017", reason: "istio/base of Helm was left; the Gateway API's CRDs are no matter", change: func(in *Input) {
			west(in).CRDs = []facts.CRD{
				{Name: "gateways.networking.istio.io", Owner: "helm:istio-base"},
				{Name: "sidecars.networking.istio.io", Owner: "helm:istio-base"},
				{Name: "gateways.gateway.networking.k8s.io", Owner: "unknown"},
			}
		},
		want: []string{"warning west: 2 CustomResourceDefinitions of Istio already there, owner: helm:istio-base"},
	},
	{id: "CHK017", reason: "ours", want: nil},
	{
		id: "CHK018", reason: "an injector of an Istio that is gone", change: func(in *Input) {
			west(in).Webhooks = append(west(in).Webhooks, facts.Webhook{
				Name: "istio-sidecar-injector-1-28", Kind: "MutatingWebhookConfiguration", Revision: "1-28", Owner: "istioctl",
				Service: "istio-system/istiod-1-28", FailurePolicy: "Fail",
			})
		},
		want: []string{"error west: calls istio-system/istiod-1-28, which is not there, and so refuses pods that want a sidecar (failurePolicy Fail)"},
	},
	{
		id: "CHK018", reason: "a validator of an Istio that is gone, which lets things pass", change: func(in *Input) {
			west(in).Webhooks = append(west(in).Webhooks, facts.Webhook{
				Name: "istiod-default-validator", Kind: "ValidatingWebhookConfiguration", Owner: "istioctl",
				Service: "istio-old/istiod", FailurePolicy: "Ignore",
			})
		},
		want: []string{"warning west: calls istio-old/istiod, which is not there"},
	},
	{
		id: "CHK018", reason: "two control planes answer for one revision", change: func(in *Input) {
			west(in).Istiods = append(west(in).Istiods, facts.Istiod{Namespace: "istio-old", Name: "istiod", Owner: "unknown"})
			west(in).Webhooks = append(west(in).Webhooks, facts.Webhook{
				Name: "istio-sidecar-injector-istio-old", Kind: "MutatingWebhookConfiguration", Revision: "", Owner: "unknown",
				Service: "istio-old/istiod", FailurePolicy: "Fail",
			})
		},
		want: []string{"error west: answers for revision default, as istio-sidecar-injector does, but calls istio-old/istiod instead of istio-system/istiod"},
	},
	{
		id: "CHK018", reason: "a revision tag beside the injector calls the same istiod", change: func(in *Input) {
			west(in).Webhooks = append(west(in).Webhooks, facts.Webhook{
				Name: "istio-revision-tag-prod", Kind: "MutatingWebhookConfiguration", Revision: "default", Owner: "istioctl", Service: "istio-system/istiod",
			})
		},
	},
	{
		id: "CHK018", reason: "an istiod outside of the cluster is called by URL", change: func(in *Input) {
			west(in).Webhooks = append(west(in).Webhooks, facts.Webhook{
				Name: "istio-sidecar-injector-x", Kind: "MutatingWebhookConfiguration", Revision: "x", Owner: "unknown", Service: "https://istiod.example.com/inject",
			})
		},
	},
	{id: "CHK018", reason: "our own webhook while istiod is missing: apply brings it back", change: func(in *Input) { west(in).Istiods = nil }},
	{id: "CHK019", reason: "one minor behind is an upgrade", change: func(in *Input) { westIstiod(in).Version = "1.30.4" }},
	{
		id: "CHK019", reason: "three minors behind", change: func(in *Input) { westIstiod(in).Version = "1.28.0" },
		want: []string{"warning west: runs Istio 1.28.0; the document says 1.31.1, and Istio upgrades one minor at a time"},
	},
	{
		id: "CHK019", reason: "a newer isthmus was here", change: func(in *Input) { westIstiod(in).Version = "1.32.0" },
		want: []string{"warning west: runs Istio 1.32.0, newer than the document's 1.31.1: apply would take it back"},
	},
	{id: "CHK019", reason: "a version of a development build is no number", change: func(in *Input) { westIstiod(in).Version = "latest" }},
	{
		id: "CHK020", reason: "it waits for something", change: func(in *Input) { westIstiod(in).Ready = 0 },
		want: []string{"warning west: 0 of 1 ready"},
	},
	{id: "CHK020", reason: "ready", want: nil},
	{
		id: "CHK021", reason: "a revision that was removed", change: func(in *Input) { west(in).Namespaces[0].Labels["istio.io/rev"] = "1-28" },
		want: []string{"warning west: namespace shop asks for revision 1-28, which no istiod has: its new pods get no sidecar"},
	},
	{
		id: "CHK021", reason: "both labels", change: func(in *Input) {
			west(in).Namespaces[0].Labels = map[string]string{"istio.io/rev": "default", "istio-injection": "enabled"}
		},
		want: []string{"warning west: namespace shop has both istio-injection=enabled and istio.io/rev=default; the first wins"},
	},
	{
		id: "CHK021", reason: "a revision tag is as good as a revision", change: func(in *Input) {
			west(in).Namespaces[0].Labels["istio.io/rev"] = "prod"
			west(in).Webhooks = append(west(in).Webhooks, facts.Webhook{Name: "istio-revision-tag-prod", Revision: "default"})
		},
	},
	{
		id: "CHK050", reason: "a pull secret that nobody made", change: func(in *Input) { in.Mesh.Clusters[1].Istio.ImagePullSecrets = []string{"registry"} },
		want: []string{"error west: Secret istio-system/registry is not there, and images are to be pulled with it"},
	},
	{
		id: "CHK050", reason: "a Secret of another kind", change: func(in *Input) {
			in.Mesh.Clusters[1].Istio.ImagePullSecrets = []string{"registry"}
			west(in).Secrets["istio-system/registry"] = &facts.Secret{Keys: []string{"password"}}
		},
		want: []string{"error west: Secret istio-system/registry holds no registry's credentials (.dockerconfigjson)"},
	},
	{
		id: "CHK050", reason: "there", change: func(in *Input) {
			in.Mesh.Clusters[1].Istio.ImagePullSecrets = []string{"registry"}
			west(in).Secrets["istio-system/registry"] = &facts.Secret{Keys: []string{".dockerconfigjson"}}
		},
	},
	{id: "CHK022", reason: "somebody else's namespace goes", change: func(in *Input) { west(in).Namespaces[0].Terminating = true }},
	{
		id: "CHK022", reason: "the namespace of Istio goes", change: func(in *Input) {
			west(in).Namespaces = append(west(in).Namespaces, facts.Namespace{Name: object.SystemNamespace, Terminating: true})
		},
		want: []string{"error west: namespace isthmus-system is being deleted: nothing can be made in it"},
	},
	{
		id: "CHK022", reason: "the workloads of the last proof go", change: func(in *Input) {
			west(in).Namespaces = append(west(in).Namespaces, facts.Namespace{Name: "isthmus-verify", Terminating: true})
		},
		want: []string{"note west: namespace isthmus-verify is being deleted: nothing can be made in it"},
	},
	{
		id: "CHK023", reason: "injection and a strict level", change: func(in *Input) {
			west(in).Namespaces[0].Labels = map[string]string{"istio-injection": "enabled", "pod-security.kubernetes.io/enforce": "baseline"}
		},
		want: []string{`warning west: namespace shop enforces pod security "baseline", which refuses the NET_ADMIN of every injected pod's istio-init`},
	},
	{
		id: "CHK023", reason: "the CNI plugin does it", change: func(in *Input) {
			west(in).Namespaces[0].Labels = map[string]string{"istio-injection": "enabled", "pod-security.kubernetes.io/enforce": "restricted"}
			in.Mesh.Clusters[1].Istio.Set = []string{"components.cni.enabled=true"}
		},
	},
	{
		id: "CHK023", reason: "nothing is injected there", change: func(in *Input) {
			west(in).Namespaces[0].Labels["pod-security.kubernetes.io/enforce"] = "restricted"
		},
	},
}
