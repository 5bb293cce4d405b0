package runtime

import (
	"sync/atomic"
	"time"

	"thalweg/internal/task"
)

// activity is something that a goroutine of the application is at, for messages about one that makes no progress.
type activity struct {
	what string
	task *task.Task // whose functions it calls; nil: none's
}

func (a *activity) String() string {
	if a == nil {
		return "starting"
	}
	if a.task != nil {
		if where := a.task.Where(); where != "" {
			return a.what + ", at " + where
		}
	}
	return a.what
}

// liveness is what others see of a worker's loop. Any goroutine may read it.
type liveness struct {
	active atomic.Bool              // the loop runs
	beaten atomic.Int64             // milliseconds: its last turn; 0: it had none
	now    atomic.Pointer[activity] // what it does; nil: it has no client yet
}

// beat notes a turn of the loop.
func (l *liveness) beat(at time.Time) { l.beaten.Store(at.UnixMilli()) }

func (l *liveness) doing(what *activity) { l.now.Store(what) }

// What a worker does when it calls no function of the program.
var (
	doingWait    = activity{what: "waiting for something to do"}
	doingTake    = activity{what: "taking what was fetched"}
	doingCommit  = activity{what: "committing"}
	doingProduce = activity{what: "producing"}
	doingOpen    = activity{what: "opening tasks"}
	doingRewind  = activity{what: "going back to the last commit"}
	doingLeave   = activity{what: "ending"}
)
