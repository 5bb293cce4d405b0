package broker

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// code returns the protocol's number of an error; 0 for nil.
func code(err error) int16 {
	if err == nil {
		return 0
	}
	var known *kerr.Error
	if !errors.As(err, &known) {
		known = kerr.UnknownServerError
	}
	return known.Code
}

// kcode is code for an error that can only be the protocol's.
func kcode(err *kerr.Error) int16 {
	if err == nil {
		return 0
	}
	return err.Code
}

// message returns what an error says, nil for nil.
func message(err error) *string {
	if err == nil {
		return nil
	}
	return kmsg.StringPtr(err.Error())
}

// textError is an error of the protocol with a text of its own.
type textError struct {
	err  *kerr.Error
	text string
}

func (e *textError) Error() string { return e.text }
func (e *textError) Unwrap() error { return e.err }
