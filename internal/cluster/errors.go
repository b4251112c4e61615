package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// A NoContextError means that the kubeconfig has no context of the name that the document gives.
type NoContextError struct {
	Cluster, Context string
	Have             []string // the contexts that exist, sorted
}

func (e *NoContextError) Error() string {
	have := "the kubeconfig has none"
	if len(e.Have) > 0 {
		have = "there are: " + strings.Join(e.Have, ", ")
	}
	return fmt.Sprintf("cluster %s: no context %q in the kubeconfig; %s", e.Cluster, e.Context, have)
}

func contextNames(contexts map[string]*clientcmdapi.Context) []string {
	return slices.Sorted(maps.Keys(contexts))
}
