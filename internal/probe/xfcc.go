package probe

import (
	"errors"
	"fmt"
	"strings"
)

// A ClientCert is one element of an X-Forwarded-Client-Cert header: what one proxy saw of the certificate of the
// one that called it. See Envoy's documentation of the header for the keys.
type ClientCert struct {
	By      []string // URI names of the proxy's own certificate
	Hash    string   // SHA-256 of the caller's certificate, hex
	Subject string
	URI     []string // URI names of the caller's certificate
	DNS     []string
}

// errUnclosedQuote ends the parsing of a header whose last quoted value does not end.
var errUnclosedQuote = errors.New("parse X-Forwarded-Client-Cert: a quoted value does not end")

// ParseXFCC reads the header's value: elements apart by ",", pairs in them by ";", each key=value, a value in
// double quotes where it holds one of ,;=" with \" for a quote. An empty header has no elements. Keys that are
// not known are passed over; a pair without "=" is an error.
func ParseXFCC(header string) ([]ClientCert, error) {
	var certs []ClientCert
	for rest := header; strings.TrimSpace(rest) != ""; {
		var cert ClientCert
		for more := true; more; {
			key, value, sep, tail, err := nextPair(rest)
			if err != nil {
				return nil, err
			}
			cert.set(key, value)
			rest, more = tail, sep == ';'
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

// nextPair takes one key=value from the front and says which separator ended it: ';', ',' or 0 at the end.
func nextPair(s string) (key, value string, sep byte, rest string, err error) {
	key, s, found := strings.Cut(s, "=")
	key = strings.TrimSpace(key)
	if !found || strings.ContainsAny(key, ",;\"") {
		return "", "", 0, "", fmt.Errorf("parse X-Forwarded-Client-Cert: no \"=\" after %.40q", key)
	}
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexAny(s, ",;")
		if i < 0 {
			return key, strings.TrimSpace(s), 0, "", nil
		}
		return key, strings.TrimSpace(s[:i]), s[i], s[i+1:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] != '"':
			b.WriteByte(s[i])
		case i+1 == len(s):
			return key, b.String(), 0, "", nil
		case s[i+1] == ',' || s[i+1] == ';':
			return key, b.String(), s[i+1], s[i+2:], nil
		default:
			return "", "", 0, "", fmt.Errorf("parse X-Forwarded-Client-Cert: text after the quoted value of %s", key)
		}
	}
	return "", "", 0, "", errUnclosedQuote
}

// set keeps a pair if its key is known. Envoy repeats a key for several names of one kind.
func (c *ClientCert) set(key, value string) {
	switch strings.ToLower(key) {
	case "by":
		c.By = append(c.By, value)
	case "hash":
		c.Hash = value
	case "subject":
		c.Subject = value
	case "uri":
		c.URI = append(c.URI, value)
	case "dns":
		c.DNS = append(c.DNS, value)
	}
}

// String writes an element as Envoy does.
func (c ClientCert) String() string {
	var pairs []string
	for _, v := range c.By {
		pairs = append(pairs, "By="+quote(v))
	}
	if c.Hash != "" {
		pairs = append(pairs, "Hash="+quote(c.Hash))
	}
	if c.Subject != "" {
		pairs = append(pairs, "Subject="+`"`+escape(c.Subject)+`"`)
	}
	for _, v := range c.URI {
		pairs = append(pairs, "URI="+quote(v))
	}
	for _, v := range c.DNS {
		pairs = append(pairs, "DNS="+quote(v))
	}
	return strings.Join(pairs, ";")
}

// quote puts a value in quotes where it needs them.
func quote(v string) string {
	if v == "" || !strings.ContainsAny(v, ",;=\"\\ ") {
		return v
	}
	return `"` + escape(v) + `"`
}

func escape(v string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v)
}
