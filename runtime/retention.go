package runtime

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"thalweg/state"
)

// retention drops the rows of tasks that have moved to other processes. A task may come back, and finds its state then;
// the longer it is away, the less that saves, and the disk would fill up with copies that nobody uses.
//
// A task counts as moved only while the group's assignment gives it to another process, and only in the time that this
// process has seen of that: so nothing is dropped before the first assignment after a start, nor because a clock jumps.
type retention struct {
	app *app

	mu      sync.Mutex
	away    map[TaskID]time.Duration // that another process was seen to have the task
	erasing map[TaskID]chan struct{} // closed when it is over
	opening map[TaskID]int           // by how many calls
	clean   map[TaskID]bool          // that have no rows here
}

func newRetention(a *app) *retention {
	return &retention{
		app: a, away: map[TaskID]time.Duration{}, erasing: map[TaskID]chan struct{}{}, opening: map[TaskID]int{},
		clean: map[TaskID]bool{},
	}
}

// retentionTicks is how often tasks are looked at while they are away.
const retentionTicks = 10

// run looks after the tasks until finished is closed.
func (r *retention) run(finished <-chan struct{}) {
	keep := r.app.cfg.State.Retention
	if keep < 0 || r.app.home.engine == nil {
		return
	}
	every := max(keep/retentionTicks, time.Millisecond)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.look(every)
		case <-finished:
			return
		}
	}
}

// open keeps the rows of tasks that are about to be opened. The function that it returns ends that: the tasks are open
// by then, or are to be opened again.
func (r *retention) open(ids []TaskID) (opened func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		for over := r.erasing[id]; over != nil; over = r.erasing[id] {
			r.mu.Unlock()
			<-over
			r.mu.Lock()
		}
		r.opening[id]++
		delete(r.away, id)
		delete(r.clean, id)
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, id := range ids {
			if r.opening[id]--; r.opening[id] == 0 {
				delete(r.opening, id)
			}
		}
	}
}

// isAway tells that the group has given a task to another process, and wants no copy of its state here.
func (r *retention) isAway(id TaskID) bool {
	return r.app.State() != Closing && r.app.dispatcher.taskElsewhere(id) && !r.app.standbys.wants(id)
}

// look counts the time that tasks are away, and drops the rows of those that are away for long.
func (r *retention) look(span time.Duration) {
	var due []TaskID
	for _, s := range r.app.topo.Subtopologies() {
		if len(s.Stores) == 0 {
			continue
		}
		for p := range r.app.layout().partitions[s.ID] {
			if id := (TaskID{s.ID, p}); r.isAway(id) && r.count(id, span) {
				due = append(due, id)
			}
		}
	}
	if len(due) == 0 {
		return
	}
	if err := r.drop(due); err != nil {
		r.app.cfg.Logger.Warn("can't drop the rows of tasks that another process has: trying again later",
			"application", r.app.cfg.ApplicationID, "err", err)
	}
}

// count adds to the time that a task is away, and tells whether that is enough.
func (r *retention) count(id TaskID, span time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away[id] < r.app.cfg.State.Retention {
		r.away[id] += span
	}
	return r.away[id] >= r.app.cfg.State.Retention && !r.clean[id]
}

// drop drops the rows of tasks that have some.
func (r *retention) drop(ids []TaskID) error {
	stored, err := state.ReadStored(r.app.home.engine)
	if err != nil {
		return err
	}
	var dropped []string
	for _, id := range ids {
		var stores []string
		for _, s := range r.app.topo.Subtopologies()[id.Subtopology].Stores {
			if s.Spec().Volatile {
				continue // nothing could bring them back
			}
			if slices.ContainsFunc(stored, func(o state.Stored) bool {
				return o.Store == s.Name() && o.Partition == id.Partition
			}) {
				stores = append(stores, s.Name())
			}
		}
		erased, err := r.erase(id, stores)
		if err != nil {
			return err
		}
		if erased && len(stores) > 0 {
			dropped = append(dropped, id.String())
		}
	}
	if len(dropped) > 0 {
		r.app.cfg.Logger.Info("dropped the rows of tasks that another process has", "application",
			r.app.cfg.ApplicationID, "tasks", dropped, "for", r.app.cfg.State.Retention)
	}
	return nil
}

// erase drops the rows of a task in the stores that have some, unless it is on its way back.
func (r *retention) erase(id TaskID, stores []string) (erased bool, err error) {
	over := make(chan struct{})
	r.mu.Lock()
	if r.opening[id] > 0 {
		r.mu.Unlock()
		return false, nil
	}
	r.erasing[id] = over
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.erasing, id)
		r.clean[id] = erased && err == nil
		r.mu.Unlock()
		close(over)
	}()
	if !r.isAway(id) { // it was assigned before open could see that its rows go
		return false, nil
	}
	for _, store := range stores {
		if err := state.EraseSaved(r.app.home.engine, state.Namespace(id.Partition), store); err != nil {
			return true, fmt.Errorf("task %s: %w", id, err)
		}
	}
	return true, r.app.balance.noteHeld(id)
}
