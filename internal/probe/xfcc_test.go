package probe

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseXFCC(t *testing.T) {
	cases := []struct {
		reason, in string
		want       []ClientCert
		fails      bool
	}{
		{reason: "no header, no elements", in: ""},
		{
			reason: "what Istio's sidecar sends",
			in: `By=spiffe://cluster.local/ns/demo/sa/server;Hash=ab12;Subject="";` +
				`URI=spiffe://cluster.local/ns/demo/sa/client`,
			want: []ClientCert{{
				By:   []string{"spiffe://cluster.local/ns/demo/sa/server"},
				Hash: "ab12",
				URI:  []string{"spiffe://cluster.local/ns/demo/sa/client"},
			}},
		},
		{
			reason: "two proxies, a subject with every special character",
			in:     `By=http://front;Hash=1;Subject="/C=US;CN=\"a,b\"=c\\";URI=u, By=spiffe://x;Hash=2`,
			want: []ClientCert{
				{By: []string{"http://front"}, Hash: "1", Subject: `/C=US;CN="a,b"=c\`, URI: []string{"u"}},
				{By: []string{"spiffe://x"}, Hash: "2"},
			},
		},
		{
			reason: "repeated names and a key of the future",
			in:     `DNS=a.example;DNS=b.example;Chain="x%20y";uri=spiffe://z`,
			want:   []ClientCert{{DNS: []string{"a.example", "b.example"}, URI: []string{"spiffe://z"}}},
		},
		{reason: "no equals sign", in: "nonsense", fails: true},
		{reason: "a pair without a value before the next element", in: "By,Hash=1", fails: true},
		{reason: "a quote that does not end", in: `Subject="abc`, fails: true},
		{reason: "text behind a quoted value", in: `Subject="abc"d`, fails: true},
		{reason: "the quote's backslash is the last byte", in: `Subject="abc\`, fails: true},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			got, err := ParseXFCC(c.in)
			if (err != nil) != c.fails {
				t.Fatalf("%s: error %v, want one: %t", c.reason, err, c.fails)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: -want +got\n%s", c.reason, diff)
			}
		})
	}
}

func TestParseXFCCReadsWhatStringWrites(t *testing.T) {
	text := rapid.StringMatching(`[ -~]{1,20}`)
	// A bare value is trimmed, so one that begins or ends with a space is always quoted; String does that.
	cert := rapid.Custom(func(t *rapid.T) ClientCert {
		return ClientCert{
			By:      rapid.SliceOfN(text, 1, 2).Draw(t, "by"),
			Hash:    rapid.StringMatching(`[0-9a-f]{64}`).Draw(t, "hash"),
			Subject: text.Draw(t, "subject"),
			URI:     rapid.SliceOfN(text, 1, 2).Draw(t, "uri"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(cert, 1, 3).Draw(t, "certs")
		header := ""
		for i, c := range want {
			if i > 0 {
				header += ","
			}
			header += c.String()
		}
		got, err := ParseXFCC(header)
		if err != nil {
			t.Fatalf("%q: %v", header, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q: -want +got\n%s", header, diff)
		}
	})
}

func FuzzParseXFCC(f *testing.F) {
	f.Add(`By=spiffe://a;Hash=1;Subject="x\"y";URI=spiffe://b,By=c`)
	f.Add(`a=";`)
	f.Fuzz(func(t *testing.T, in string) {
		certs, err := ParseXFCC(in)
		if err != nil && certs != nil {
			t.Errorf("%q: both elements and an error", in)
		}
	})
}
