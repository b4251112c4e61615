package discovery

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// A held is what a remote secret must hold to be right. It is the same for the secrets of all clusters about one.
type held struct {
	key, server, caBundle, subject string
	about                          string // the cluster's name
	namespace, account             string // of the ServiceAccount that the token is for
	// known tells that facts could read that; it is there if exists is true, as uid.
	known, exists bool
	uid           types.UID
}

// Judge returns what says why a remote secret that exists must be made anew: it opens another server than the cluster
// has now, trusts another certificate authority, belongs to somebody else, or its token has ended, never ends, or has
// less than a third of its life left. About a cluster that does not answer nothing can be said, and what exists stays.
// The function has type plan.Judge, is for one snapshot, and may be called from many goroutines: what each cluster's
// secrets must hold it works out once, of which a mesh of 500 has a quarter of a million.
func Judge() func(m mesh.Mesh, cluster string, o object.Object, now facts.Snapshot) (stale string, err error) {
	var mu sync.Mutex
	kept := map[object.Sealed]*held{}
	return func(m mesh.Mesh, cluster string, o object.Object, now facts.Snapshot) (string, error) {
		mu.Lock()
		want, known := kept[*o.Sealed]
		if !known {
			want = toHold(m, *o.Sealed, now.Clusters[o.Sealed.About])
			kept[*o.Sealed] = want
		}
		mu.Unlock()
		here := now.Clusters[cluster]
		if here == nil || want == nil {
			return "", nil
		}
		secret := here.Secrets[o.Body.GetNamespace()+"/"+o.Body.GetName()]
		if secret == nil {
			return "", nil // to be created: nothing to judge
		}
		return want.judge(secret, now.Taken), nil
	}
}

// toHold is what a secret about a cluster must hold; nil where that does not answer.
func toHold(m mesh.Mesh, s object.Sealed, there *facts.Cluster) *held {
	if !there.Answered() {
		return nil
	}
	about, _ := m.Cluster(s.About)
	h := &held{
		key: keyOf(s), server: Server(about, there.Server), caBundle: strings.TrimSpace(there.CABundle),
		about: about.Name, namespace: AccountNamespace(s, about), account: s.Account,
	}
	h.subject = Subject(h.namespace, s.Account)
	ref := object.Ref{Kind: "ServiceAccount", Namespace: h.namespace, Name: s.Account}
	if h.known = there.Live != nil && there.Unread[ref] == ""; h.known {
		reader, uid := there.Find(ref)
		h.exists, h.uid = reader != nil, uid
	}
	return h
}

func (h *held) judge(secret *facts.Secret, now time.Time) (stale string) {
	k, ok := secret.Kubeconfigs[h.key]
	switch {
	case !ok:
		return fmt.Sprintf("it holds no kubeconfig under the key %q", h.key)
	case k.Server != h.server:
		return fmt.Sprintf("it opens %s, and the API server of %s is %s", k.Server, h.about, h.server)
	case strings.TrimSpace(k.CABundle) != h.caBundle:
		return fmt.Sprintf("it trusts another certificate authority than %s's API server has", h.about)
	case k.Subject != h.subject:
		return fmt.Sprintf("its token is %q's, not that of %s", k.Subject, h.account)
	case h.died(secret):
		return fmt.Sprintf("its token died with the ServiceAccount %s/%s of %s that it was for", h.namespace, h.account, h.about)
	}
	return judgeToken(secret, k, now)
}

// died tells that the ServiceAccount that a token is for is no more: a token dies with it, and one that is made anew
// under the same name is another. Where facts could not read it nothing is said.
func (h *held) died(secret *facts.Secret) bool {
	was := secret.Annotations[AnnotationReader]
	return h.known && (!h.exists || was != "" && was != string(h.uid))
}

func judgeToken(secret *facts.Secret, k facts.Kubeconfig, now time.Time) string {
	issued, err := time.Parse(time.RFC3339, secret.Annotations[AnnotationIssued])
	switch {
	case k.NotAfter.IsZero():
		return "its token never ends"
	case !k.NotAfter.After(now):
		return fmt.Sprintf("its token ended at %s", k.NotAfter.UTC().Format(time.RFC3339))
	case err != nil:
		return "it does not say when its token was issued"
	case k.NotAfter.Sub(now) < k.NotAfter.Sub(issued)/3:
		return fmt.Sprintf("its token ends at %s, which is less than a third of its life away", k.NotAfter.UTC().Format(time.RFC3339))
	}
	return ""
}

// Server is the address under which other clusters reach a cluster's API server: what the document says, else the
// one that the kubeconfig has.
func Server(c mesh.Cluster, kubeconfig string) string {
	if c.Server != "" {
		return c.Server
	}
	return kubeconfig
}
