package runtime

import (
	"cmp"
	"maps"
	"slices"
)

// jobs are the tasks that a worker has. Those that run take records; others are restored, or suspended.
type jobs struct {
	of      map[TaskID]*job
	running []*job // in the order of their ids
	all     []*job // in that order, shared; nil: others than before
}

// add takes a task in that does not run yet.
func (s *jobs) add(j *job) {
	if s.of == nil {
		s.of = map[TaskID]*job{}
	}
	s.of[j.id], s.all = j, nil
}

// remove takes a task out.
func (s *jobs) remove(j *job) {
	s.rest(j)
	delete(s.of, j.id)
	s.all = nil
}

// run notes that a task runs.
func (s *jobs) run(j *job) {
	at, _ := slices.BinarySearchFunc(s.running, j.id, func(o *job, id TaskID) int { return compareTaskIDs(o.id, id) })
	s.running = slices.Insert(s.running, at, j)
}

// rest notes that a task does not run, any more or yet.
func (s *jobs) rest(j *job) {
	s.running = slices.DeleteFunc(s.running, func(o *job) bool { return o == j })
}

// runs tells whether a task does.
func (s *jobs) runs(j *job) bool { return slices.Contains(s.running, j) }

// sorted are all of them, in the order of their ids. The slice stays as it is.
func (s *jobs) sorted() []*job {
	if s.all == nil {
		s.all = slices.SortedFunc(maps.Values(s.of), func(a, b *job) int { return compareTaskIDs(a.id, b.id) })
	}
	return s.all
}

func compareTaskIDs(a, b TaskID) int {
	return cmp.Or(cmp.Compare(a.Subtopology, b.Subtopology), cmp.Compare(a.Partition, b.Partition))
}
