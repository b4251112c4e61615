package sweep

import "testing"

func TestUnescape(t *testing.T) {
	cases := []struct{ reason, in, want string }{
		{"a plain path", "/var/lib/x", "/var/lib/x"},
		{"a blank", `/a\040b`, "/a b"},
		{"a backslash that looks like a blank", `/a\134040`, `/a\040`},
	}
	for _, c := range cases {
		if got := unescape(c.in); got != c.want {
			t.Errorf("%s: %q, want %q", c.reason, got, c.want)
		}
	}
}

func TestNothingOfALabThatNeverWas(t *testing.T) {
	list, err := Find(Target{Name: "never-was", Slot: -1, Dirs: []string{"/nonexistent/never-was"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) > 0 {
		t.Errorf("found %v", list)
	}
}
