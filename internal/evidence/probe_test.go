package evidence

import (
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/explain"
)

// TestTokensAreNoWordsOfACommand: whoever lists processes or reads an API server's log would have them.
func TestTokensAreNoWordsOfACommand(t *testing.T) {
	call := realCall{url: "http://echo.demo:80/", method: "POST", headers: map[string]string{"authorization": "Bearer canary", "x-a": "b"}}
	for _, tool := range tools {
		if !tool.can(call) {
			continue
		}
		argv, in := tool.make(call)
		if strings.Contains(strings.Join(argv, " "), "canary") || !strings.Contains(in, "canary") {
			t.Errorf("%s: %q, input %q", tool.name, argv, in)
		}
	}
	if i := slices.IndexFunc(tools, func(x tool) bool { return x.name == "wget" }); tools[i].can(call) {
		t.Error("wget cannot send that")
	}
}

func TestAnswersOfTools(t *testing.T) {
	cases := []struct {
		reason string
		got    explain.Probe
		want   explain.Probe
	}{
		{"curl, an answer", readCurl([]byte("204"), nil), explain.Probe{Status: 204, Delivered: true}},
		{"curl, a refusal", readCurl([]byte("403"), nil), explain.Probe{Status: 403}},
		{"curl, no answer", readCurl([]byte("000"), errors.New("exit 7: connection refused")), explain.Probe{Said: "exit 7: connection refused"}},
		{"wget, an answer", readWget(nil, nil), explain.Probe{Status: 200, Delivered: true}},
		{"wget, a refusal", readWget(nil, errors.New("  HTTP/1.1 503 Service Unavailable\nwget: server returned error")), explain.Probe{Status: 503, Said: "wget: server returned error"}},
		{"isthmus, another server's answer", readResult([]byte(`[{"ok":false,"code":200,"class":"foreign"}]`), nil), explain.Probe{Status: 200, Delivered: true}},
		{"isthmus, a refusal", readResult([]byte(`[{"ok":false,"code":403,"class":"status","body":"RBAC: access denied"}]`), nil), explain.Probe{Status: 403, Said: "RBAC: access denied"}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if c.got != c.want {
				t.Errorf("%+v, want %+v", c.got, c.want)
			}
		})
	}
}

func TestWorkload(t *testing.T) {
	pod := func(name, app string, owned bool) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": app}}}
		if owned {
			p.OwnerReferences = []metav1.OwnerReference{{Name: "x"}}
		}
		return p
	}
	pods := []corev1.Pod{pod("echo-6d8596958f-zntbh", "e", true), pod("echo-two-6d8596958f-abcde", "e", true), pod("db-0", "d", true), pod("agent-x7k2p", "a", true), pod("lone", "l", false)}
	for name, want := range map[string]string{
		"echo": "echo-6d8596958f-zntbh", "echo-two": "echo-two-6d8596958f-abcde", "db": "db-0", "agent": "agent-x7k2p", "lone": "lone",
		"l": "lone", "db-0": "db-0", "nobody": "",
	} {
		found := workload(pods, name)
		got := ""
		if len(found) == 1 {
			got = found[0].Name
		}
		if got != want {
			t.Errorf("workload %q is %q (%d pods), want %q", name, got, len(found), want)
		}
	}
}
