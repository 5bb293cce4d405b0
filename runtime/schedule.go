package runtime

import (
	"container/heap"
	"slices"
)

// smallTurn is how many records a task may process in a turn when others of its sub-topology wait.
const smallTurn = 512

// waitingTurn says that each so manieth turn goes to the task that has waited longest.
const waitingTurn = 8

// schedule has the tasks that may have something to process, and says whose turn it is. Sub-topologies take turns;
// within one the task goes first whose next record is the oldest, so that its tasks advance together in the time of
// their records. That may let a task wait for long whose records are newer: so each eighth turn goes to the task that
// has waited longest. What it costs depends on the tasks that are in it, not on those that run.
type schedule struct {
	lines           []*line // one for each sub-topology that ever had a task in it, by number
	last            int     // the sub-topology that had the last turn
	turns           int
	longest, newest *job // the ends of a list of all, by how long they have waited
	count           int
}

// line is a heap of the tasks of a sub-topology, by the time of their next record.
type line struct {
	sub  int
	jobs []*job
}

// place is a task's in the schedule.
type place struct {
	line          *line // nil: it is not in it
	at            int   // in the line
	next          int64 // time of its next record
	order         int   // of two with the same time the one goes first that came first
	before, after *job  // in the list
}

func (l *line) Len() int { return len(l.jobs) }

func (l *line) Less(a, b int) bool {
	x, y := &l.jobs[a].place, &l.jobs[b].place
	return x.next < y.next || x.next == y.next && x.order < y.order
}

func (l *line) Swap(a, b int) {
	l.jobs[a], l.jobs[b] = l.jobs[b], l.jobs[a]
	l.jobs[a].place.at, l.jobs[b].place.at = a, b
}

func (l *line) Push(j any) {
	l.jobs = append(l.jobs, j.(*job))
	l.jobs[len(l.jobs)-1].place.at = len(l.jobs) - 1
}

func (l *line) Pop() any {
	j := l.jobs[len(l.jobs)-1]
	l.jobs[len(l.jobs)-1] = nil
	l.jobs = l.jobs[:len(l.jobs)-1]
	return j
}

// put takes a task in, or notes that its next record is another one. It waits from when it is put in.
func (s *schedule) put(j *job, next int64) {
	p := &j.place
	if p.line != nil {
		if p.next != next {
			p.next = next
			heap.Fix(p.line, p.at)
		}
		return
	}
	s.count++
	p.line, p.next, p.order = s.line(j.id.Subtopology), next, 0
	if s.newest != nil {
		p.order = s.newest.place.order + 1
		s.newest.place.after, p.before = j, s.newest
	} else {
		s.longest = j
	}
	s.newest = j
	heap.Push(p.line, j)
}

func (s *schedule) line(sub int) *line {
	i, ok := slices.BinarySearchFunc(s.lines, sub, func(l *line, sub int) int { return l.sub - sub })
	if !ok {
		s.lines = slices.Insert(s.lines, i, &line{sub: sub})
	}
	return s.lines[i]
}

// drop takes a task out, which need not be in it.
func (s *schedule) drop(j *job) {
	p := &j.place
	if p.line == nil {
		return
	}
	heap.Remove(p.line, p.at)
	if p.before != nil {
		p.before.place.after = p.after
	} else {
		s.longest = p.after
	}
	if p.after != nil {
		p.after.place.before = p.before
	} else {
		s.newest = p.before
	}
	*p = place{}
	s.count--
}

// next takes out the task whose turn it is, and tells whether others of its sub-topology wait; nil: there is none.
func (s *schedule) next() (j *job, others bool) {
	if s.count == 0 {
		return nil, false
	}
	if s.turns++; s.turns%waitingTurn == 0 {
		j = s.longest
	} else {
		j = s.nextLine().jobs[0]
	}
	l := j.place.line
	s.last = l.sub
	s.drop(j)
	return j, len(l.jobs) > 0
}

// nextLine is the line after that of the last turn which has a task.
func (s *schedule) nextLine() *line {
	from, _ := slices.BinarySearchFunc(s.lines, s.last+1, func(l *line, sub int) int { return l.sub - sub })
	for i := range s.lines {
		if l := s.lines[(from+i)%len(s.lines)]; len(l.jobs) > 0 {
			return l
		}
	}
	return nil
}
