// Issuer is an OpenID provider for lab tests: the server of github.com/zitadel/oidc with a store that has no users, only
// clients whose names say what their tokens say. A module of its own, so that nobody else needs its libraries.
//
// A client is called AUDIENCE.GROUP.TTL, "pay.admin.5m"; with a TTL below zero its tokens have ended already. Tokens
// come from the token endpoint by the client_credentials grant. POST /rotate makes a new key: tokens are signed with it
// from then on, and the old one stays published.
package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9096", "address to serve on")
	issuer := flag.String("issuer", "", "what tokens name as their issuer (default: http://LISTEN)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := serve(ctx, *listen, *issuer); err != nil {
		fmt.Fprintln(os.Stderr, "issuer:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, listen, issuer string) error {
	if issuer == "" {
		issuer = "http://" + listen
	}
	s := &store{Storage: storage.NewStorage(storage.NewUserStore(issuer))}
	if err := s.rotate(); err != nil {
		return err
	}
	config := &op.Config{AuthMethodPost: true}
	if _, err := rand.Read(config.CryptoKey[:]); err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	provider, err := op.NewProvider(config, s, op.StaticIssuer(issuer), op.WithAllowInsecure())
	if err != nil {
		return fmt.Errorf("make provider: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.HandleFunc("POST /rotate", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.rotate(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	server := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// A store knows every client that has a name of the right form, and gives it the keys that were made.
type store struct {
	*storage.Storage
	mu   sync.Mutex
	keys []key
}

// A key signs, or in a set of keys is what others check with.
type key struct {
	id      string
	private *rsa.PrivateKey
}

func (k key) ID() string                                  { return k.id }
func (k key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k key) Key() any                                    { return k.private }

type published struct{ key }

func (p published) Key() any                           { return &p.private.PublicKey }
func (p published) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (p published) Use() string                        { return "sig" }

func (s *store) rotate() error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, key{"key-" + strconv.Itoa(len(s.keys)+1), private})
	return nil
}

// SigningKey is the last one that was made.
func (s *store) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1], nil
}

// KeySet is all of them.
func (s *store) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []op.Key
	for _, k := range s.keys {
		all = append(all, published{k})
	}
	return all, nil
}

// A client is what its name says.
type client struct {
	*storage.Client
	name, audience, group string
	ttl                   time.Duration
}

func parse(name string) (client, error) {
	parts := strings.Split(name, ".")
	if len(parts) != 3 {
		return client{}, fmt.Errorf("client %q is not AUDIENCE.GROUP.TTL", name)
	}
	ttl, err := time.ParseDuration(parts[2])
	return client{storage.WebClient(name, ""), name, parts[0], parts[1], ttl}, err
}

func (c client) GetID() string                       { return c.name }
func (c client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
func (c client) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeClientCredentials}
}

// ClientCredentials lets every client in: there is nothing here to protect.
func (s *store) ClientCredentials(_ context.Context, id, _ string) (op.Client, error) {
	return parse(id)
}

// GetClientByClientID is asked wherever a client is looked up.
func (s *store) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	return parse(id)
}

// ClientCredentialsTokenRequest is what the token is for.
func (s *store) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	c, err := parse(id)
	return &oidc.JWTTokenRequest{Subject: id, Audience: []string{c.audience}, Scopes: scopes}, err
}

// CreateAccessToken says how long a token is good.
func (s *store) CreateAccessToken(_ context.Context, request op.TokenRequest) (string, time.Time, error) {
	c, err := parse(request.GetSubject())
	return rand.Text(), time.Now().Add(c.ttl), err
}

// GetPrivateClaimsFromScopes are the claims beside OpenID's own.
func (s *store) GetPrivateClaimsFromScopes(_ context.Context, subject, _ string, _ []string) (map[string]any, error) {
	c, err := parse(subject)
	return map[string]any{"groups": []string{c.group}}, err
}
