package probe

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestAServerHasRoomForSoManyAndNoMore: connections that are held open take no others' place for ever, and none is served
// above the bound.
func TestAServerHasRoomForSoManyAndNoMore(t *testing.T) {
	at := serve(t)
	var held []net.Conn
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	answers := func() (net.Conn, bool) {
		c, err := net.Dial("tcp", at.TCP)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintln(c, "hello"); err != nil {
			return c, false
		}
		if err := c.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err = bufio.NewReader(c).ReadString('\n')
		return c, err == nil
	}
	for i := range maxConns {
		c, ok := answers()
		held = append(held, c)
		if !ok {
			t.Fatalf("connection %d is not served", i+1)
		}
	}
	c, ok := answers()
	held = append(held, c)
	if ok {
		t.Errorf("connection %d is served", maxConns+1)
	}
	for _, c := range held[:10] {
		_ = c.Close()
	}
	if c, ok = answers(); !ok {
		t.Error("after some have ended nobody is served")
	}
	_ = c.Close()
}

func TestHeadersAreBounded(t *testing.T) {
	at := serve(t)
	req, err := http.NewRequest(http.MethodGet, "http://"+at.HTTP+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X", strings.Repeat("x", 2*maxHeader))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return // it hung up
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("answered %s", res.Status)
	}
}
