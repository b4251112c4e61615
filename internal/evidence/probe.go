package evidence

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/cluster"
	"isthmus.dev/isthmus/internal/explain"
	"isthmus.dev/isthmus/internal/facts"
	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/object"
	"isthmus.dev/isthmus/internal/probe"
	"isthmus.dev/isthmus/internal/verify"
)

// A Placer places and removes a set of objects in a cluster: internal/apply, which alone writes.
type Placer struct {
	Place  func(ctx context.Context, conn *cluster.Conn, set string, objects []object.Object) error
	Remove func(ctx context.Context, conn *cluster.Conn, set string) error
}

// A Prober makes the call that was explained.
type Prober struct {
	Mesh  mesh.Mesh
	Dial  cluster.Dialer
	Apply Placer
}

// callTimeout bounds one call.
const callTimeout = 5 * time.Second

// Probe makes one real call as the caller: by a program in a container of its own pod, or else from a pod that is
// placed beside it, with the same namespace and service account, and taken away again.
func (p Prober) Probe(ctx context.Context, e explain.Evidence, token string) explain.Probe {
	from, ok := p.Mesh.Cluster(e.From.Cluster)
	caller := e.Sites[e.From.Cluster].Caller
	if !ok || caller == nil {
		return explain.Probe{Err: "there is no caller"}
	}
	conn, err := p.Dial(from)
	if err != nil {
		return explain.Probe{Err: err.Error()}
	}
	defer conn.Close()
	headers := maps.Clone(e.Call.Headers)
	if headers == nil {
		headers = map[string]string{}
	}
	if token != "" {
		headers["authorization"] = "Bearer " + token
	}
	c := realCall{url: "http://" + net.JoinHostPort(e.Call.Host, strconv.Itoa(e.Call.Port)) + e.Call.Path, method: e.Call.Method, headers: headers}
	if b, ok := p.own(ctx, conn, caller, c); ok {
		return b
	}
	if p.Mesh.Verify.Image == "" {
		return explain.Probe{Err: fmt.Sprintf("no container of pod %s has /isthmus, curl or wget, and there is no image to place one beside it: spec.verify.image or --image", caller.Name)}
	}
	return p.beside(ctx, conn, from, caller, c)
}

// own tries the programs that the caller's containers may have.
func (p Prober) own(ctx context.Context, conn *cluster.Conn, caller *explain.Pod, c realCall) (explain.Probe, bool) {
	pod, err := conn.Kube.CoreV1().Pods(caller.Namespace).Get(ctx, caller.Name, metav1.GetOptions{})
	if err != nil {
		return explain.Probe{Err: facts.Plain(err)}, true
	}
	for _, container := range pod.Spec.Containers {
		if container.Name == proxyContainer {
			continue // its own calls go round the proxy
		}
		for _, t := range tools {
			if !t.can(c) {
				continue
			}
			argv, in := t.make(c)
			out, err := conn.ExecInput(ctx, caller.Namespace, caller.Name, container.Name, strings.NewReader(in), argv...)
			if err != nil && notThere(err) {
				continue
			}
			b := t.read(out, err)
			b.How = fmt.Sprintf("%s in container %s of pod %s/%s", t.name, container.Name, caller.Namespace, caller.Name)
			return b, true
		}
	}
	return explain.Probe{}, false
}

// notThere tells that a container has no such program.
func notThere(err error) bool {
	text := err.Error()
	return strings.Contains(text, "executable file not found") || strings.Contains(text, "no such file or directory") ||
		strings.Contains(text, "OCI runtime exec failed") || strings.Contains(text, "command terminated with exit code 127")
}

// ProbeSet names what is placed for a call: no mesh has a name like it.
func ProbeSet(m mesh.Mesh) string {
	return strings.Replace(verify.ProbeSet(m), "verify.", "explain.", 1)
}

