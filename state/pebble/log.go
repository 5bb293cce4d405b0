package pebble

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"thalweg/internal/invariant"
)

// log hands Pebble's messages to slog: its reports at debug level, its troubles as errors, one a second at most.
type log struct {
	*slog.Logger
	engine *Engine

	mu      sync.Mutex
	last    time.Time // of an error
	dropped int       // since then
}

func (l *log) Infof(format string, args ...any) { l.Debug("pebble: " + fmt.Sprintf(format, args...)) }

func (l *log) Errorf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.engine.space.clock.Now()
	if now.Sub(l.last) < time.Second {
		l.dropped++
		return
	}
	l.Error("pebble: "+fmt.Sprintf(format, args...), "directory", l.engine.dir, "messages left out", l.dropped)
	l.last, l.dropped = now, 0
}

// Fatalf must not return: Pebble cannot continue. A crash is safe, what was flushed is a prefix of the commits; but the
// process has other work. A call of ours ends with a panic, which it catches; a goroutine of Pebble's own just ends.
func (l *log) Fatalf(format string, args ...any) {
	err := causeIn(args)
	if err == nil {
		err = &invariant.Broken{Message: fmt.Sprintf("pebble: "+format, args...)}
	}
	_ = l.engine.fail(err)
	if inCall() {
		invariant.Never("pebble: "+format, args...)
	}
	l.engine.giveUp(err)
	runtime.Goexit()
}

// causeIn is the first error of what is to be formatted.
func causeIn(args []any) error {
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			return err
		}
	}
	return nil
}
