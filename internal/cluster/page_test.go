package cluster_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"isthmus.dev/isthmus/internal/cluster"
)

// kubelet serves port-forwards to a backend as kubelets do, over SPDY; every other request is forbidden, and counted.
type kubelet struct {
	backend string         // host:port
	want    string         // the port that is asked for
	refuses bool           // port-forwards too
	others  map[string]int // paths of forbidden requests
}

func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if k.refuses || !strings.HasSuffix(r.URL.Path, "/pods/gateway-1/portforward") {
		k.others[r.URL.Path]++
		http.Error(w, "forbidden", http.StatusForbidden)
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
		return
	}
	streams := make(chan httpstream.Stream, 4)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
		streams <- s
		return nil
	})
	if conn == nil {
		return
	}
	defer conn.Close()
	complaints, data := <-streams, <-streams
	if data.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
		complaints, data = data, complaints
	}
	defer complaints.Close()
	defer data.Close()
	to, err := net.Dial("tcp", k.backend)
	if err != nil || data.Headers().Get(corev1.PortHeader) != k.want {
		_, _ = io.WriteString(complaints, "nobody listens on port "+data.Headers().Get(corev1.PortHeader))
		return
	}
	defer to.Close()
	go func() { _, _ = io.Copy(to, data) }()
	_, _ = io.Copy(data, to)
}

func (k *kubelet) conn(t *testing.T) *cluster.Conn {
	t.Helper()
	k.others = map[string]int{}
	s := httptest.NewServer(k)
	t.Cleanup(s.Close)
	c, err := cluster.New("east", &rest.Config{Host: s.URL}, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (k *kubelet) execs() int {
	n := 0
	for path, times := range k.others {
		if strings.HasSuffix(path, "/exec") {
			n += times
		}
	}
	return n
}

func TestAPageComesThroughTheKubelet(t *testing.T) {
	large := strings.Repeat("an endpoint of a large mesh\n", 100_000)
	envoy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.String() {
		case "/config_dump?include_eds":
			_, _ = io.WriteString(w, large)
		default:
			http.NotFound(w, r)
		}
	}))
	defer envoy.Close()
	at, err := url.Parse(envoy.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason     string
		kubelet    kubelet
		page, want string
		err        string
		execs      bool
	}{
		"whole": {
			reason:  "A page of some megabytes comes as it is.",
			kubelet: kubelet{backend: at.Host, want: "15000"}, page: "config_dump?include_eds", want: large,
		},
		"none": {
			reason:  "What is no page is an error that says so, and nobody is asked another time.",
			kubelet: kubelet{backend: at.Host, want: "15000"}, page: "nothing", err: "GET nothing: 404 Not Found",
		},
		"closed": {
			reason:  "Where nobody listens, the pod's own program is asked.",
			kubelet: kubelet{backend: "127.0.0.1:1", want: "15000"}, page: "clusters", err: "exec pilot-agent in pod istio-system/gateway-1", execs: true,
		},
		"forbidden": {
			reason:  "Who may not forward ports may still exec; who may neither is told of exec.",
			kubelet: kubelet{refuses: true}, page: "clusters", err: "exec pilot-agent in pod istio-system/gateway-1", execs: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := tc.kubelet
			got, err := k.conn(t).Envoy(t.Context(), "istio-system", "gateway-1", tc.page)
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) || string(got) != tc.want {
				t.Errorf("%s: %d bytes, want %d; error %v, want %q", tc.reason, len(got), len(tc.want), err, tc.err)
			}
			if n := k.execs(); (n > 0) != tc.execs {
				t.Errorf("%s: exec was asked for %d times", tc.reason, n)
			}
		})
	}
}
