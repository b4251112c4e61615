package discovery

import (
	"fmt"
	"strings"
	"time"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
)

// JudgeRemoteSecret says why a remote secret that exists must be made anew: it opens another server than the
// cluster has now, trusts another certificate authority, belongs to somebody else, or its token has ended, never
// ends, or has less than a third of its life left. It has type plan.Judge. About a cluster that does not answer
// nothing can be said, and what exists stays.
func JudgeRemoteSecret(m mesh.Mesh, cluster string, o object.Object, now facts.Snapshot) (stale string, err error) {
	here, there := now.Clusters[cluster], now.Clusters[o.Sealed.About]
	if here == nil || !there.Answered() {
		return "", nil
	}
	secret := here.Secrets[o.Body.GetNamespace()+"/"+o.Body.GetName()]
	if secret == nil {
		return "", nil // to be created: nothing to judge
	}
	about, _ := m.Cluster(o.Sealed.About)
	key, namespace := keyOf(*o.Sealed), AccountNamespace(*o.Sealed, about)
	k, ok := secret.Kubeconfigs[key]
	switch {
	case !ok:
		return fmt.Sprintf("it holds no kubeconfig under the key %q", key), nil
	case k.Server != Server(about, there.Server):
		return fmt.Sprintf("it opens %s, and the API server of %s is %s", k.Server, about.Name, Server(about, there.Server)), nil
	case strings.TrimSpace(k.CABundle) != strings.TrimSpace(there.CABundle):
		return fmt.Sprintf("it trusts another certificate authority than %s's API server has", about.Name), nil
	case k.Subject != Subject(namespace, o.Sealed.Account):
		return fmt.Sprintf("its token is %q's, not that of %s", k.Subject, o.Sealed.Account), nil
	}
	if stale := judgeAccount(secret, namespace, o.Sealed.Account, there); stale != "" {
		return stale, nil
	}
	return judgeToken(secret, k, now.Taken), nil
}

// judgeAccount says whether the ServiceAccount that a token is for is still the one that there is: a token dies with
// it, and one that is made anew under the same name is another. Where facts could not read it nothing is said.
func judgeAccount(secret *facts.Secret, namespace, account string, there *facts.Cluster) string {
	ref := object.Ref{Kind: "ServiceAccount", Namespace: namespace, Name: account}
	if there.Live == nil || there.Unread[ref] != "" {
		return ""
	}
	reader, uid := there.Find(ref)
	was := secret.Annotations[AnnotationReader]
	if reader == nil || was != "" && was != string(uid) {
		return fmt.Sprintf("its token died with the ServiceAccount %s/%s of %s that it was for", namespace, account, there.Name)
	}
	return ""
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
