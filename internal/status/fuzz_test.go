package status

import (
	"encoding/json"
	"testing"

	"isthmus.dev/isthmus/internal/mesh"
)

// FuzzPages: whatever an istiod's pages say, they are counted: no more proxies are in step than there are.
func FuzzPages(f *testing.F) {
	f.Add([]byte(`[{"cluster_id":"east","proxy":"a.b","resources":{"CDS":{"sent":"1","acked":"1"}}}]`), []byte(`[{"id":"east"},{"id":"west","secretName":"istio-system/x","syncStatus":"synced"}]`))
	f.Add([]byte(`[null,{}]`), []byte(`[null]`))
	m := mesh.Mesh{Name: "shop", Clusters: []mesh.Cluster{{Name: "east"}, {Name: "west"}}}
	f.Fuzz(func(t *testing.T, syncz, clusterz []byte) {
		var p Pages
		var remotes []RemoteStatus
		if json.Unmarshal(syncz, &p.Proxies) != nil || json.Unmarshal(clusterz, &remotes) != nil {
			return
		}
		p.Clusters = map[string][]RemoteStatus{"istio-system/istiod": remotes}
		for _, c := range m.Clusters {
			if got := p.proxies(c); got.Synced+len(got.Behind) != got.Total {
				t.Errorf("%+v", got)
			}
			if got := p.remotes(m, c, nil); got.Synced > got.Wanted || got.Wanted > len(m.Clusters) {
				t.Errorf("%+v", got)
			}
		}
	})
}
