package live_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/facts/apitest"
	"isthmus.dev/isthmus/internal/live"
	"isthmus.dev/isthmus/internal/mesh"
)

var servers *apitest.Clusters

func TestMain(m *testing.M) {
	var err error
	servers, err = apitest.Start(context.Background(), "east")
	if err != nil && !errors.Is(err, apitest.ErrNoPrograms) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if servers != nil {
		servers.Stop()
	}
	os.Exit(code)
}

// TestAll reads a real API server: every object of a kind, kinds that are not there left out, kinds that may not be
// listed said, no write and no Secret; a cluster that is away is a member all the same.
func TestAll(t *testing.T) {
	if servers == nil {
		t.Skip(apitest.ErrNoPrograms)
	}
	var mu sync.Mutex
	var asked []string
	dial := func(as string) cluster.Dialer {
		return func(c mesh.Cluster) (*cluster.Conn, error) {
			cfg := rest.CopyConfig(servers.Configs["east"])
			if c.Name == "away" {
				cfg.Host = "https://127.0.0.1:1"
			}
			cfg.Impersonate.UserName = as
			cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					mu.Lock()
					asked = append(asked, r.Method+" "+r.URL.Path)
					mu.Unlock()
					return rt.RoundTrip(r)
				})
			})
			return cluster.New(c.Name, cfg, 10*time.Second)
		}
	}
	conn, err := cluster.New("east", servers.Configs["east"], 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("s%d", i), Namespace: "default"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
		if _, err := conn.Kube.CoreV1().Services("default").Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	kinds := slices.Concat(live.Istio, live.Workloads)
	one := mesh.Mesh{Clusters: []mesh.Cluster{{Name: "east"}, {Name: "away"}}}
	got := live.All(t.Context(), one, dial(""), 30*time.Second, kinds...)
	services := 0
	for _, u := range got[0].Objects {
		if u.GetKind() == "Service" && strings.HasPrefix(u.GetName(), "s") {
			services++
		}
		if u.GetManagedFields() != nil || u.Object["status"] != nil {
			t.Errorf("%s %s keeps what nobody judges", u.GetKind(), u.GetName())
		}
	}
	if got[0].Away != "" || len(got[0].Unread) > 0 || services != 3 {
		t.Errorf("%d Services, away %q, unread %v", services, got[0].Away, got[0].Unread)
	}
	if got[1].Away != "connection refused" || len(got[1].Objects) > 0 {
		t.Errorf("a cluster that is away: %q, %d objects", got[1].Away, len(got[1].Objects))
	}
	nobody := live.All(t.Context(), mesh.Mesh{Clusters: one.Clusters[:1]}, dial("nobody"), 30*time.Second, live.Workloads...)
	if nobody[0].Away != "" || nobody[0].Unread["Service"] == "" || nobody[0].Unread["Pod"] == "" {
		t.Errorf("of one who may nothing: away %q, unread %v", nobody[0].Away, nobody[0].Unread)
	}
	for _, a := range asked {
		if !strings.HasPrefix(a, "GET ") || strings.Contains(a, "secrets") {
			t.Errorf("it asked %s", a)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
