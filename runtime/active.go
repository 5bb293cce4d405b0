package runtime

import (
	"slices"
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

// touch notes that a task may have something to commit. It tells whether that was not known before.
func (c *committer) touch(j *job) (first bool) {
	c.w.figures.note(j)
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

// forget takes a task that is closed out of all sets.
func (w *worker) forget(j *job) {
	is := func(o *job) bool { return o == j }
	w.turns.rest(j)
	w.commits.forget(j)
	if j.behind {
		w.behind = slices.DeleteFunc(w.behind, is)
	}
	j.active = active{}
}
