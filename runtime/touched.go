package runtime

import "slices"

// touched are the tasks of a worker that may have something for the next commit: all that one of their functions was
// called for since the last commit was sealed. A task is touched before it is called, so that none is missing.
type touched struct {
	jobs    []*job
	figures *publisher // a task that is called has other figures then
}

// add notes that a task may have something to commit. It tells whether that was not known before.
func (t *touched) add(j *job) (first bool) {
	t.figures.note(j)
	if j.touched {
		return false
	}
	j.touched = true
	t.jobs = append(t.jobs, j)
	return true
}

// undo takes back the last touch: the task had nothing to do.
func (t *touched) undo(j *job) {
	if n := len(t.jobs) - 1; n >= 0 && t.jobs[n] == j {
		j.touched = false
		t.jobs[n] = nil
		t.jobs = t.jobs[:n]
	}
}

// sorted are the tasks in the order of their ids.
func (t *touched) sorted() []*job {
	slices.SortFunc(t.jobs, func(a, b *job) int { return compareTaskIDs(a.id, b.id) })
	return t.jobs
}

// seal hands the tasks over, to a commit that takes them all. The next ones go into the memory of spare.
func (t *touched) seal(spare []*job) []*job {
	sealed := t.jobs
	t.jobs = spare[:0]
	for _, j := range sealed {
		j.touched, j.dirty = false, 0
	}
	return sealed
}

// discard ends the touches of these tasks, and of those in a commit that has failed: what they led to is discarded.
// Tasks that still have an offset to commit stay.
func (t *touched) discard(sealed []*job) {
	for _, j := range sealed {
		t.add(j)
	}
	kept := t.jobs[:0]
	for _, j := range t.jobs {
		j.dirty = 0
		if j.touched = j.task.Queues.Moved(); j.touched {
			kept = append(kept, j)
		}
	}
	clear(t.jobs[len(kept):])
	t.jobs = kept
}

// forget takes out a task that is closed.
func (t *touched) forget(j *job) {
	if j.touched {
		j.touched = false
		t.jobs = slices.DeleteFunc(t.jobs, func(o *job) bool { return o == j })
	}
}