// beside calls from a pod of its own.
func (p Prober) beside(ctx context.Context, conn *cluster.Conn, from mesh.Cluster, caller *explain.Pod, c realCall) (b explain.Probe) {
	set := ProbeSet(p.Mesh)
	b.How = fmt.Sprintf("a pod placed for it in namespace %s as service account %s", caller.Namespace, caller.Account)
	defer func() {
		gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if err := p.Apply.Remove(gone, conn, set); err != nil {
			b.Err = fmt.Sprintf("%s could not be taken away: %v", b.How, err)
		}
	}()
	if err := p.Apply.Place(ctx, conn, set, []object.Object{verify.CallerBeside(p.Mesh, from, caller.Namespace, caller.Account)}); err != nil {
		b.Err = err.Error()
		return b
	}
	pods, err := conn.Kube.CoreV1().Pods(caller.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + verify.CallerName})
	if err != nil {
		b.Err = facts.Plain(err)
		return b
	}
	i := slices.IndexFunc(pods.Items, isReady)
	if i < 0 {
		b.Err = b.How + " did not become ready"
		return b
	}
	how := b.How
	argv, in := tools[0].make(c)
	out, err := conn.ExecInput(ctx, caller.Namespace, pods.Items[i].Name, verify.Container, strings.NewReader(in), argv...)
	b = tools[0].read(out, err)
	b.How = how
	return b
}

// A realCall is what a program is to call.
type realCall struct {
	url, method string
	headers     map[string]string
}

// A tool is a program that containers may have, and how to call with it. Headers go to its input: a token may be
// among them, and a command's words are seen by others.
type tool struct {
	name string
	can  func(realCall) bool
	make func(realCall) (argv []string, in string)
	read func(out []byte, err error) explain.Probe
}

var tools = []tool{
	{"/isthmus probe call", anyCall, isthmusCall, readResult},
	{"curl", anyCall, curlCall, readCurl},
	{"wget", plainCall, wgetCall, readWget},
}

func anyCall(realCall) bool { return true }

// plainCall: wget of small images knows only GET, and headers only as words of the command.
func plainCall(c realCall) bool { return c.method == "GET" && len(c.headers) == 0 }

func isthmusCall(c realCall) (argv []string, in string) {
	plan, err := json.Marshal([]probe.Call{{To: c.url, Method: c.method, Headers: c.headers, TimeoutMillis: int(callTimeout.Milliseconds())}})
	if err != nil {
		panic(fmt.Sprintf("a call cannot be written as JSON: %v", err))
	}
	return []string{"/isthmus", "probe", "call", "-o", "json", "--plan", "-"}, string(plan)
}

func readResult(out []byte, err error) explain.Probe {
	var results []probe.Result
	if json.Unmarshal(out, &results) != nil || len(results) != 1 {
		return explain.Probe{Err: fmt.Sprintf("/isthmus probe call said nothing that can be read: %v", err)}
	}
	r := results[0]
	b := explain.Probe{Delivered: r.OK, Status: r.Code, Said: verify.Describe(r)}
	if r.Class == probe.Foreign { // a server of somebody else's is what is called here
		b.Delivered, b.Said = true, ""
	}
	return b
}

func curlCall(c realCall) (argv []string, in string) {
	argv = []string{"curl", "-s", "-S", "-o", "/dev/null", "-w", "%{http_code}", "-m", strconv.Itoa(int(callTimeout.Seconds())), "-X", c.method, "-H", "@-"}
	var lines strings.Builder
	for _, h := range slices.Sorted(maps.Keys(c.headers)) {
		fmt.Fprintf(&lines, "%s: %s\n", h, c.headers[h])
	}
	return append(argv, c.url), lines.String()
}

func readCurl(out []byte, err error) explain.Probe {
	n, _ := strconv.Atoi(strings.TrimSpace(string(out))) // 000: no answer
	b := explain.Probe{Status: n, Delivered: n > 0 && n < 400}
	if n == 0 && err != nil {
		b.Said = lastLine(err)
	}
	return b
}

func wgetCall(c realCall) (argv []string, in string) {
	return []string{"wget", "-S", "-O", "/dev/null", "-T", strconv.Itoa(int(callTimeout.Seconds())), c.url}, ""
}

var statusLine = regexp.MustCompile(`HTTP/[0-9.]+ ([0-9]{3})`)

// readWget: its answer is on stderr, which comes only with an error; silence is success.
func readWget(_ []byte, err error) explain.Probe {
	if err == nil {
		return explain.Probe{Status: 200, Delivered: true}
	}
	b := explain.Probe{Said: lastLine(err)}
	if m := statusLine.FindStringSubmatch(err.Error()); m != nil {
		b.Status, _ = strconv.Atoi(m[1])
	}
	return b
}

func lastLine(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return lines[len(lines)-1]
}
