package facts

import "testing"

func TestAnswered(t *testing.T) {
	var unknown *Cluster
	for _, c := range []struct {
		reason  string
		cluster *Cluster
		want    bool
	}{{"not known", unknown, false}, {"no answer", &Cluster{Err: "connection refused"}, false}, {"read", &Cluster{}, true}} {
		if got := c.cluster.Answered(); got != c.want {
			t.Errorf("%s: %t", c.reason, got)
		}
	}
}
