package pebble

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"thalweg/internal/invariant"
	"thalweg/state/engine"
)

// Failures. Pebble returns errors, reports damage to a listener, panics, and calls Fatalf where it cannot go on, in
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
	remedy := "look at the disk and start again; where that does not help, remove the directory: the stores are " +
		"restored from their changelogs"
	if pebble.IsCorruptionError(err) {
		remedy = "the files are damaged: remove the directory and start again: the stores are restored from their " +
			"changelogs"
	}
	if _, ok := errors.AsType[*invariant.Broken](err); ok {
		remedy = "nothing more is read or written: start the process again; where that does not help, remove the " +
			"directory: the stores are restored from their changelogs"
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

func (e *Engine) die() { e.dying.Do(func() { close(e.dead) }) }

func (e *Engine) isDead() bool {
	select {
	case <-e.dead:
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

// log hands Pebble's messages to slog: its reports at debug level, its troubles as errors.
type log struct {
	*slog.Logger
	engine *Engine
}

func (l log) Infof(format string, args ...any)  { l.Debug("pebble: " + fmt.Sprintf(format, args...)) }
func (l log) Errorf(format string, args ...any) { l.Error("pebble: " + fmt.Sprintf(format, args...)) }

// Fatalf must not return: Pebble cannot go on. A crash is safe, what was flushed is a prefix of the commits; but the
// process has other work. A call of ours ends with a panic, which it catches; a goroutine of Pebble's own just ends.
func (l log) Fatalf(format string, args ...any) {
	l.Errorf(format, args...)
	if inCall() {
		invariant.Never("pebble: "+format, args...)
	}
	l.engine.fail(&invariant.Broken{Message: fmt.Sprintf("pebble: "+format, args...)})
	l.engine.die()
	runtime.Goexit()
}

// inCall tells whether this goroutine is in a call that catches panics.
func inCall() bool {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	for {
		f, more := frames.Next()
		for _, caller := range []string{".(*Engine).open", ".(*Engine).get", ".(*Engine).iterate",
			".(*Engine).unlessDead.", ".(*iterator).", ".(*snapshot).Close"} {
			if strings.Contains(f.Function, "/state/pebble"+caller) {
				return true
			}
		}
		if !more {
			return false
		}
	}
}
