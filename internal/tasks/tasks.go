package tasks

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"thalweg/internal/assign"
	"thalweg/internal/invariant"
)

// ID names a task: a sub-topology and a partition.
type ID = assign.TaskID

// Task is something that the group assigns to the process.
type Task = assign.Task

// State is where a task is.
type State uint8

// The states of a task.
const (
	Waiting    State = iota // no worker has it
	Opening                 // its worker is to open it, or to go on with it
	Running                 // its worker processes it
	Suspending              // its worker is to commit it, and to keep it open
	Suspended               // its worker keeps it open, and has nothing of it to commit
	Releasing               // its worker is to commit and close it
	Dropping                // its worker is to discard what is not committed, and close it
)

func (s State) String() string {
	return [...]string{"waiting", "opening", "running", "suspending", "suspended", "releasing", "dropping"}[s]
}

// legal are the states that each state may be followed by. All else is a bug of this package.
var legal = [...][]State{
	Waiting:    {Opening},
	Opening:    {Running, Waiting, Releasing, Dropping},
	Running:    {Waiting, Suspending, Releasing, Dropping},
	Suspending: {Suspended, Waiting, Dropping},
	Suspended:  {Opening, Waiting, Releasing},
	Releasing:  {Waiting, Dropping},
	Dropping:   {Waiting},
}

// Move is one step from state to state.
type Move struct{ From, To State }

func (m Move) String() string { return m.From.String() + " to " + m.To.String() }

// LegalMoves returns all steps that tasks may make, in the order of the states.
func LegalMoves() (all []Move) {
	for from, next := range legal {
		for _, to := range next {
			all = append(all, Move{State(from), to})
		}
	}
	return all
}

// Order is what a worker is told to do with a task.
type Order struct {
	Kind   Kind
	ID     ID
	Worker int
}

// Kind is what an order is about.
type Kind uint8

// The kinds of orders.
const (
	Open    Kind = iota // take it up where the last commit was
	Suspend             // commit, and keep it open
	Resume              // go on with it as it was left
	Release             // commit, and close it
	Drop                // close it without a commit: the membership is lost
)

func (k Kind) String() string { return [...]string{"open", "suspend", "resume", "release", "drop"}[k] }

// nobody is the worker of a task without one.
const nobody = -1

// entry is a task that the process is wanted to run, or has not closed yet.
type entry struct {
	id       ID
	stateful bool
	state    State
	worker   int  // that has it
	target   int  // that is to have it
	wanted   bool // by the group
	stale    bool // others have it, or may have had it since it was revoked: it is closed
	told     bool // there was an order to drop it
	again    time.Time
}

// Set knows the tasks of a process. It is used by one goroutine at a time.
type Set struct {
	// Moved, where it is set, is called after each move.
	Moved func(ID, Move)

	workers int
	entries map[ID]*entry
	changed map[ID]bool // may need an order
	respread,
	stopped bool
}

// New returns a set without tasks.
func New(workers int) *Set {
	return &Set{workers: workers, entries: map[ID]*entry{}, changed: map[ID]bool{}}
}

// Want adds tasks that the group has assigned. What is wanted already stays as it is.
func (s *Set) Want(tasks ...Task) {
	for _, t := range tasks {
		e := s.entries[t.ID]
		if e == nil {
			e = &entry{id: t.ID, worker: nobody, target: nobody}
			s.entries[t.ID] = e
		}
		if !e.wanted {
			e.wanted, e.stateful, e.target, e.again = true, t.Stateful, nobody, time.Time{}
			if (e.state == Suspending || e.state == Suspended) && !e.stale {
				e.target = e.worker // who can go on with it
			}
			s.respread = true
		}
		s.changed[t.ID] = true
	}
}

// Revoke takes tasks back in order: what they have done is committed. Held tells when that is over. Tasks that run are
// suspended then, until they are wanted again or Expire.
func (s *Set) Revoke(ids ...ID) { s.unwant(ids, Releasing) }

