package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// traceLinesMax bounds what a run keeps of its trace: the end of it.
const traceLinesMax = 400_000

// trace is what happened in a run: requests, file operations, faults, log lines of the applications.
type trace struct {
	start time.Time
	mu    sync.Mutex
	lines []string
}

func (t *trace) add(who, format string, args ...any) {
	line := fmt.Sprintf("%12s %-10s %s", time.Since(t.start).Round(time.Microsecond), who, fmt.Sprintf(format, args...))
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) >= traceLinesMax {
		t.lines = append(t.lines[:0], t.lines[traceLinesMax/2:]...)
	}
	t.lines = append(t.lines, line)
}

// write puts the trace of a failure into a file.
func (t *trace) write(tb testing.TB, seed uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("sim-%d.trace", seed))
	f, err := os.Create(path)
	if err != nil {
		tb.Logf("no trace: %v", err)
		return
	}
	defer f.Close()
	for _, line := range t.lines {
		fmt.Fprintln(f, line)
	}
	tb.Logf("trace: %s (%d lines)", path, len(t.lines))
}

// traceWriter makes lines of a log part of the trace.
type traceWriter struct {
	trace *trace
	who   string
}

func (w traceWriter) Write(b []byte) (int, error) {
	w.trace.add(w.who, "log: %s", string(b[:max(len(b)-1, 0)]))
	return len(b), nil
}
