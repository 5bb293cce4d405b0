package runtime

import (
	"slices"
	"time"
)

// turns says which of a worker's tasks may have something to do, now or at a time of the wall clock.
type turns struct {
	schedule schedule
	alarms   alarms
	retrying []*job
	aside    []*job        // had a turn and could do nothing
	wall     int64         // milliseconds, of the last ring
	maxIdle  time.Duration // Config.MaxIdle
}

// wake lets a task have a turn.
func (t *turns) wake(j *job) { t.schedule.put(j, j.task.Queues.NextTime()) }

// called notes what a task waits for after it was called.
func (t *turns) called(j *job) {
	at, ok := j.task.NextWallPunctuation()
	if !ok {
		at = never
	}
	t.alarms.set(j, at)
	if _, ok := j.task.Retries.Next(); ok != j.retrying {
		t.setRetrying(j, ok)
	}
}

func (t *turns) setRetrying(j *job, is bool) {
	if j.retrying = is; is {
		t.retrying = append(t.retrying, j)
	} else {
		t.retrying = slices.DeleteFunc(t.retrying, func(o *job) bool { return o == j })
	}
}

// rest lets a task have no turns any more.
func (t *turns) rest(j *job) {
	t.schedule.drop(j)
	t.alarms.set(j, never)
	if j.retrying {
		t.setRetrying(j, false)
	}
}

// ring wakes the tasks whose time has come. A clock that was set back is everybody's concern: what waits for a time has
// to wait no longer than before.
func (t *turns) ring(now time.Time, running []*job) {
	wall := now.UnixMilli()
	if wall < t.wall {
		for _, j := range running {
			t.wake(j)
		}
	}
	t.wall = wall
	for len(t.alarms) > 0 && t.alarms[0].alarmAt <= wall {
		j := t.alarms[0]
		t.alarms.set(j, never) // until it was called
		t.wake(j)
	}
}

// putAside lets a task that could do nothing wait until putBack.
func (t *turns) putAside(j *job) { t.aside = append(t.aside, j) }

// putBack lets the tasks have their next turn that were put aside.
func (t *turns) putBack() {
	for _, j := range t.aside {
		t.wake(j)
	}
	clear(t.aside)
	t.aside = t.aside[:0]
}

// toRetry is a task whose record has waited long enough for its next attempt; nil: there is none.
func (t *turns) toRetry(wall int64) *job {
	for _, j := range t.retrying {
		if at, ok := j.task.Retries.Next(); ok && at <= wall {
			return j
		}
	}
	return nil
}

// dueAt is the next time of the wall clock for which a task waits; ok is false where none does.
func (t *turns) dueAt() (at time.Time, ok bool) {
	next := int64(never)
	if len(t.alarms) > 0 {
		next = t.alarms[0].alarmAt
	}
	for _, j := range t.retrying {
		if at, ok := j.task.Retries.Next(); ok {
			next = min(next, at)
		}
	}
	return time.UnixMilli(next), next != never
}

// patience is how long the worker may sleep while tasks wait for inputs that are empty.
func (t *turns) patience() time.Duration {
	if t.maxIdle > 0 && t.schedule.count > 0 {
		return max(t.maxIdle/4, time.Millisecond)
	}
	return idleMost
}
