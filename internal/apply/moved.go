package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isthmus.dev/isthmus/internal/cluster"
)

// moved refuses to delete a Secret that cannot be made again unless the cluster which it moved to holds the same by now.
func (w writer) moved(ctx context.Context) error {
	ref, to := w.change.Object, w.run.a.Conns[w.change.MovedTo]
	if to == nil {
		return fmt.Errorf("it moved to %s, and there is no connection to that", w.change.MovedTo)
	}
	read := func(conn *cluster.Conn) (s *corev1.Secret, err error) {
		err = w.run.retry(ctx, w.notice, func(ctx context.Context) (err error) {
			s, err = conn.Kube.CoreV1().Secrets(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				s, err = nil, nil
			}
			return err
		})
		return s, err
	}
	here, err := read(w.conn)
	if err != nil || here == nil {
		return err
	}
	there, err := read(to)
	if err != nil {
		return fmt.Errorf("read the one that it moved to in %s: %w", w.change.MovedTo, err)
	}
	if there == nil {
		return fmt.Errorf("it is not in %s yet, and its content cannot be made again", w.change.MovedTo)
	}
	if !slices.Equal(here.Data[corev1.TLSCertKey], there.Data[corev1.TLSCertKey]) || !slices.Equal(here.Data[corev1.TLSPrivateKeyKey], there.Data[corev1.TLSPrivateKeyKey]) || len(here.Data) == 0 {
		return errors.New("it holds another root than the one of the same name in " + w.change.MovedTo + ", and cannot be made again")
	}
	return nil
}
