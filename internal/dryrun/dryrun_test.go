package dryrun

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const log = `2026-11-24T12:00:00.000Z info	Envoy proxy is ready
{"log":"isthmus-dry-run","time":"2026-11-24T12:00:01.000Z","caller":"spiffe://cluster.local/ns/shop/sa/web","port":8080,"method":"GET","path":"/pay"}
{"log":"another","time":"2026-11-24T12:00:01.000Z","caller":"spiffe://cluster.local/ns/shop/sa/web","port":8080,"method":"GET","path":"/pay"}
{"log":"isthmus-dry-run","time":"2026-11-24T12:00:03.000Z","caller":"spiffe://cluster.local/ns/shop/sa/web","port":"8080","method":"GET","path":"/pay"}
{"log":"isthmus-dry-run","time":"2026-11-24T12:00:02.000Z","caller":null,"port":9000,"method":"-"}
{"log":"isthmus-dry-run", broken
[2026-11-24T12:00:04.000Z] "GET /pay HTTP/1.1" 200 - via_upstream
`

func TestParse(t *testing.T) {
	found, err := Parse(strings.NewReader(log), Refusal{Cluster: "east", Namespace: "pay", Workload: "pay"})
	if err != nil {
		t.Fatal(err)
	}
	at := func(s int) time.Time { return time.Date(2026, 11, 24, 12, 0, s, 0, time.UTC) }
	want := []Refusal{
		{Cluster: "east", Namespace: "pay", Workload: "pay", Caller: "spiffe://cluster.local/ns/shop/sa/web", Method: "GET", Path: "/pay", Port: 8080, Count: 2, Last: at(3)},
		{Cluster: "east", Namespace: "pay", Workload: "pay", Port: 9000, Count: 1, Last: at(2)},
	}
	if diff := cmp.Diff(want, together(found)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
