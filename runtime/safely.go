package runtime

import (
	"errors"
	"fmt"

	"thalweg/state/engine"
	"thalweg/topology"
)

// crash is the error of a panic that nobody below has caught. User code is called by tasks, which catch its panics; so
// it is a mistake of Thalweg's own. It ends the application, and not the process.
type crash struct{ *topology.Panic }

func (c *crash) Error() string {
	return fmt.Sprintf("%v: this is a mistake in Thalweg, and no record's: please report it\n%s", c.Panic, c.Stack)
}

func (c *crash) Unwrap() error { return nil } // its cause says nothing about what to do

// joined is errors.Join of errors that may have one cause: after a failure of the state engine all that use it return
// the same failure, whose first report is kept.
func joined(errs ...error) error {
	failed := false
	var kept []error
	for _, err := range errs {
		if !failed || !engine.IsFailure(err) {
			kept = append(kept, err)
		}
		failed = failed || engine.IsFailure(err)
	}
	return errors.Join(kept...)
}

// safely makes an error of a panic.
func safely(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &crash{topology.NewPanic(v)}
		}
	}()
	return f()
}
