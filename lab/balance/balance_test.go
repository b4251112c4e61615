package balance

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var began = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

type option func(*corev1.Service)

func lb(name string, age int, opts ...option) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: metav1.NewTime(began.Add(time.Duration(-age) * time.Second))},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}
	for _, o := range opts {
		o(s)
	}
	return s
}

func has(ip string) option {
	return func(s *corev1.Service) { s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ip}} }
}

func asks(ip string) option { return func(s *corev1.Service) { s.Spec.LoadBalancerIP = ip } }

func TestAssign(t *testing.T) {
	pool := []netip.Addr{netip.MustParseAddr("198.18.0.80"), netip.MustParseAddr("198.18.0.81"), netip.MustParseAddr("198.18.0.82")}
	class := "other"
	cases := []struct {
		reason string
		in     []*corev1.Service
		want   map[string]string
		err    error
	}{
		{"no Service, no address", nil, map[string]string{}, nil},
		{"the oldest gets the first address", []*corev1.Service{lb("young", 1), lb("old", 9)}, map[string]string{"old": "198.18.0.80", "young": "198.18.0.81"}, nil},
		{"of the same age, by name", []*corev1.Service{lb("b", 1), lb("a", 1)}, map[string]string{"a": "198.18.0.80", "b": "198.18.0.81"}, nil},
		{"who has one keeps it, whoever is older", []*corev1.Service{lb("old", 9), lb("young", 1, has("198.18.0.80"))}, map[string]string{"old": "198.18.0.81", "young": "198.18.0.80"}, nil},
		{"a wish is fulfilled before the rest", []*corev1.Service{lb("old", 9), lb("young", 1, asks("198.18.0.80"))}, map[string]string{"old": "198.18.0.81", "young": "198.18.0.80"}, nil},
		{"a wish outside the pool is no wish", []*corev1.Service{lb("a", 1, asks("192.0.2.1"))}, map[string]string{"a": "198.18.0.80"}, nil},
		{"two with one address: the older keeps it", []*corev1.Service{lb("old", 9, has("198.18.0.82")), lb("young", 1, has("198.18.0.82"))}, map[string]string{"old": "198.18.0.82", "young": "198.18.0.80"}, nil},
		{"an address from elsewhere is replaced", []*corev1.Service{lb("a", 1, has("10.0.0.1"))}, map[string]string{"a": "198.18.0.80"}, nil},
		{"other types get none", []*corev1.Service{lb("a", 1, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })}, map[string]string{}, nil},
		{"another implementation's is left alone", []*corev1.Service{lb("a", 1, func(s *corev1.Service) { s.Spec.LoadBalancerClass = &class })}, map[string]string{}, nil},
		{"one that is being deleted gives its address back", []*corev1.Service{
			lb("gone", 9, has("198.18.0.80"), func(s *corev1.Service) { s.DeletionTimestamp = &metav1.Time{Time: began} }), lb("new", 1),
		}, map[string]string{"new": "198.18.0.80"}, nil},
		{"when the pool is empty, the youngest goes without", []*corev1.Service{lb("a", 4), lb("b", 3), lb("c", 2), lb("d", 1)}, map[string]string{"a": "198.18.0.80", "b": "198.18.0.81", "c": "198.18.0.82"}, ErrExhausted},
	}
	for _, c := range cases {
		list, err := Assign(pool, c.in)
		got := map[string]string{}
		for _, a := range list {
			got[a.Service.Name] = a.Address.String()
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.reason, diff)
		}
		if !errors.Is(err, c.err) {
			t.Errorf("%s: error %v, want %v", c.reason, err, c.err)
		}
	}
}
