package probe

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"time"
)

// A Token is what a forged one says and where it is put. It is made where the call is made, so it is in no plan, no
// command line and no audit log of an API server; and results are redacted.
type Token struct {
	Issuer string `json:"issuer"`
	// Audience is the token's "aud". Empty: it has none.
	Audience string `json:"audience,omitempty"`
	// Header that holds it, after Prefix. Empty: Authorization, after "Bearer ".
	Header string `json:"header,omitempty"`
	Prefix string `json:"prefix,omitempty"`
}

// tokenHead is the first part of every forged token. ES256, since its keys take no time to make; a proxy that holds
// only other keys for the issuer refuses the token all the same.
var tokenHead = part([]byte(`{"alg":"ES256","typ":"JWT"}`))

// forgedToken finds a forged token in a text, one that was cut off too.
var forgedToken = regexp.MustCompile(regexp.QuoteMeta(tokenHead) + `[A-Za-z0-9_.-]*`)

// part writes a part of a token.
func part(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// withToken is a call that brings a forged token, valid in everything but its key, which nobody knows.
func (c Caller) withToken(call Call) (Call, error) {
	if call.Token == nil {
		return call, nil
	}
	if protocolOf(call.To) != HTTP {
		return call, fmt.Errorf("a token travels over %s only, not to %s", HTTP, call.To)
	}
	now := c.Now()
	claims := map[string]any{"iss": call.Token.Issuer, "sub": "isthmus-verify", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	if call.Token.Audience != "" {
		claims["aud"] = call.Token.Audience
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return call, fmt.Errorf("write token: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), c.Rand)
	if err != nil {
		return call, fmt.Errorf("make key: %w", err)
	}
	signed := tokenHead + "." + part(body)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(c.Rand, key, sum[:])
	if err != nil {
		return call, fmt.Errorf("sign token: %w", err)
	}
	const half = 32 // RFC 7518, 3.4: both numbers at the length of the curve's order
	signature := append(r.FillBytes(make([]byte, half)), s.FillBytes(make([]byte, half))...)
	header, prefix := cmp.Or(call.Token.Header, "Authorization"), call.Token.Prefix
	if call.Token.Header == "" {
		prefix = "Bearer "
	}
	call.Headers = maps.Clone(call.Headers)
	if call.Headers == nil {
		call.Headers = map[string]string{}
	}
	call.Headers[header] = prefix + signed + "." + part(signature)
	return call, nil
}

// redacted is a result without forged tokens: whoever answers may repeat what it was sent.
func (r Result) redacted() Result {
	for _, text := range []*string{&r.Error, &r.Body} {
		*text = forgedToken.ReplaceAllLiteralString(*text, "(the token)")
	}
	if r.Reply != nil {
		reply := *r.Reply
		reply.Headers = maps.Clone(reply.Headers)
		for name, value := range reply.Headers {
			reply.Headers[name] = forgedToken.ReplaceAllLiteralString(value, "(the token)")
		}
		r.Reply = &reply
	}
	return r
}
