package engine

import (
	"errors"
	"fmt"
)

// Failure is the error of an engine that failed: damage, a disk that does not answer, or an invariant of the engine
// that does not hold. It is nobody's record that is to blame, so no error policy may pass over it.
type Failure struct {
	Dir    string // the engine's directory
	Err    error
	Remedy string // what helps
}

func (f *Failure) Error() string {
	return fmt.Sprintf("the state engine in %s failed: %v: %s", f.Dir, f.Err, f.Remedy)
}

func (f *Failure) Unwrap() error { return f.Err }

// IsFailure tells whether an engine's failure is part of an error.
func IsFailure(err error) bool {
	_, ok := errors.AsType[*Failure](err)
	return ok
}
