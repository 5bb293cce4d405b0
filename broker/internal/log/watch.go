package log

import (
	"sync"
	"sync/atomic"
)

// Watch waits for any of several logs to have something to read. A long poll makes one, registers it with the logs that
// had nothing, waits for its channel or its deadline, and takes it back from all of them.
type Watch struct {
	c chan struct{}
	f func()
}

// NewWatch returns a watch that is registered nowhere.
func NewWatch() *Watch { return &Watch{c: make(chan struct{}, 1)} }

// NewWatchFunc returns a watch that calls f instead. f must not block, and not call the log.
func NewWatchFunc(f func()) *Watch { return &Watch{f: f} }

// C receives once something may be readable, or a log begins later, failed or was closed. It may fire without need.
func (w *Watch) C() <-chan struct{} { return w.c }

func (w *Watch) fire() {
	if w.f != nil {
		w.f()
		return
	}
	select {
	case w.c <- struct{}{}:
	default:
	}
}

type watchEntry struct {
	start, beyond int64
	isolation     Isolation
}

// watches are a log's. count lets the path of an append pass by without a lock.
type watches struct {
	mu      sync.Mutex
	count   atomic.Int32
	entries map[*Watch]watchEntry
}

// Watch registers w until a read tells something new to one who knows the start of the log, and what is readable below
// beyond: w fires then, and is forgotten. When that is so already, Watch returns true and registers nothing. A log has
// one entry per Watch.
func (l *Log) Watch(w *Watch, start, beyond int64, isolation Isolation) (ready bool) {
	e := watchEntry{start, beyond, isolation}
	l.watches.mu.Lock()
	defer l.watches.mu.Unlock()
	if l.watches.entries == nil {
		l.watches.entries = make(map[*Watch]watchEntry)
	}
	l.watches.entries[w] = e
	l.watches.count.Store(int32(len(l.watches.entries)))
	// Looked at after the count is up: an append either sees the count, or was seen here.
	if l.news(e) {
		delete(l.watches.entries, w)
		l.watches.count.Store(int32(len(l.watches.entries)))
		return true
	}
	return false
}

// Unwatch takes w back.
func (l *Log) Unwatch(w *Watch) {
	l.watches.mu.Lock()
	defer l.watches.mu.Unlock()
	delete(l.watches.entries, w)
	l.watches.count.Store(int32(len(l.watches.entries)))
}

// news tells whether a watch is due.
func (l *Log) news(e watchEntry) bool {
	return l.bound(e.isolation) > e.beyond || l.start.Load() > e.start || l.Err() != nil
}

// bound returns the offset below which a read may return batches.
func (l *Log) bound(isolation Isolation) int64 {
	if isolation == ReadCommitted {
		return l.lastStable.Load()
	}
	return l.high.Load()
}

// fire wakes and forgets the watches whose time has come.
func (ws *watches) fire(l *Log) { ws.fireIf(l.news) }

// marked wakes and forgets the watches for what is committed, after a marker: see WaitMarkers.
func (ws *watches) marked() {
	ws.fireIf(func(e watchEntry) bool { return e.isolation == ReadCommitted })
}

func (ws *watches) fireIf(due func(watchEntry) bool) {
	if ws.count.Load() == 0 {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w, e := range ws.entries {
		if due(e) {
			w.fire()
			delete(ws.entries, w)
		}
	}
	ws.count.Store(int32(len(ws.entries)))
}
