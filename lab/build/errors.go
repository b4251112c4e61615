package build

import (
	"errors"
	"strings"
	"syscall"
)

// An Error is one that a person can mend: what is wrong, and what to do about it.
type Error struct {
	// Problem names the cause and the object, in one line.
	Problem string
	// Do is the next step, often a command.
	Do string
	// Err is the cause, if another error is.
	Err error
}

func (e *Error) Error() string {
	s := e.Problem
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Do != "" {
		s += "\n  " + e.Do
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// full tells whether an error, or what a program said before it ended, is about a disk without space.
func full(err error) bool {
	return err != nil && (errors.Is(err, syscall.ENOSPC) || strings.Contains(strings.ToLower(err.Error()), "no space left on device"))
}
