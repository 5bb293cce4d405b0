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

	house bool // the framework's own code panicked, by a mistake of its own
}

// NewPanic makes an error of what recover returned. It is called by the deferred function itself, since the stack of
// the panic is there no longer when that has returned.
func NewPanic(value any) *Panic {
	p := &Panic{Value: value, Stack: panicStack(debug.Stack())}
	if f, ok := panicFrame(); ok {
		p.Site = fmt.Sprintf("%s:%d", f.File, f.Line)
		_, mistake := value.(runtime.Error)
		p.house = mistake && ofHouse(f)
	}
	return p
}

// ofHouse tells whether a function is the framework's: of the packages through which a record passes, without their
// tests. A serde that trips over the bytes it got is not meant, nor is one of the examples.
func ofHouse(f runtime.Frame) bool {
	if strings.HasSuffix(f.File, "_test.go") {
		return false
	}
	for _, pkg := range []string{"state", "topology", "stream", "internal/task", "internal/batch"} {
		rest, ok := strings.CutPrefix(f.Function, "thalweg/"+pkg)
		if ok && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "/")) {
			return true
		}
	}
	return false
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

// panicFrame is the call that panicked: below the runtime's own functions, which lie below the deferred ones.
func panicFrame() (runtime.Frame, bool) {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	panicking := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicking = true
		case panicking && !strings.HasPrefix(f.Function, "runtime."):
			return f, true
		}
		if !more {
			return runtime.Frame{}, false
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
