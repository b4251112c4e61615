package apply

import (
	"fmt"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	webhookDown   = regexp.MustCompile(`(?s)failed calling webhook "([^"]+)": (?:failed to call webhook: )?(.*)`)
	webhookDenied = regexp.MustCompile(`(?s)admission webhook "([^"]+)" denied the request:? ?(.*)`)
	webhookAt     = regexp.MustCompile(`https://([-a-z0-9]+)\.([-a-z0-9]+)\.svc`)
	notDeclared   = regexp.MustCompile(`\.?([^\s:]+): field not declared in schema`)
)

// tooLarge are the words of the limits of an object's size: of a request (API server, 3 MiB), of an object (etcd,
// 1.5 MiB as it comes), of one message (gRPC), of a ConfigMap's and a Secret's data, and of all annotations together.
var tooLarge = []struct{ words, limit string }{
	{"Request entity too large", "3 MiB, which is the most that an API server takes in one request"},
	{"request is too large", "what etcd takes for one object (1.5 MiB unless its --max-request-bytes says more)"},
	{"larger than max", "what etcd takes in one message (2 MiB unless its --max-request-bytes says more)"},
	{"may not be more than 1048576 bytes", "1 MiB, which is the most that a ConfigMap or Secret holds"},
	{"may not be more than 262144 bytes", "256 KiB, which is the most that all annotations of an object hold together"},
}

// isTooLarge tells whether an API server, or its etcd, refused an object for its size, and against which limit.
func isTooLarge(text string) (limit string, yes bool) {
	for _, t := range tooLarge {
		if strings.Contains(text, t.words) {
			return t.limit, true
		}
	}
	return "", false
}

// refusal says why an API server would not take an object, and what to do: its size, its webhooks, its fields. "" if it
// is none of these.
func refusal(status metav1.Status) string {
	if limit, yes := isTooLarge(status.Message); yes {
		return fmt.Sprintf("it is larger than %s; take something out of it, or split it: what is in it comes from spec.istio.values, meshConfig and spec.gateways", limit)
	}
	if m := webhookDown.FindStringSubmatch(status.Message); m != nil {
		return down(m[1], oneLine(m[2]))
	}
	if m := webhookDenied.FindStringSubmatch(status.Message); m != nil {
		return fmt.Sprintf("webhook %s refuses it: %s", m[1], oneLine(m[2]))
	}
	if m := notDeclared.FindStringSubmatch(status.Message); m != nil {
		return fmt.Sprintf("the API server does not know the field %s: is its kind (CustomResourceDefinition) older than what is applied, or the name misspelt?", m[1])
	}
	if status.Reason != metav1.StatusReasonInvalid || status.Details == nil {
		return ""
	}
	var fields []string
	for _, c := range status.Details.Causes {
		if c.Field == "" {
			return ""
		}
		fields = append(fields, fmt.Sprintf("%s: %s", c.Field, oneLine(c.Message)))
	}
	if len(fields) == 0 {
		return ""
	}
	return "the API server refuses " + strings.Join(fields, "; ")
}

// down says what it means that a webhook does not answer: only one whose failurePolicy is Fail gets here.
func down(webhook, cause string) string {
	find := "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations -o wide"
	if m := webhookAt.FindStringSubmatch(cause); m != nil {
		find = fmt.Sprintf("kubectl -n %s get endpointslices -l kubernetes.io/service-name=%s", m[2], m[1])
	}
	return fmt.Sprintf("webhook %s does not answer (%s); its failurePolicy is Fail, so the API server refuses what it cannot ask it about. Is what serves it there? %s. If that is gone for good, delete its webhook configuration",
		webhook, cause, find)
}
