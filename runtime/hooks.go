package runtime

import (
	"log/slog"
	"sync"
	"time"

	"thalweg/topology"
)

// Hooks are told what happens in an application. Any may be nil. They are called one after the other, in order, on a
// goroutine of their own: a slow one delays only its successors, one that panics is logged, and App.Close may be
// called from any. Behind a slow one reports of progress are dropped, and nothing else.
type Hooks struct {
	// StateChanged reports each move of the application's state.
	StateChanged func(from, to State)
	// TaskChanged reports that a task arrived at, ran on or left a worker of this process.
	TaskChanged func(TaskEvent)
	// RestoreStarted, RestoreProgress (about once a second) and RestoreEnded follow the restore of one store.
	RestoreStarted, RestoreProgress, RestoreEnded func(Restore)
	// Stalled reports a worker without progress, once for each time it stalls.
	Stalled func(Stall)
	// Rewound reports that a worker dropped what it had not committed and starts over from its last commit.
	Rewound func(worker int, cause error)
}

// TaskEvent is one step in a task's life.
type TaskEvent struct {
	Task   TaskID
	Worker int
	State  string // restoring, running, suspended, closed
}

// Restore is how far the restore of a store's local copy is.
type Restore struct {
	Task     TaskID // of a global store: sub-topology -1 and the partition of its topic
	Store    string
	Topic    string
	Start    int64 // offset at which it began
	Position int64 // offset up to which the store has all
	End      int64 // offset at which it ends
	Records  int64 // that the store has taken so far; of a global store, those of the batches
	Bytes    int64 // of the batches read so far, the first of which may begin before Start
	Elapsed  time.Duration
	// Remaining is how long it takes at most, at the speed of the last seconds; 0 where that is not known. A compacted
	// topic has fewer records than offsets, and nobody tells how many.
	Remaining time.Duration
	// The speed of the last seconds; at the end, of the whole.
	RecordsPerSecond, BytesPerSecond float64
}

// Stall describes a worker without progress.
type Stall struct {
	Worker int
	Doing  string // what it has been at
	Since  time.Duration
}

// progressCallsMax is how many calls may wait for slow hooks before reports of progress are dropped. Nothing else is,
// up to callsMax, which only a hook that never returns can reach.
const (
	progressCallsMax = 1024
	callsMax         = 1 << 17
)

// hookQueue calls hooks in order on one goroutine. A hook may wait for the application, as Close does, so the
// application never waits for a hook.
type hookQueue struct {
	log  *slog.Logger
	done chan struct{}

	mu     sync.Mutex
	calls  []func()
	ended  bool
	full   bool          // said so
	change chan struct{} // has a token when there may be something to do
}

func newHookQueue(log *slog.Logger) *hookQueue {
	return &hookQueue{log: log, done: make(chan struct{}), change: make(chan struct{}, 1)}
}

func (q *hookQueue) run() {
	defer close(q.done)
	for {
		calls, ended := q.take()
		for _, call := range calls {
			if err := topology.Catch(func() error { call(); return nil }); err != nil {
				q.log.Error("a hook panicked: the application goes on", "err", err)
			}
		}
		if len(calls) > 0 {
			continue
		}
		if ended {
			return
		}
		<-q.change
	}
}

// take takes what waits; ended tells that nothing follows.
func (q *hookQueue) take() (calls []func(), ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	calls, q.calls = q.calls, nil
	return calls, q.ended
}

// close lets the queued calls run. What is added afterwards is never called.
func (q *hookQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.wake()
}

// add queues a call.
func (q *hookQueue) add(call func()) { q.put(call, callsMax) }

// addProgress queues a call that the next of its kind makes needless.
func (q *hookQueue) addProgress(call func()) { q.put(call, progressCallsMax) }

func (q *hookQueue) put(call func(), most int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.calls) >= callsMax && !q.full {
		q.full = true
		q.log.Error("a hook does not return: no hook is told what happens from now on", "calls", len(q.calls))
	}
	if len(q.calls) < most && !q.ended {
		q.calls = append(q.calls, call)
		q.wake()
	}
}

// wake needs the mutex.
func (q *hookQueue) wake() {
	select {
	case q.change <- struct{}{}:
	default:
	}
}

// tellRestore calls a hook of restoring, which may be nil.
func (q *hookQueue) tellRestore(hook func(Restore), p Restore) {
	if hook != nil {
		q.add(func() { hook(p) })
	}
}

// tellProgress calls the hook that follows a restore, which may be nil.
func (q *hookQueue) tellProgress(hook func(Restore), p Restore) {
	if hook != nil {
		q.addProgress(func() { hook(p) })
	}
}
