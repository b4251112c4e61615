// Package apitest runs real API servers for tests: one etcd, and a kube-apiserver for each cluster, on loopback,
// without nodes or controllers. Tests against fakes prove what the fake does; ownership of fields, conflicts and
// admission are the API server's own.
package apitest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// EnvBin names the folder that holds the programs etcd and kube-apiserver.
const EnvBin = "ISTHMUS_TEST_BIN"

// ErrNoPrograms means that EnvBin is not set: such tests are skipped, with this as the reason.
var ErrNoPrograms = errors.New("needs real API servers: set " + EnvBin + " to a folder with etcd and kube-apiserver")

// startWithin bounds the start of one API server on a busy machine.
const startWithin = 90 * time.Second

// Clusters are running API servers.
type Clusters struct {
	// Kubeconfig is a file with a context for each, by its name; the user may do everything.
	Kubeconfig string
	// Configs by name.
	Configs map[string]*rest.Config

	dir      string
	started  map[string]*exec.Cmd // by the name of the cluster, and etcd
	webhooks bool                 // they are called
}

// Start brings up one API server for each name. Errors: ErrNoPrograms, a program that does not come up.
func Start(ctx context.Context, names ...string) (*Clusters, error) {
	return start(ctx, false, names)
}

// For is Start for a test, which is skipped where there are no programs, and with whose end they stop.
func For(t testing.TB, names ...string) *Clusters {
	t.Helper()
	c, err := Start(t.Context(), names...)
	if errors.Is(err, ErrNoPrograms) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// StartCalling is Start with API servers that call webhooks.
func StartCalling(ctx context.Context, names ...string) (*Clusters, error) {
	return start(ctx, true, names)
}

func start(ctx context.Context, webhooks bool, names []string) (*Clusters, error) {
	bin := os.Getenv(EnvBin)
	if bin == "" {
		return nil, ErrNoPrograms
	}
	dir, err := os.MkdirTemp("", "isthmus-apitest-")
	if err != nil {
		return nil, err
	}
	c := &Clusters{
		Configs: map[string]*rest.Config{}, Kubeconfig: filepath.Join(dir, "kubeconfig"),
		dir: dir, started: map[string]*exec.Cmd{}, webhooks: webhooks,
	}
	if err := c.start(ctx, bin, names); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *Clusters) start(ctx context.Context, bin string, names []string) error {
	etcd, peers, err := twoPorts()
	if err != nil {
		return err
	}
	store := "http://" + etcd
	if err := c.run(filepath.Join(bin, "etcd"), "etcd", "--data-dir", filepath.Join(c.dir, "etcd"), "--listen-client-urls", store,
		"--advertise-client-urls", store, "--listen-peer-urls", "http://"+peers, "--initial-advertise-peer-urls", "http://"+peers,
		"--initial-cluster", "default=http://"+peers, "--unsafe-no-fsync", "--log-level", "error"); err != nil {
		return err
	}
	for _, name := range names {
		if err := c.serve(filepath.Join(bin, "kube-apiserver"), name, store); err != nil {
			return err
		}
	}
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.CurrentContext = names[0]
	for _, name := range names {
		if err := c.wait(ctx, name); err != nil {
			return err
		}
		cfg := c.Configs[name]
		kubeconfig.Clusters[name] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
		kubeconfig.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: cfg.BearerToken}
		kubeconfig.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	}
	return clientcmd.WriteToFile(*kubeconfig, c.Kubeconfig)
}

// serve starts a kube-apiserver whose objects lie under a prefix of their own in the shared etcd. Unless it is asked to, it
// calls no webhook, since no program behind one runs.
func (c *Clusters) serve(program, name, store string) error {
	dir := filepath.Join(c.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key := filepath.Join(dir, "accounts.key")
	if err := writeKey(key); err != nil {
		return err
	}
	tokens := filepath.Join(dir, "tokens.csv")
	token := rand.Text()
	if err := os.WriteFile(tokens, []byte(token+",admin,admin,system:masters\nnobody-"+token+",nobody,nobody,\n"), 0o600); err != nil {
		return err
	}
	at, _, err := twoPorts()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		return err
	}
	disabled := "--disable-admission-plugins=ServiceAccount"
	if !c.webhooks {
		disabled += ",MutatingAdmissionWebhook,ValidatingAdmissionWebhook"
	}
	c.Configs[name] = &rest.Config{Host: "https://" + at, BearerToken: token, QPS: -1}
	return c.run(program, name, "--etcd-servers="+store, "--etcd-prefix=/"+name, "--secure-port="+port, "--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1", "--cert-dir="+filepath.Join(dir, "certs"), "--service-account-issuer=https://"+name+".test",
		"--service-account-key-file="+key, "--service-account-signing-key-file="+key, "--token-auth-file="+tokens,
		"--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16", disabled,
		"--endpoint-reconciler-type=none", "--profiling=false")
}

// Nobody is a client that a cluster knows and that may do nothing.
func (c *Clusters) Nobody(name string) *rest.Config {
	cfg := rest.CopyConfig(c.Configs[name])
	cfg.BearerToken = "nobody-" + cfg.BearerToken
	return cfg
}

// Process is the number of the process that is a cluster's API server.
func (c *Clusters) Process(name string) int { return c.started[name].Process.Pid }

func (c *Clusters) run(program, name string, args ...string) error {
	log, err := os.Create(filepath.Join(c.dir, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close() // the program holds its own
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	// No proxy: nothing leaves this machine. What a test leaves behind is little, and is seldom worth collecting.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GOGC=400"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	c.started[name] = cmd
	return nil
}

func (c *Clusters) wait(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	cfg := c.Configs[name]
	for {
		err := c.ready(ctx, name, cfg)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(c.dir, name+".log")) // only for the message
			return fmt.Errorf("API server %s does not come up: %w\n%s", name, err, log[max(0, len(log)-2000):])
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c *Clusters) ready(ctx context.Context, name string, cfg *rest.Config) error {
	ca, err := os.ReadFile(filepath.Join(c.dir, name, "certs", "apiserver.crt"))
	if err != nil {
		return err
	}
	cfg.CAData = ca
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return err
	}
	for _, path := range []string{"/readyz", "/api/v1/namespaces/kube-system"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.Host+path, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close() // read only
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", path, resp.Status)
		}
	}
	return nil
}

// Stop ends every program that Start started and removes their files.
func (c *Clusters) Stop() {
	for _, cmd := range c.started {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()         // killed
	}
	_ = os.RemoveAll(c.dir) // a temporary folder
}

// twoPorts finds two addresses on loopback that nobody listens on.
func twoPorts() (a, b string, err error) {
	var found []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", "", err
		}
		defer l.Close() // freed for the program that gets the port
		found = append(found, l.Addr().String())
	}
	return strings.TrimSpace(found[0]), found[1], nil
}

func writeKey(path string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}