// Expire closes what is kept open of tasks that were revoked: others have them, or may have had them since.
func (s *Set) Expire(ids ...ID) {
	for _, id := range ids {
		if e := s.entries[id]; e != nil && (!e.wanted || e.state == Suspending || e.state == Suspended) {
			e.stale = true
			s.changed[id] = true
		}
	}
}

// Lose takes tasks back that the process must not commit any more.
func (s *Set) Lose(ids ...ID) {
	s.Expire(ids...) // what is suspended has nothing to discard
	s.unwant(ids, Dropping)
}

func (s *Set) unwant(ids []ID, to State) {
	for _, id := range ids {
		e := s.entries[id]
		if e == nil {
			continue
		}
		if e.wanted {
			e.wanted, s.respread = false, true
		}
		if e.state == Waiting {
			s.forget(e)
			continue
		}
		if to == Dropping && e.state != Dropping && e.state != Suspended {
			s.move(e, Dropping)
		}
		s.changed[id] = true
	}
}

// SetWorkers says how many workers there are: 0 to n-1. Workers behind these are told to release what they have.
func (s *Set) SetWorkers(n int) {
	if n == s.workers {
		return
	}
	s.workers, s.respread = n, true
	for id, e := range s.entries {
		if e.worker >= n && !e.wanted {
			s.Expire(id)
		}
	}
}

// Workers is how many workers there are.
func (s *Set) Workers() int { return s.workers }

// Stop lets no task be opened any more.
func (s *Set) Stop() { s.stopped = true }

// Ran is a worker's report that it processes a task.
func (s *Set) Ran(worker int, id ID) {
	if e := s.entries[id]; e != nil && e.worker == worker && e.state == Opening {
		s.move(e, Running)
	}
}

// Suspended is a worker's report that a task has nothing to commit, and is kept open.
func (s *Set) Suspended(worker int, id ID) {
	if e := s.entries[id]; e != nil && e.worker == worker && e.state == Suspending {
		s.move(e, Suspended)
	}
}

// Closed is a worker's report that it does not have a task any more. Where nobody asked for that, the task is not
// opened again before a time.
func (s *Set) Closed(worker int, id ID, again time.Time) {
	e := s.entries[id]
	if e == nil || e.worker != worker || e.state == Waiting {
		return
	}
	if e.state == Opening || e.state == Running {
		e.again = again
	}
	s.move(e, Waiting)
	e.worker = nobody
	if !e.wanted {
		s.forget(e)
	}
}

// Ended is the report that a worker has closed everything, and ends.
func (s *Set) Ended(worker int) {
	for _, e := range s.sorted() {
		s.Closed(worker, e.id, time.Time{})
	}
}

func (s *Set) move(e *entry, to State) {
	if !slices.Contains(legal[e.state], to) {
		invariant.Never("tasks: task %s can't go from %s to %s", e.id, e.state, to)
	}
	made := Move{e.state, to}
	e.state, e.told = to, false
	e.stale = e.stale && to != Waiting
	s.changed[e.id] = true
	if s.Moved != nil {
		s.Moved(e.id, made)
	}
}

// closes tells that a task that is open is to be closed in order.
func (e *entry) closes() bool {
	switch e.state {
	case Opening:
		return e.stale || !e.wanted || e.target != e.worker
	case Running, Suspended:
		return e.stale || e.wanted && e.target != e.worker
	default:
		return false
	}
}

func (s *Set) forget(e *entry) {
	delete(s.entries, e.id)
	delete(s.changed, e.id)
}

