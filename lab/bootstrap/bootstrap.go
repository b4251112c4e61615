// Package bootstrap puts into a fresh cluster what makes it usable: its nodes, with pod range and place, and its DNS
// server. Everything is applied by the server, so doing it again changes nothing.
package bootstrap

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"isthmus.dev/isthmus/lab/component"
	"isthmus.dev/isthmus/lab/layout"
)

// manager is the field manager of what the lab applies.
const manager = "isthmus-lab"

// Nodes makes the cluster's Node objects before their kubelets would, since a node's pod range can be set only once
// and kube-proxy waits for its Node. A Node that is there gets its range if it has none.
func Nodes(ctx context.Context, client kubernetes.Interface, c layout.Cluster) error {
	for _, n := range c.Nodes {
		node := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: map[string]string{
				component.Region: n.Region, component.Zone: n.Zone, corev1.LabelHostname: n.Name,
			}},
			Spec: corev1.NodeSpec{PodCIDR: n.Pods.String(), PodCIDRs: []string{n.Pods.String()}, ProviderID: "isthmus-lab://" + c.Lab + "/" + n.Name},
		}
		_, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{FieldManager: manager})
		if apierrors.IsAlreadyExists(err) {
			err = patch(ctx, client, n)
		}
		if err != nil {
			return fmt.Errorf("make node %s: %w", n.Name, err)
		}
	}
	return nil
}

func patch(ctx context.Context, client kubernetes.Interface, n layout.Node) error {
	have, err := client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
	if err != nil || have.Spec.PodCIDR != "" {
		return err
	}
	body, err := json.Marshal(map[string]any{"spec": map[string]any{"podCIDR": n.Pods.String(), "podCIDRs": []string{n.Pods.String()}}})
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Nodes().Patch(ctx, n.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: manager})
	return err
}
