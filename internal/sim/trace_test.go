package sim

import (
	"context"
	"fmt"
	"log/slog"
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

// appLog makes the log of an application part of the trace, and counts how its tasks move.
type appLog struct {
	slog.Handler
	world *world
}

func (w *world) logOf(who string) *slog.Logger {
	text := slog.NewTextHandler(traceWriter{w.trace, who}, &slog.HandlerOptions{Level: slog.LevelDebug})
	return slog.New(appLog{text, w})
}

func (l appLog) Handle(ctx context.Context, r slog.Record) error {
	attr := map[string]string{}
	r.Attrs(func(a slog.Attr) bool {
		attr[a.Key] = a.Value.String()
		return true
	})
	switch r.Message {
	case "task moves":
		l.world.happened(moveOf(attr["from"], attr["to"]))
	case "following a task of another process":
		l.world.happened(followed(attr["warm-up"] == "true"))
	case "no longer following a task of another process":
		if attr["why"] == "it is to run here" {
			l.world.happened(promoted)
		}
	case "the copy of a task's state is near enough for the task to move here":
		l.world.happened(nearEnough)
	}
	return l.Handler.Handle(ctx, r)
}

func (l appLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return appLog{l.Handler.WithAttrs(attrs), l.world}
}

func (l appLog) WithGroup(name string) slog.Handler {
	return appLog{l.Handler.WithGroup(name), l.world}
}

// moveOf is how a task's move is counted.
func moveOf(from, to string) string { return "task moves: " + from + " to " + to }

// What becomes of copies of tasks' state.
const (
	nearEnough = "copy: near enough"  // a warm-up may become the task
	promoted   = "copy: runs as task" // on the process that had the copy
)

// followed is how a copy of a task's state is counted.
func followed(warmup bool) string {
	if warmup {
		return "copy: warm-up"
	}
	return "copy: standby"
}