// Orders returns what workers are to be told now, in the order of the tasks. Each order is given once.
func (s *Set) Orders(now time.Time) []Order {
	if s.respread {
		s.spread()
	}
	var orders []Order
	for _, id := range slices.SortedFunc(maps.Keys(s.changed), compareIDs) {
		e := s.entries[id]
		if e == nil {
			delete(s.changed, id)
			continue
		}
		switch {
		case e.state == Waiting && e.wanted && !s.stopped && s.workers > 0:
			if e.again.After(now) {
				continue // it stays among those to look at
			}
			s.move(e, Opening)
			e.worker = e.target
			orders = append(orders, Order{Open, id, e.worker})
		case e.state == Running && !e.wanted:
			s.move(e, Suspending)
			orders = append(orders, Order{Suspend, id, e.worker})
		case e.closes():
			s.move(e, Releasing)
			orders = append(orders, Order{Release, id, e.worker})
		case e.state == Suspended && e.wanted && !s.stopped:
			s.move(e, Opening)
			orders = append(orders, Order{Resume, id, e.worker})
		case e.state == Dropping && !e.told:
			e.told = true
			orders = append(orders, Order{Drop, id, e.worker})
		}
		delete(s.changed, id)
	}
	return orders
}

// Next is when a task may be opened again that could not be before. ok is false when there is none.
func (s *Set) Next() (at time.Time, ok bool) {
	for id := range s.changed {
		e := s.entries[id]
		if e != nil && e.state == Waiting && e.wanted && !s.stopped && (!ok || e.again.Before(at)) {
			at, ok = e.again, true
		}
	}
	return at, ok
}

// spread decides which worker is to have which task: evenly, stateful tasks and all tasks alike, and as few as possible
// elsewhere than they are.
func (s *Set) spread() {
	s.respread = false
	workers := make([]assign.Member, s.workers)
	for i := range workers {
		workers[i].ID = fmt.Sprintf("%08d", i) // sorted as text
	}
	var all []assign.Task
	for _, e := range s.sorted() {
		if !e.wanted {
			continue
		}
		all = append(all, assign.Task{ID: e.id, Stateful: e.stateful})
		if e.target >= 0 && e.target < s.workers {
			workers[e.target].Owned = append(workers[e.target].Owned, e.id)
		}
	}
	for i, a := range assign.Assign(all, workers, assign.Options{}).Members {
		for _, id := range a.Active {
			if e := s.entries[id]; e.target != i {
				e.target = i
				s.changed[id] = true
			}
		}
	}
}

// Held tells whether a worker may still commit something of one of the tasks.
func (s *Set) Held(ids ...ID) bool {
	return slices.ContainsFunc(ids, func(id ID) bool {
		e := s.entries[id]
		return e != nil && e.state != Waiting && e.state != Suspended
	})
}

// IsOpen tells whether a worker has a task, suspended or not.
func (s *Set) IsOpen(id ID) bool { return s.entries[id] != nil && s.entries[id].state != Waiting }

// Has tells whether a worker has a task.
func (s *Set) Has(worker int) bool {
	for _, e := range s.entries {
		if e.worker == worker {
			return true
		}
	}
	return false
}

// Settled tells that all tasks run where they are to.
func (s *Set) Settled() bool {
	for _, e := range s.entries {
		if e.state != Running || !e.wanted || s.respread {
			return false
		}
	}
	return true
}

// Wanted tells whether the group has assigned a task to the process.
func (s *Set) Wanted(id ID) bool { return s.entries[id] != nil && s.entries[id].wanted }

// Status says where a task is.
type Status struct {
	ID     ID
	State  State
	Worker int // that has it, or is to have it; -1: none yet
	Moves  bool
	Wanted bool
	Again  time.Time // it is not opened before; zero: as soon as it can be
}

// All returns where all tasks are, sorted.
func (s *Set) All() []Status {
	var all []Status
	for _, e := range s.sorted() {
		st := Status{ID: e.id, State: e.state, Worker: e.worker, Wanted: e.wanted, Moves: e.wanted && e.worker != e.target}
		if e.state == Waiting {
			st.Worker, st.Again = e.target, e.again
		}
		all = append(all, st)
	}
	return all
}

func (s *Set) sorted() []*entry {
	return slices.SortedFunc(maps.Values(s.entries), func(a, b *entry) int { return compareIDs(a.id, b.id) })
}

func compareIDs(a, b ID) int {
	return cmp.Or(cmp.Compare(a.Subtopology, b.Subtopology), cmp.Compare(a.Partition, b.Partition))
}
