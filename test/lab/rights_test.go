//go:build lab

package lab_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"isthmus.dev/isthmus/lab/component"
)

// Accounts that Isthmus makes for istiods elsewhere.
var accounts = []string{"isthmus-reader", "isthmus-control-plane"}

// spare are rights that are given and that no lab asks for, and who does.
var spare = map[string]string{
	"create subjectaccessreviews":       "gateways in the cluster whose certificate is in a Secret (pilot/pkg/credentials/kube)",
	"watch gateways":                    "clusters that have the CRDs of the Gateway API (pkg/kube/multicluster/cluster.go)",
	"watch serviceexports":              "an istiod with ENABLE_MCS_SERVICE_DISCOVERY",
	"watch serviceimports":              "an istiod with ENABLE_MCS_HOST",
	"get mutatingwebhookconfigurations": "nobody that was seen; kept until somebody has looked whether an istiod needs it",
}

// refused are requests that are refused by right, and why they are made.
var refused = map[string]string{
	"get namespaces": "an istiod asks in every cluster whether it has its namespace there, and so may lead (multicluster.go, checkShouldLead)",
}

// An audited request is a line of an API server's audit log.
type audited struct {
	Verb string `json:"verb"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	Object struct {
		Resource  string `json:"resource"`
		Group     string `json:"apiGroup"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"objectRef"`
	At          time.Time         `json:"requestReceivedTimestamp"`
	Annotations map[string]string `json:"annotations"`
}

// accountsUse compares the rules of the accounts that Isthmus made with what their tokens were used for since then, by the
// API servers' audit logs: nothing that was asked for is refused, and no right is there that nobody uses. It costs a second.
func accountsUse(t *testing.T, clusters []string, since time.Time) {
	t.Helper()
	seen := 0
	for _, c := range clusters {
		for _, account := range accounts {
			var log []audited
			for _, a := range auditLog(t, c) {
				if a.User.Username == "system:serviceaccount:isthmus-system:"+account && a.At.After(since) {
					log = append(log, a)
				}
			}
			for _, a := range log {
				if a.Annotations["authorization.k8s.io/decision"] == "forbid" && refused[a.Verb+" "+a.Object.Resource] == "" {
					t.Errorf("%s: %s asked to %s %s %s/%s and may not: %s", c, account, a.Verb, a.Object.Resource, a.Object.Namespace, a.Object.Name, a.Annotations["authorization.k8s.io/reason"])
				}
			}
			seen += len(log)
			for _, unused := range unusedRights(t, c, account, log) {
				if spare[unused] == "" {
					t.Errorf("%s: %s may %s, and never asked for it", c, account, unused)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no audit log has a word of these accounts: this proves nothing")
	}
}

// unusedRights are "verb resource" of an account's roles for which nothing in the log asks.
func unusedRights(t *testing.T, cluster, account string, log []audited) []string {
	t.Helper()
	var rules []rbacv1.PolicyRule
	for _, args := range [][]string{{"get", "clusterrole", account, "-o", "json"}, {"-n", "istio-system", "get", "role", account, "-o", "json"}} {
		out, err := tryKubectl(t, cluster, args...)
		if err != nil {
			return nil // it is not made here
		}
		var role rbacv1.ClusterRole // a Role has its rules in the same place
		if err := json.Unmarshal([]byte(out), &role); err != nil {
			t.Fatal(err)
		}
		rules = append(rules, role.Rules...)
	}
	var unused []string
	for _, rule := range rules {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				if verb == "list" && slices.Contains(rule.Verbs, "watch") {
					continue // client-go lists by a watch where the API server can (WatchList), and by list elsewhere
				}
				used := slices.ContainsFunc(log, func(a audited) bool {
					return a.Verb == verb && a.Object.Resource == resource && slices.Contains(rule.APIGroups, a.Object.Group)
				})
				if right := verb + " " + resource; !used && !slices.Contains(unused, right) {
					unused = append(unused, right)
				}
			}
		}
	}
	return unused
}

// auditLog is what a cluster's API server wrote.
func auditLog(t *testing.T, cluster string) []audited {
	t.Helper()
	c, err := here(t).Find(cluster)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(component.AuditLog(c))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []audited
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var a audited
		if err := json.Unmarshal(lines.Bytes(), &a); err == nil && strings.HasPrefix(a.User.Username, "system:serviceaccount:") {
			all = append(all, a)
		}
	}
	return all
}
