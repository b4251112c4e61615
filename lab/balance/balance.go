// Package balance gives Services of type LoadBalancer an address. The address comes from the cluster's own part of the
// lab's wire and is answered for by its first node, where kube-proxy takes over; so it can be reached from the machine
// and from every other cluster. An address stays with its Service until the Service goes. A Service with
// externalTrafficPolicy Local is served only if one of its pods runs on the first node.
package balance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// ErrExhausted says that the pool holds no free address.
var ErrExhausted = errors.New("no free address for another LoadBalancer Service")

// A Controller serves one cluster.
type Controller struct {
	Client kubernetes.Interface
	// Pool is where addresses come from; the first free one is taken.
	Pool []netip.Addr
	// Answer makes the given addresses of the pool, and no others of it, reachable.
	Answer func([]netip.Addr) error
	Log    *slog.Logger

	services listers.ServiceLister
	queue    workqueue.TypedRateLimitingInterface[string]
}

// all is the only key: one address may depend on every Service, and there are few of them.
const all = "all"

// Run serves until ctx ends. factory must not have been started.
func (c *Controller) Run(ctx context.Context, factory informers.SharedInformerFactory) {
	c.queue = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	defer c.queue.ShutDown()
	c.services = factory.Core().V1().Services().Lister()
	add := func(any) { c.queue.Add(all) }
	informer := factory.Core().V1().Services().Informer()
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: add, UpdateFunc: func(any, any) { c.queue.Add(all) }, DeleteFunc: add,
	}); err != nil {
		c.Log.Error("watch Services", "error", err)
		return
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return
	}
	c.queue.Add(all)
	go func() {
		<-ctx.Done()
		c.queue.ShutDown()
	}()
	for c.next(ctx) {
	}
}

func (c *Controller) next(ctx context.Context) bool {
	key, quit := c.queue.Get()
	if quit {
		return false
	}
	defer c.queue.Done(key)
	if err := c.reconcile(ctx); err != nil && ctx.Err() == nil {
		c.Log.Warn("give LoadBalancer Services their addresses", "error", err)
		c.queue.AddRateLimited(key)
		return true
	}
	c.queue.Forget(key)
	return true
}

func (c *Controller) reconcile(ctx context.Context) error {
	list, err := c.services.List(labels.Everything())
	if err != nil {
		return err
	}
	want, problem := Assign(c.Pool, list)
	addrs := make([]netip.Addr, 0, len(want))
	for _, a := range want {
		addrs = append(addrs, a.Address)
	}
	// First answer, then announce: who sees an address can use it.
	if err := c.Answer(addrs); err != nil {
		return err
	}
	for _, a := range want {
		if err := c.announce(ctx, a); err != nil {
			return err
		}
	}
	return errors.Join(problem, c.withdraw(ctx, list))
}

func (c *Controller) announce(ctx context.Context, a Assignment) error {
	if Address(a.Service) == a.Address {
		return nil
	}
	s := a.Service.DeepCopy()
	mode := corev1.LoadBalancerIPModeVIP
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: a.Address.String(), IPMode: &mode}}
	_, err := c.Client.CoreV1().Services(s.Namespace).UpdateStatus(ctx, s, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("announce address of Service %s/%s: %w", s.Namespace, s.Name, err)
	}
	return nil
}

// withdraw takes the address from Services that are no longer of type LoadBalancer.
func (c *Controller) withdraw(ctx context.Context, list []*corev1.Service) error {
	for _, s := range list {
		if served(s) || !slices.Contains(c.Pool, Address(s)) {
			continue
		}
		s = s.DeepCopy()
		s.Status.LoadBalancer = corev1.LoadBalancerStatus{}
		if _, err := c.Client.CoreV1().Services(s.Namespace).UpdateStatus(ctx, s, metav1.UpdateOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("withdraw address of Service %s/%s: %w", s.Namespace, s.Name, err)
		}
	}
	return nil
}

// An Assignment is a Service and its address.
type Assignment struct {
	Service *corev1.Service
	Address netip.Addr
}

// Assign gives every LoadBalancer Service in list an address of pool: the one it has, the one it asks for in
// spec.loadBalancerIP, or the first that is free, the oldest Service first. What it can give it gives, even if it
// returns an error that names those that got none.
func Assign(pool []netip.Addr, list []*corev1.Service) ([]Assignment, error) {
	list = slices.DeleteFunc(slices.Clone(list), func(s *corev1.Service) bool { return !served(s) })
	slices.SortFunc(list, func(a, b *corev1.Service) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	taken := map[netip.Addr]bool{}
	var out []Assignment
	claim := func(wish func(*corev1.Service) netip.Addr) {
		list = slices.DeleteFunc(list, func(s *corev1.Service) bool {
			a := wish(s)
			if taken[a] || !slices.Contains(pool, a) {
				return false
			}
			taken[a] = true
			out = append(out, Assignment{s, a})
			return true
		})
	}
	claim(Address)
	claim(func(s *corev1.Service) netip.Addr {
		a, _ := netip.ParseAddr(s.Spec.LoadBalancerIP)
		return a
	})
	claim(func(*corev1.Service) netip.Addr {
		i := slices.IndexFunc(pool, func(a netip.Addr) bool { return !taken[a] })
		if i < 0 {
			return netip.Addr{}
		}
		return pool[i]
	})
	var problems []error
	for _, s := range list {
		problems = append(problems, fmt.Errorf("%s/%s: %w", s.Namespace, s.Name, ErrExhausted))
	}
	return out, errors.Join(problems...)
}

// Address is the address that the Service has; not valid if none.
func Address(s *corev1.Service) netip.Addr {
	if len(s.Status.LoadBalancer.Ingress) == 0 {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(s.Status.LoadBalancer.Ingress[0].IP)
	return a
}

// served tells whether the Service is one of ours: of type LoadBalancer, and not left to another implementation.
func served(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass == nil && s.DeletionTimestamp == nil
}
