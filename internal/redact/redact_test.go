package redact

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"
)

// key is a private key as cert-manager, step-ca and Isthmus write it.
func key(t testing.TB) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// forms are ways in which a webhook may show what it was sent.
var forms = []struct {
	reason string
	show   func(string) string
}{
	{"as it is", func(s string) string { return s }},
	{"on one line", func(s string) string { return strings.Join(strings.Fields(s), " ") }},
	{"with nothing between its lines", func(s string) string { return strings.ReplaceAll(s, "\n", "") }},
	{"quoted", strconv.Quote},
	{"quoted twice", func(s string) string { return strconv.Quote(strconv.Quote(s)) }},
	{"in base64", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }},
	{"in base64 of something that is a byte longer in front", func(s string) string { return base64.StdEncoding.EncodeToString([]byte("k" + s + "end")) }},
	{"in base64 of something that is two bytes longer in front", func(s string) string { return base64.StdEncoding.EncodeToString([]byte("k:" + s + "en")) }},
	{"in base64 for addresses", func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte("k:" + s)) }},
	{"its first half", func(s string) string { return s[:len(s)/2] }},
	{"its second half", func(s string) string { return s[len(s)/2:] }},
	{"half of its base64", func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte("kk" + s))[40:120]
	}},
	{"without its first and last line", func(s string) string {
		lines := strings.Split(strings.TrimSpace(s), "\n")
		return strings.Join(lines[1:len(lines)-1], "\n")
	}},
}

// shows tells whether some bytes of a secret's body are in a text, in whatever form: ten in a row, which chance does not
// bring about.
func shows(text, secret string) bool {
	body := strings.Join(strings.Split(strings.TrimSpace(secret), "\n")[1:], "")
	for _, form := range []string{
		secret, body, strings.Join(strings.Fields(secret), " "),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte("k" + secret)), base64.StdEncoding.EncodeToString([]byte("kk" + secret)),
	} {
		for i := 40; i+14 < len(form); i++ {
			if strings.Contains(text, form[i:i+14]) {
				return true
			}
		}
	}
	return false
}

func TestAKeyIsHiddenInEveryForm(t *testing.T) {
	secret := key(t)
	for _, held := range []struct {
		reason string
		value  string
	}{
		{"it is known as it is", secret},
		{"it is known as Kubernetes writes it", base64.StdEncoding.EncodeToString([]byte(secret))},
		{"it is in a kubeconfig", "users:\n- name: east\n  user:\n    client-key-data: " + base64.StdEncoding.EncodeToString([]byte(secret)) + "\n"},
	} {
		known := Of(held.value)
		for _, f := range forms {
			text := "admission webhook denied the request: I was sent " + f.show(secret) + ", and do not like it"
			got := known.Text(text)
			if shows(got, secret) || !strings.Contains(got, Hidden) || !strings.HasPrefix(got, "admission webhook denied the request: I was sent") {
				t.Errorf("%s, shown %s: %s", held.reason, f.reason, got)
			}
		}
	}
}

// TestAnUnknownKeyIsHiddenByItsLooks: what a webhook says of an object that is deleted, whose content nobody here read.
func TestAnUnknownKeyIsHiddenByItsLooks(t *testing.T) {
	secret := key(t)
	for _, f := range forms[:10] {
		if got := (Secrets{}).Text("old object: " + f.show(secret) + " end"); shows(got, secret) {
			t.Errorf("%s: %s", f.reason, got)
		}
	}
	token := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"x"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"system:serviceaccount:a:b"}`)) + ".c2lnbmF0dXJl"
	if got := (Secrets{}).Text("Bearer " + token + " is no good"); got != "Bearer "+Hidden+" is no good" {
		t.Errorf("a token: %s", got)
	}
}

func TestOtherTextStays(t *testing.T) {
	known := Of(key(t), "pw12")
	for _, text := range []string{
		"", "it is larger than 3 MiB", `Secret "cacerts" is invalid: data[tls.crt]: Required value`,
		"-----BEGIN CERTIFICATE REQUEST is what I want", "connection refused", "日本語 — ü \x1b[2J",
	} {
		if got := known.Text(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := known.Text("the password pw12 is weak"); got != "the password (hidden) is weak" {
		t.Errorf("a short one: %q", got)
	}
	if got := known.Text(strings.Repeat("x", longest+9)); len(got) > longest+len("…") {
		t.Errorf("a text of %d bytes", len(got))
	}
}

func TestAnErrorStaysWhatItIs(t *testing.T) {
	secret := key(t)
	known := Of(secret)
	gr := schema.GroupResource{Resource: "secrets"}
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "cacerts", nil)
	invalid.ErrStatus.Message = "data: " + secret
	invalid.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeFieldValueInvalid, Field: "data", Message: "not " + secret}}
	for _, err := range []error{
		apierrors.NewForbidden(gr, "cacerts", errors.New(secret)), apierrors.NewConflict(gr, "cacerts", errors.New(secret)), invalid,
		fmt.Errorf("write %s: %w", secret, apierrors.NewTooManyRequests(secret, 7)),
		fmt.Errorf("%s: %w", secret, io.EOF),
	} {
		got := known.Error(err)
		if shows(fmt.Sprintf("%v %+v %#v", got, got, apierrors.ReasonForError(got)), secret) {
			t.Errorf("it shows: %v", got)
		}
		if apierrors.ReasonForError(got) != apierrors.ReasonForError(err) || errors.Is(got, io.EOF) != errors.Is(err, io.EOF) {
			t.Errorf("%v became %v", err, got)
		}
		var s apierrors.APIStatus
		if errors.As(got, &s) && shows(fmt.Sprintf("%+v", s.Status()), secret) {
			t.Errorf("its status shows it: %+v", s.Status())
		}
	}
	if n, ok := apierrors.SuggestsClientDelay(known.Error(apierrors.NewTooManyRequests("x", 7))); !ok || n != 7 {
		t.Errorf("it says to wait %d s, %t", n, ok)
	}
	if err := known.Error(io.EOF); !errors.Is(err, io.EOF) || err.Error() != io.EOF.Error() {
		t.Errorf("an error without a secret became %v", err)
	}
	if known.Error(nil) != nil {
		t.Error("no error became one")
	}
}

// TestNoPartOfASecretStays: whatever is around a secret, and wherever it is cut.
func TestNoPartOfASecretStays(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		secret := rapid.StringMatching(`[A-Za-z0-9+/]{24,80}`).Draw(r, "secret")
		from := rapid.IntRange(0, len(secret)-window).Draw(r, "from")
		to := rapid.IntRange(from+window, len(secret)).Draw(r, "to")
		before, after := rapid.String().Draw(r, "before"), rapid.String().Draw(r, "after")
		got := Of(secret).Text(before + secret[from:to] + after)
		if strings.Contains(got, secret[from:to]) {
			r.Errorf("%q in %q", secret[from:to], got)
		}
	})
}
