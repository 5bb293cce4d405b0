package runtime

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"thalweg/internal/assign"
	"thalweg/internal/kclient"
)

// standbys keep copies of the state of tasks that other processes run: as standbys, in case those die, or as warm-ups,
// so that the tasks can move here. One goroutine follows the changelogs of all of them, on a fetch stream of its own,
// within one part of the memory for restoring. What it waits for from the broker it has asked by another goroutine, one
// question at a time, so that a worker which is to open a task waits for no more than the write of what was read.
//
// A task's rows belong to its worker from the order to open it until the worker reports it closed (claim, release), and
// to its standby while it is in tasks. So nobody reads the state again when a task changes between the two.
type standbys struct {
	app  *app
	log  *slog.Logger
	wake chan struct{} // has a token when there is something to look at

	mu      sync.Mutex
	wanted  map[TaskID]wantedCopy // by the group
	claimed map[TaskID]bool       // a worker has it, or is to open it
	tasks   map[TaskID]*standby   // being opened, or followed
	changed bool                  // one of these, since run last looked

	// The rest belongs to the goroutine of run.
	fetcher   *kclient.Fetcher // while something is followed
	logs      map[kclient.TopicPartition]*followed
	following map[TaskID]*standby
	unsaved   []*standby
	gathered  int64 // bytes of these
	held      int64 // bytes that the share of the memory knows of
	answer    int
	asking    *question
	answers   chan func()
	again     map[TaskID]*attempts
	lookAt    time.Time // when a copy may be begun that could not be before; zero: there is none
	savedAt   time.Time
	goalsAt   time.Time
	inputsAt  time.Time // when the committed offsets of inputs were asked for
	inputs    int       // of the logs
}

// wantedCopy is why a copy is wanted.
type wantedCopy struct {
	warmup bool
	since  time.Time
}

// question is what is asked of the broker.
type question struct {
	cancel context.CancelFunc
	opens  *standby // nil: it is about something else
}

// attempts are those to follow a task that failed.
type attempts struct {
	failures int
	at       time.Time // of the next one
}

const (
	// warmupAfter is how long a warm-up has to be wanted: a task that moves at once is one between two assignments.
	warmupAfter = 200 * time.Millisecond
	// copyAgainLeast and copyAgainMost bound the pause after a failure to follow a task.
	copyAgainLeast = time.Second
	copyAgainMost  = time.Minute
	// tellEvery is after how long the group is told again that a copy is near enough, the first time; then ever longer.
	tellEvery = 5 * time.Second
	// inputsEvery is the time between questions for the committed offsets of inputs that fill stores.
	inputsEvery = time.Second
)

func newStandbys(a *app) *standbys {
	return &standbys{
		app: a, log: a.cfg.Logger.With("application", a.cfg.ApplicationID), wake: make(chan struct{}, 1),
		wanted: map[TaskID]wantedCopy{}, claimed: map[TaskID]bool{}, tasks: map[TaskID]*standby{},
		logs: map[kclient.TopicPartition]*followed{}, following: map[TaskID]*standby{}, answers: make(chan func(), 1),
		again: map[TaskID]*attempts{},
	}
}

// assign says which copies the group wants here. nil: none.
func (s *standbys) assign(sent *assign.Sent) {
	wanted := map[TaskID]wantedCopy{}
	s.mu.Lock()
	defer s.mu.Unlock()
	want := func(ids []assign.TaskID, warmup bool) {
		for _, id := range ids {
			w := wantedCopy{warmup, time.Now()}
			if was, ok := s.wanted[taskID(id)]; ok {
				w.since = was.since
			}
			wanted[taskID(id)] = w
		}
	}
	if sent != nil {
		want(sent.Warmup, true)
		want(sent.Standby, false)
	}
	s.wanted = wanted
	s.change()
}

// claim is called before a worker is told to open a task.
func (s *standbys) claim(id TaskID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claimed[id] = true
	if s.tasks[id] != nil {
		s.change()
	}
}

// release is called when a worker has closed a task.
func (s *standbys) release(id TaskID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.claimed, id)
	if _, ok := s.wanted[id]; ok {
		s.change()
	}
}

// await waits until nothing follows tasks that are claimed.
func (s *standbys) await(ctx context.Context, ids []TaskID) error {
	for _, id := range ids {
		s.mu.Lock()
		st := s.tasks[id]
		s.mu.Unlock()
		if st == nil {
			continue
		}
		select {
		case <-st.gone:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// wants tells whether the group wants a copy of a task here.
func (s *standbys) wants(id TaskID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.wanted[id]
	return ok
}

// here are the tasks of which copies are kept.
func (s *standbys) here() []TaskID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.tasks))
}

// reach is how far this process is with the state of a task.
type reach struct {
	position int64 // sum of the changelogs' offsets
	lag      int64 // records up to the changelogs' ends
	known    bool  // lag is
}

// reached is how far the copies are: what is not in the engine yet goes there before anybody else gets the rows. While
// nothing is fetched nobody knows what they lack.
func (s *standbys) reached() map[TaskID]reach {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, known := map[TaskID]reach{}, !s.app.paused.Load()
	for id, st := range s.tasks {
		if at := st.position.Load(); at >= 0 {
			all[id] = reach{at, st.lacks.Load(), known}
		}
	}
	return all
}

// change lets run look. It needs the mutex.
func (s *standbys) change() {
	s.changed = true
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// StandbyStats are the figures of a copy that this process keeps of the state of another process's task.
type StandbyStats struct {
	Task TaskID
	// Warmup tells that the task is to move here when the copy is near enough.
	Warmup bool
	// Lag is how many records of the changelogs the copy on disk lacks, as far as this process knows; -1: it is being
	// opened.
	Lag int64
}

// stats returns the figures of the copies, sorted.
func (s *standbys) stats() (all []StandbyStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, st := range s.tasks {
		all = append(all, StandbyStats{id, s.wanted[id].warmup, st.lag.Load()})
	}
	slices.SortFunc(all, func(a, b StandbyStats) int {
		return cmp.Or(cmp.Compare(a.Task.Subtopology, b.Task.Subtopology), cmp.Compare(a.Task.Partition, b.Task.Partition))
	})
	return all
}
