package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// classify names the cause of a failed call.
func classify(err error) Class {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &dns):
		return DNS
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Unreachable
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return Reset
	case errors.As(err, &op) && op.Op == "remote error": // crypto/tls gives a received alert this operation
		return TLSAlert
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return Timeout
	default:
		return Other
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// flags are the bodies with which Envoy answers in place of a server, and the response flag that its access log
// would show; from Envoy's source (common/http/utility, router) and its documentation of %RESPONSE_FLAGS%.
// The order matters: the first that fits counts.
var flags = []struct{ text, flag string }{
	{"RBAC: access denied", "RBAC"},
	{"no healthy upstream", "UH"},
	{"no cluster match", "NC"},
	{"cluster_not_found", "NC"},
	{"reset reason: connection termination", "UC"},
	{"reset reason: remote reset", "UR"},
	{"reset reason: connection timeout", "UF"},
	{"reset reason: remote connection failure", "UF"},
	{"reset reason: local connection failure", "UF"},
	{"reset reason: connection failure", "UF"},
	{"reset reason: overflow", "UO"},
	{"upstream request timeout", "UT"},
	{"upstream connect error", "UF"},
}

// flagOf finds the response flag that a body or message betrays; "" if none.
func flagOf(body string) string {
	for _, f := range flags {
		if strings.Contains(body, f.text) {
			return f.flag
		}
	}
	return ""
}
