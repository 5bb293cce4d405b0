package runtime

import (
	"container/heap"
	"math"
	"slices"
	"time"
)

// A worker may have thousands of tasks, of which few have anything to do. What it does in a turn and at a commit costs
// what those take. For that it keeps these sets of its tasks that run:
//
//	schedule  may have something to process: it says whose turn it is
//	touched   may have something to commit: all that a task's functions were called for since the last commit began
//	sealed    have a part in the commit under way
//	behind    have committed something that may not be in the engine
//	alarms    are to be called at some time of the wall clock, whatever arrives
//	retrying  have a record that waits for its next attempt
//	changed   have other figures than are published
//
// A task too many in one of them costs a call. One too few would lose work: so a task is touched before it is called.

// active is a task's part in these sets.
type active struct {
	place    place // in the schedule
	touched  bool
	sealed   bool
	behind   bool
	retrying bool
	changed  bool
	alarm    int // place in the alarms, from 1; 0: none
	alarmAt  int64
}

// wakeTask lets a task have a turn.
func (w *worker) wakeTask(j *job) { w.schedule.put(j, j.task.NextTime()) }

// touch notes that a task may have something to commit. It tells whether that was not known before.
func (c *committer) touch(j *job) (first bool) {
	c.w.refigure(j)
	if j.touched {
		return false
	}
	j.touched = true
	c.touched = append(c.touched, j)
	return true
}

// untouch takes back the last touch: the task had nothing to do.
func (c *committer) untouch(j *job) {
	if n := len(c.touched) - 1; n >= 0 && c.touched[n] == j {
		j.touched = false
		c.touched[n] = nil
		c.touched = c.touched[:n]
	}
}

// toCommit are the touched tasks, in the order of their ids.
func (c *committer) toCommit() []*job {
	slices.SortFunc(c.touched, func(a, b *job) int { return compareTaskIDs(a.id, b.id) })
	return c.touched
}

// endSealed ends the part of tasks in the commit under way: it is made, or discarded.
func (c *committer) endSealed() {
	for _, j := range c.flight.jobs {
		j.sealed = false
	}
	clear(c.flight.jobs)
	c.flight.jobs = c.flight.jobs[:0]
}

// endTouched ends the touches: what they led to is discarded. Tasks that still have an offset to commit stay.
func (c *committer) endTouched() {
	for _, j := range c.flight.jobs {
		c.touch(j)
	}
	kept := c.touched[:0]
	for _, j := range c.touched {
		j.dirty = 0
		if j.touched = j.task.Moved(); j.touched {
			kept = append(kept, j)
		}
	}
	clear(c.touched[len(kept):])
	c.touched = kept
}

// forget takes out a task that is closed.
func (c *committer) forget(j *job) {
	is := func(o *job) bool { return o == j }
	if j.touched {
		c.touched = slices.DeleteFunc(c.touched, is)
	}
	if j.sealed {
		c.flight.jobs = slices.DeleteFunc(c.flight.jobs, is)
	}
}

// fallBehind notes that a task's commits wait for a checkpoint.
func (w *worker) fallBehind(j *job) {
	if !j.behind {
		j.behind = true
		w.behind = append(w.behind, j)
	}
}

// refigure notes that a task's figures are others than before.
func (w *worker) refigure(j *job) {
	if !j.changed {
		j.changed = true
		w.changed = append(w.changed, j)
	}
}

// called notes what a task waits for after it was called.
func (w *worker) called(j *job) {
	at, ok := j.task.NextWallPunctuation()
	if !ok {
		at = never
	}
	w.alarms.set(j, at)
	if _, ok := j.task.NextRetry(); ok != j.retrying {
		if j.retrying = ok; ok {
			w.retrying = append(w.retrying, j)
		} else {
			w.retrying = slices.DeleteFunc(w.retrying, func(o *job) bool { return o == j })
		}
	}
}

// forget takes a task that is closed out of all sets.
func (w *worker) forget(j *job) {
	is := func(o *job) bool { return o == j }
	w.schedule.drop(j)
	w.alarms.set(j, never)
	w.commits.forget(j)
	if j.behind {
		w.behind = slices.DeleteFunc(w.behind, is)
	}
	if j.retrying {
		w.retrying = slices.DeleteFunc(w.retrying, is)
	}
	if j.changed {
		w.changed = slices.DeleteFunc(w.changed, is)
	}
	j.active = active{}
}

// ring wakes the tasks whose time has come. A clock that was set back is everybody's concern: what waits for a time has
// to wait no longer than before.
func (w *worker) ring(now time.Time) {
	wall := now.UnixMilli()
	if wall < w.wall {
		for _, j := range w.running {
			w.wakeTask(j)
		}
	}
	w.wall = wall
	for len(w.alarms) > 0 && w.alarms[0].alarmAt <= wall {
		j := w.alarms[0]
		w.alarms.set(j, never) // until it was called
		w.wakeTask(j)
	}
}

// never is a time of the wall clock that does not come.
const never = math.MaxInt64

// alarms is a heap of tasks by the time at which they are to be called.
type alarms []*job

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(x, y int) bool { return a[x].alarmAt < a[y].alarmAt }

func (a alarms) Swap(x, y int) {
	a[x], a[y] = a[y], a[x]
	a[x].alarm, a[y].alarm = x+1, y+1
}

// Push implements [heap.Interface].
func (a *alarms) Push(j any) {
	*a = append(*a, j.(*job))
	(*a)[len(*a)-1].alarm = len(*a)
}

// Pop implements [heap.Interface].
func (a *alarms) Pop() any {
	n := len(*a) - 1
	j := (*a)[n]
	(*a)[n] = nil
	*a = (*a)[:n]
	j.alarm = 0
	return j
}

// set notes when a task is to be called; never takes it out.
func (a *alarms) set(j *job, at int64) {
	switch {
	case j.alarm == 0 && at == never:
	case j.alarm == 0:
		j.alarmAt = at
		heap.Push(a, j)
	case at == never:
		heap.Remove(a, j.alarm-1)
	case j.alarmAt != at:
		j.alarmAt = at
		heap.Fix(a, j.alarm-1)
	}
}
