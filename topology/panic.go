package topology

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// Panic is the error of user code that panicked.
type Panic struct {
	Value any
	Site  string // file:line of the line that panicked
	Stack []byte // from there on
}

// NewPanic makes an error of what recover returned. It is called by the deferred function itself, since the stack of
// the panic is there no longer when that has returned.
func NewPanic(value any) *Panic {
	return &Panic{Value: value, Site: panicSite(), Stack: panicStack(debug.Stack())}
}

func (p *Panic) Error() string {
	if p.Site == "" {
		return fmt.Sprintf("panic: %v", p.Value)
	}
	return fmt.Sprintf("panic: %v (%s)", p.Value, p.Site)
}

// Unwrap is the value that was passed to panic, where it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// panicSite is the line that panicked: below the runtime's own functions, which lie below the deferred ones.
func panicSite() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	panicking := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicking = true
		case panicking && !strings.HasPrefix(f.Function, "runtime."):
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		if !more {
			return ""
		}
	}
}

// panicStack cuts what recovered, and the runtime's part of the panic, off the top of a stack.
func panicStack(stack []byte) []byte {
	title, frames, _ := bytes.Cut(stack, []byte("\n"))
	for _, panicking := range []string{"\npanic(", "\nruntime.sigpanic("} {
		if at := bytes.Index(frames, []byte(panicking)); at >= 0 {
			frames = frames[at+1:]
			for range 2 { // a function, and its line
				_, frames, _ = bytes.Cut(frames, []byte("\n"))
			}
			frames = append([]byte("\n"), frames...)
		}
	}
	return append(append(bytes.Clone(title), '\n'), bytes.TrimPrefix(frames, []byte("\n"))...)
}
