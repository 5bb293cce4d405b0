package pebble

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"thalweg/internal/invariant"
	"thalweg/state/engine"
)

// Failures. Pebble returns errors, reports damage to a listener, panics, and calls Fatalf where it cannot continue, in
// goroutines of its own too. All of them become the engine's first failure, which every later call returns: the process
// lives, and the tasks stop.

// Failed is the failure after which nothing here is to be trusted.
func (e *Engine) Failed() error {
	if f := e.failure.Load(); f != nil {
		return f
	}
	return nil
}

// fail notes a failure, and returns the first.
func (e *Engine) fail(err error) error {
	e.failure.CompareAndSwap(nil, e.failureOf(err))
	return e.failure.Load()
}

// failed makes a call's error the engine's failure.
func (e *Engine) failed(err error) error {
	if err == nil || errors.Is(err, engine.ErrClosed) || engine.IsFailure(err) {
		return err
	}
	return e.fail(err)
}

func (e *Engine) failureOf(err error) *engine.Failure {
	remedy := "look at the disk and start again; where that does not help, " + removal(e.dir)
	if IsFull(err) {
		remedy = "free space on the directory's disk and start again; nothing is lost, the changelogs have what the disk " +
			"did not take"
	}
	if pebble.IsCorruptionError(err) || errors.Is(err, fs.ErrNotExist) {
		remedy = fmt.Sprintf("files are damaged or missing%s: %s", filesIn(e.dir, err), removal(e.dir))
	}
	if _, ok := errors.AsType[*invariant.Broken](err); ok {
		remedy = "nothing more is read or written: start the process again; where that does not help, " + removal(e.dir)
	}
	return &engine.Failure{Dir: e.dir, Err: err, Remedy: remedy}
}

// caught is deferred where the database is called: a panic of the call, and its error, are the engine's failure.
func (e *Engine) caught(err *error) {
	if v := recover(); v != nil {
		*err = e.panicked(v)
		return
	}
	*err = e.failed(*err)
}

// panicked is the failure of a call that panicked. What it left behind is unknown, so Pebble is not called again.
func (e *Engine) panicked(v any) error {
	cause, ok := v.(error)
	if !ok {
		cause = fmt.Errorf("%v", v)
	}
	err := e.fail(cause)
	e.die()
	return err
}

// giveUp ends the engine after an error that Pebble does not survive.
func (e *Engine) giveUp(err error) {
	err = e.fail(err)
	e.dying.Do(func() { // of several goroutines that meet an error one says so
		e.space.log.Error("state engine: failed", "err", err)
		close(e.dead)
	})
}

// backgroundError gets the errors of Pebble's own goroutines, which would try again at once, without end. A table that
// a full disk did not take is written again when there is space. Damage that they read is no reason not to close the
// engine.
func (e *Engine) backgroundError(err error) {
	switch {
	case IsFull(err):
	case pebble.IsCorruptionError(err):
		_ = e.fail(err)
	default:
		e.giveUp(err)
	}
}

func (e *Engine) die() { e.dying.Do(func() { close(e.dead) }) }

func (e *Engine) isDead() bool { return isClosed(e.dead) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// unlessDead makes a call that may wait for Pebble's background work, and stops waiting when that has ended for good.
func (e *Engine) unlessDead(call func() error) error {
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }()
		defer e.caught(&err)
		err = call()
	}()
	select {
	case err := <-done:
		return err
	case <-e.dead:
		return e.Failed()
	}
}

// inCall tells whether this goroutine is in a call that catches panics.
func inCall() bool {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	for {
		f, more := frames.Next()
		for _, caller := range []string{".(*Engine).iterate", ".(*Engine).openLookup", ".(*Engine).unlessDead.",
			".(*iterator).", ".(*snapshot).Close"} {
			if strings.Contains(f.Function, "/state/pebble"+caller) {
				return true
			}
		}
		if !more {
			return false
		}
	}
}
