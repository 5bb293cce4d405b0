package runtime

import (
	"log/slog"
	"time"

	"thalweg/topology"
)

// Hooks are told what happens in an application. Any may be nil. They are called one after the other, in order, on a
// goroutine of their own: a slow one delays only its successors, one that panics is logged, and App.Close may be
// called from any.
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
	Task      TaskID // of a global store: sub-topology -1 and the partition of its topic
	Store     string
	Topic     string
	Start     int64 // offset at which it began
	Position  int64 // offset up to which the store has all
	End       int64 // offset at which it ends
	Records   int64 // restored so far
	Elapsed   time.Duration
	Remaining time.Duration // estimate, from the speed so far; 0 where there is none
}

// Stall describes a worker without progress.
type Stall struct {
	Worker int
	Doing  string // what it has been at
	Since  time.Duration
}

// hookQueueMax is how many calls wait for slow hooks; progress reports beyond that are dropped, all else waits.
const hookQueueMax = 1024

// hookQueue calls hooks in order on one goroutine.
type hookQueue struct {
	log   *slog.Logger
	calls chan func()
	done  chan struct{}
}

func newHookQueue(log *slog.Logger) *hookQueue {
	return &hookQueue{log: log, calls: make(chan func(), hookQueueMax), done: make(chan struct{})}
}

func (q *hookQueue) run() {
	defer close(q.done)
	for call := range q.calls {
		if err := topology.Catch(func() error { call(); return nil }); err != nil {
			q.log.Error("a hook panicked: the application goes on", "err", err)
		}
	}
}

// close lets the queued calls run; nothing may be added afterwards.
func (q *hookQueue) close() { close(q.calls) }

// add queues a call. A hook that waits for the application, as Close does, must not meet an application that waits
// for the hook: when the queue is full the oldest call is dropped.
func (q *hookQueue) add(call func()) {
	for {
		select {
		case q.calls <- call:
			return
		default:
		}
		select {
		case <-q.calls:
		default:
		}
	}
}
