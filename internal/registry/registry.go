// Package registry reads manifests and blobs from registries, and believes none of them: what is asked for by a digest
// is returned when it has that digest, and everything is bounded. A tag is the registry's word and no more; what it
// leads to is told by the digest of the bytes that came. The credentials of a registry go to it alone (see guard).
package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	// mostManifest is how large a manifest may be: what the OCI distribution specification asks registries to take.
	mostManifest = 4 << 20
	// MostBlob is how large a blob may be. The largest of Istio's charts has less than 1 MiB.
	MostBlob = 32 << 20
	// patience is how long one manifest or blob may take.
	patience = 5 * time.Minute
)

// A Client reads from registries. Its zero value reads with the credentials that "docker login" left, and sends them
// over TLS and to this machine only.
type Client struct {
	// Keychain has the credentials. Default: those that "docker login" left.
	Keychain authn.Keychain
	// PlainHTTP are registries, HOST or HOST:PORT, that may be spoken to without TLS, credentials included.
	PlainHTTP []string
	// Transport is how requests are made. Default: as the library makes them.
	Transport http.RoundTripper
}

// A Manifest is what a reference leads to.
type Manifest struct {
	// Digest is that of Raw: "sha256:…".
	Digest string
	Raw    []byte
}

// Digest is the digest of a text as registries write it.
func Digest(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// A DigestError says that a registry served other bytes than it was asked for.
type DigestError struct{ What, Want, Got string }

func (e *DigestError) Error() string {
	return fmt.Sprintf("%s: what the registry sent is not what it said: it has digest %s, and %s was asked for", e.What, e.Got, e.Want)
}

// Manifest reads the manifest of a reference, HOST/PATH:TAG or HOST/PATH@DIGEST, of an image or of an index.
func (c Client) Manifest(ctx context.Context, reference string) (Manifest, error) {
	ref, err := c.parse(reference)
	if err != nil {
		return Manifest{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	options, err := c.options(ctx, ref, mostManifest)
	if err != nil {
		return Manifest{}, err
	}
	found, err := remote.Get(ref, options...)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Digest: Digest(found.Manifest), Raw: found.Manifest}
	if want, ok := ref.(name.Digest); ok && want.DigestStr() != m.Digest {
		return Manifest{}, &DigestError{What: "manifest of " + reference, Want: want.DigestStr(), Got: m.Digest}
	}
	return m, nil
}

// Resolve asks a registry which manifest a tag leads to now. It is the registry's word, given without the manifest where
// the registry answers so: some count each manifest that is read, and refuse beyond a number.
func (c Client) Resolve(ctx context.Context, reference string) (digest string, err error) {
	ref, err := c.parse(reference)
	if err != nil {
		return "", err
	}
	if pinned, ok := ref.(name.Digest); ok {
		return pinned.DigestStr(), nil
	}
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	options, err := c.options(short, ref, mostManifest)
	if err != nil {
		return "", err
	}
	if head, err := remote.Head(ref, options...); err == nil && head.Digest.Algorithm == "sha256" {
		return head.Digest.String(), nil
	}
	m, err := c.Manifest(ctx, reference)
	return m.Digest, err
}

// Blob reads a blob of a repository, HOST/PATH, to its end. It has the digest and the size, or there is an error.
func (c Client) Blob(ctx context.Context, repository, digest string, size int64) ([]byte, error) {
	if size < 0 || size > MostBlob {
		return nil, fmt.Errorf("blob %s is said to have %d bytes, and more than %d MiB are not read", digest, size, MostBlob>>20)
	}
	ref, err := c.parse(repository + "@" + digest)
	if err != nil {
		return nil, err
	}
	pinned, ok := ref.(name.Digest)
	if !ok {
		return nil, fmt.Errorf("%q is no digest", digest)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	options, err := c.options(ctx, ref, MostBlob)
	if err != nil {
		return nil, err
	}
	layer, err := remote.Layer(pinned, options...)
	if err != nil {
		return nil, err
	}
	from, err := layer.Compressed()
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", digest, err)
	}
	text, err := io.ReadAll(io.LimitReader(from, size+1))
	if err = errors.Join(err, from.Close()); err != nil {
		return nil, fmt.Errorf("blob %s: %w", digest, err)
	}
	if int64(len(text)) != size {
		return nil, fmt.Errorf("blob %s: the registry sent other than the %d bytes that its manifest says", digest, size)
	}
	if got := Digest(text); got != digest {
		return nil, &DigestError{What: "blob", Want: digest, Got: got}
	}
	return text, nil
}

// parse reads a reference. One to a registry that may be spoken to without TLS says so itself afterwards.
func (c Client) parse(reference string) (name.Reference, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(c.PlainHTTP, func(host string) bool { return sameHost(host, ref.Context().RegistryStr()) }) {
		return name.ParseReference(reference, name.Insecure)
	}
	return ref, nil
}

// Reference is a reference as Options needs it.
func (c Client) Reference(reference string) (name.Reference, error) { return c.parse(reference) }

// Options are what the library is called with for a reference, to push too: with credentials, and with the guard that
// keeps them.
func (c Client) Options(ctx context.Context, ref name.Reference) ([]remote.Option, error) {
	return c.options(ctx, ref, MostBlob)
}

func (c Client) options(ctx context.Context, ref name.Reference, most int64) ([]remote.Option, error) {
	keychain := c.Keychain
	if keychain == nil {
		keychain = authn.DefaultKeychain
	}
	auth, err := authn.Resolve(ctx, keychain, ref.Context())
	if err != nil {
		return nil, fmt.Errorf("credentials of %s: %w", ref.Context().RegistryStr(), err)
	}
	g := guard{
		registry: ref.Context().RegistryStr(), plain: c.PlainHTTP, secret: auth != authn.Anonymous,
		open: ref.Context().Scheme() == "http", most: most, inner: c.Transport,
	}
	if g.inner == nil {
		g.inner = remote.DefaultTransport
	}
	return []remote.Option{remote.WithContext(ctx), remote.WithAuth(auth), remote.WithTransport(g), remote.WithUserAgent("isthmus")}, nil
}

// Missing tells whether a registry says that something is not there.
func Missing(err error) bool {
	var refused *transport.Error
	return errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound
}

// Unreachable tells whether an error says nothing of what a registry has: it did not answer, or has trouble of its own.
func Unreachable(err error) bool {
	var refused *transport.Error
	var other *DigestError
	var unsafe *CredentialsError
	switch {
	case err == nil || errors.As(err, &other) || errors.As(err, &unsafe):
		return false
	case errors.As(err, &refused):
		return refused.StatusCode >= http.StatusInternalServerError || refused.StatusCode == http.StatusTooManyRequests
	}
	var bad *name.ErrBadName
	return !errors.As(err, &bad) && !errors.Is(err, context.Canceled)
}
