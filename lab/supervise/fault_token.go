package supervise

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// endTokens makes every token of a ServiceAccount be refused, as if its time were over: the account goes. Tokens are
// bound to the account's UID, so one of the same name that somebody makes meanwhile does not bring them back.
func endTokens(ctx context.Context, s *Supervisor, f *Fault, _ []Fault) error {
	c, err := s.cluster(f.Cluster)
	if err != nil {
		return err
	}
	f.Seen = fmt.Sprintf("tokens of ServiceAccount %s/%s of %s are refused, 10 s from now at the latest", f.Namespace, f.Account, f.Cluster)
	if f.Stored != nil { // it holds already, and who has made another account since has their reasons
		return nil
	}
	client, err := c.api()
	if err != nil {
		return err
	}
	var found struct {
		KVs []struct {
			Value []byte `json:"value"`
		} `json:"kvs"`
	}
	if err := c.etcd(ctx, "range", map[string][]byte{"key": accountKey(*f)}, &found); err != nil {
		return err
	}
	if len(found.KVs) == 0 {
		return fmt.Errorf("cluster %s has no ServiceAccount %s/%s", f.Cluster, f.Namespace, f.Account)
	}
	if err := client.CoreV1().ServiceAccounts(f.Namespace).Delete(ctx, f.Account, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete ServiceAccount %s/%s of cluster %s: %w", f.Namespace, f.Account, f.Cluster, err)
	}
	f.Stored = found.KVs[0].Value
	return nil
}

// reviveTokens brings the very account back. The API server gives every object that it makes a new UID, so it is
// written where the API server reads it.
func reviveTokens(ctx context.Context, s *Supervisor, f Fault, _ []Fault) error {
	c, err := s.cluster(f.Cluster)
	if err != nil {
		return err
	}
	return c.etcd(ctx, "put", map[string][]byte{"key": accountKey(f), "value": f.Stored}, &struct{}{})
}

// accountKey is where the API server keeps a ServiceAccount.
func accountKey(f Fault) []byte {
	return []byte("/registry/serviceaccounts/" + f.Namespace + "/" + f.Account)
}

// etcd asks the cluster's etcd, which answers in JSON too (etcd.io/docs: gRPC gateway).
func (c *cluster) etcd(ctx context.Context, verb string, ask, answer any) error {
	text, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:2379/v3/kv/"+verb, bytes.NewReader(text))
	if err != nil {
		return err
	}
	t := &http.Transport{DialContext: dialFrom(c.Nodes[0]), DisableKeepAlives: true}
	client := http.Client{Transport: t, Timeout: 5 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask etcd of cluster %s: %w", c.Name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if text, err = io.ReadAll(resp.Body); err != nil {
		return fmt.Errorf("ask etcd of cluster %s: %w", c.Name, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask etcd of cluster %s: %s: %s", c.Name, resp.Status, bytes.TrimSpace(text))
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("read the answer of etcd of cluster %s: %w", c.Name, err)
	}
	return nil
}
