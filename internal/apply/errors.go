package apply

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/redact"
)

// A ConflictError means that objects are in the way which are not ours. Nothing was written.
type ConflictError struct{ Conflicts []plan.Conflict }

func (e *ConflictError) Error() string {
	lines := make([]string, 0, len(e.Conflicts))
	for _, c := range e.Conflicts {
		lines = append(lines, c.String())
	}
	return strings.Join(lines, "; ")
}

// An ObjectError means that one object could not be written, read or deleted.
type ObjectError struct {
	Cluster string
	Verb    string // "apply", "delete", "seal"
	Object  object.Ref
	Err     error
}

func (e *ObjectError) Error() string {
	return fmt.Sprintf("cluster %s: %s %s: %s", e.Cluster, e.Verb, e.Object, explain(e.Err))
}

func (e *ObjectError) Unwrap() error { return e.Err }

// A NotReadyError means that an object was written and did not become ready in time.
type NotReadyError struct {
	Cluster string
	Object  object.Ref
	After   time.Duration
	Why     string
}

func (e *NotReadyError) Error() string {
	return fmt.Sprintf("cluster %s: %s is not ready after %s: %s", e.Cluster, e.Object, e.After.Round(time.Second), e.Why)
}

// explain says what an API server's error means: which field, and who else set it. What looks like a key or a token in
// its words is not in it.
func explain(err error) string {
	err = redact.Secrets{}.Error(err)
	var s apierrors.APIStatus
	if !errors.As(err, &s) {
		return facts.Plain(err)
	}
	status := s.Status()
	if why := refusal(status); why != "" && !slices.ContainsFunc(causes(status), func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" }) {
		return why
	}
	if status.Details == nil {
		return facts.Plain(err)
	}
	if slices.ContainsFunc(status.Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" }) {
		return "it was deleted or made anew by somebody since the plan was made"
	}
	var fields []string
	for _, c := range status.Details.Causes {
		if c.Type == metav1.CauseTypeFieldManagerConflict {
			who := strings.TrimPrefix(c.Message, "conflict with ")
			who, _, _ = strings.Cut(who, " using ")
			fields = append(fields, fmt.Sprintf("%s is set by %s", strings.TrimPrefix(c.Field, "."), strings.Trim(who, `"`)))
		}
	}
	if len(fields) > 0 {
		return errAppeared.Error() + ", and " + strings.Join(fields, ", ")
	}
	if strings.Contains(status.Message, "uid mismatch") {
		return "it was deleted or made anew by somebody since the plan was made"
	}
	return facts.Plain(err)
}

func causes(s metav1.Status) []metav1.StatusCause {
	if s.Details == nil {
		return nil
	}
	return s.Details.Causes
}

// errAppeared means that somebody made an object between plan and apply.
var errAppeared = errors.New("it has come to exist since the plan was made")

// noKind tells that the API server does not have a kind.
func noKind(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if meta.IsNoMatchError(err) {
			return true
		}
	}
	return false
}

// passes tells errors that go away by themselves: an API server that restarts or chooses a leader, a webhook whose
// program starts, a kind that was made a moment ago, a namespace that is on its way out or not seen yet.
func passes(err error) bool {
	if _, large := isTooLarge(err.Error()); large {
		return false
	}
	switch {
	case noKind(err), apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsTooManyRequests(err),
		apierrors.IsServiceUnavailable(err), apierrors.IsNotFound(err), apierrors.HasStatusCause(err, "NamespaceTerminating"):
		return true
	case apierrors.IsConflict(err):
		return strings.Contains(err.Error(), "the object has been modified")
	case apierrors.IsInternalError(err), apierrors.IsUnexpectedServerError(err):
		return slices.ContainsFunc([]string{"failed calling webhook", "etcdserver", "leader changed", "connection refused", "context deadline exceeded", "EOF"},
			func(s string) bool { return strings.Contains(err.Error(), s) })
	}
	var status apierrors.APIStatus
	return !errors.As(err, &status) && network(err)
}

// network tells that a request had no answer at all. Certificates and credentials do not mend themselves.
func network(err error) bool {
	switch facts.CauseOf(err) {
	case facts.CauseTLS, facts.CauseCredentials:
		return false
	}
	return facts.NoAnswer(err)
}

// values are a Secret's values as they are written and as they are meant.
func values(u *unstructured.Unstructured) []string {
	if u.GetKind() != "Secret" {
		return nil
	}
	var all []string
	for _, field := range []string{"data", "stringData"} {
		data, _, _ := unstructured.NestedMap(u.Object, field) // of another type: nothing to hide by key
		for _, v := range data {
			s, _ := v.(string)
			all = append(all, s)
			if raw, err := base64.StdEncoding.DecodeString(s); err == nil {
				all = append(all, string(raw))
			}
		}
	}
	return all
}

// scrubber takes secret values out of errors, as they come from an API server: what is cut or folded before may hold a
// part of one that nothing tells as one. It is made when it is needed first: most writes have no error.
func scrubber(secrets []string) func(error) error {
	known := sync.OnceValue(func() redact.Secrets { return redact.Of(secrets...) })
	return func(err error) error {
		if err == nil || len(secrets) == 0 {
			return err
		}
		return known().Error(err)
	}
}
