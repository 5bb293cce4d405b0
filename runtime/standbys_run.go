package runtime

import (
	"context"
	"maps"
	"slices"
	"time"

	"thalweg/internal/kclient"
)

// run keeps the copies until stop.
func (s *standbys) run(ctx context.Context, stop <-chan struct{}) {
	if s.app.home.engine == nil || !slices.ContainsFunc(s.app.layout().fillings, filling.copied) {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer s.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		toggled := s.app.restorers.pausing()
		var fetched <-chan []kclient.Fetched
		if s.fetcher != nil && !s.app.paused.Load() {
			fetched = s.fetcher.Fetched()
		}
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-toggled:
		case <-s.wake:
		case <-timer.C:
		case then := <-s.answers:
			s.answered(then)
		case some := <-fetched:
			s.apply(some)
		}
		s.look(ctx)
		now := time.Now()
		s.save(now)
		s.askAhead(ctx, now)
		s.hold()
		timer.Reset(s.sleep(now))
	}
}

// sleep is the time to whatever is due next.
func (s *standbys) sleep(now time.Time) time.Duration {
	pause := syncedEvery
	if len(s.unsaved) > 0 {
		pause = min(pause, s.savedAt.Add(s.app.cfg.State.CheckpointInterval).Sub(now))
	}
	if s.inputs > 0 {
		pause = min(pause, s.inputsAt.Add(inputsEvery).Sub(now))
	}
	if !s.lookAt.IsZero() {
		pause = min(pause, s.lookAt.Sub(now))
	}
	return max(pause, time.Millisecond)
}

// look ends what is not wanted any more, or has a worker, and begins what is wanted.
func (s *standbys) look(ctx context.Context) {
	now := time.Now()
	s.mu.Lock()
	if !s.changed && (s.lookAt.IsZero() || now.Before(s.lookAt)) {
		s.mu.Unlock()
		return
	}
	s.changed = false
	over := map[*standby]string{}
	for id, st := range s.tasks {
		if _, wanted := s.wanted[id]; s.claimed[id] {
			over[st] = "it is to run here"
		} else if !wanted {
			over[st] = "the group does not want it here"
		}
	}
	s.mu.Unlock()
	for st, why := range over {
		switch {
		case s.following[st.id] == st:
			s.drop(st)
			s.log.Info("no longer following a task of another process", "task", st.id.String(), "why", why)
		case s.asking != nil && s.asking.opens == st:
			s.asking.cancel() // it is closed with the answer
		}
	}
	maps.DeleteFunc(s.again, func(id TaskID, _ *attempts) bool { return !s.wants(id) })
	if st := s.next(now); st != nil && s.asking == nil {
		s.open(ctx, st)
	}
}

// next returns a copy to begin, warm-ups first, and notes when there may be one. While something else is asked, it does
// neither.
func (s *standbys) next(now time.Time) *standby {
	s.lookAt = time.Time{}
	if s.asking != nil {
		return nil // the answer lets look look again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []TaskID
	for id, w := range s.wanted {
		at := w.since
		if w.warmup {
			at = at.Add(warmupAfter)
		}
		if a := s.again[id]; a != nil && a.at.After(at) {
			at = a.at
		}
		switch {
		case s.claimed[id] || s.tasks[id] != nil:
		case !at.After(now):
			due = append(due, id)
		case s.lookAt.IsZero() || at.Before(s.lookAt):
			s.lookAt = at
		}
	}
	if len(due) == 0 {
		return nil
	}
	id := slices.MinFunc(due, func(a, b TaskID) int {
		if x, y := s.wanted[a].warmup, s.wanted[b].warmup; x != y {
			if x {
				return -1
			}
			return 1
		}
		return compareTaskIDs(a, b)
	})
	st := &standby{app: s.app, id: id, gone: make(chan struct{})}
	st.lag.Store(-1)
	st.position.Store(-1)
	s.tasks[id] = st
	return st
}

// ask asks the broker something, and lets then be called with the answer by run.
func (s *standbys) ask(ctx context.Context, opens *standby, work func(ctx context.Context) (then func())) {
	ctx, cancel := context.WithCancel(ctx)
	s.asking = &question{cancel, opens}
	go func() {
		then := work(ctx)
		cancel()
		s.answers <- then
	}()
}

// answered takes an answer. Something else can be asked now.
func (s *standbys) answered(then func()) {
	s.asking = nil
	then()
	s.lookAgain()
}

// open begins to follow a task.
func (s *standbys) open(ctx context.Context, st *standby) {
	s.ask(ctx, st, func(ctx context.Context) func() {
		err := safely(func() error { return openStandby(ctx, st) })
		return func() { s.opened(ctx, st, err) }
	})
}

func (s *standbys) opened(ctx context.Context, st *standby, err error) {
	canceled := ctx.Err() != nil && err != nil
	if err == nil {
		err = s.fetch(st)
	}
	s.mu.Lock()
	w := s.wanted[st.id]
	s.mu.Unlock()
	switch {
	case canceled:
		s.drop(st)
	case err != nil:
		s.fail(st, err)
	default:
		s.following[st.id] = st
		if s.goalsAt.IsZero() {
			s.goalsAt = time.Now()
		}
		s.log.Info("following a task of another process", "task", st.id.String(), "warm-up", w.warmup, "lag",
			st.lag.Load())
		s.caughtUp(st, time.Now()) // what is on disk may be enough
	}
}

// fetch begins to fetch the changelogs of a copy.
func (s *standbys) fetch(st *standby) (err error) {
	if s.fetcher == nil {
		memory := s.app.home.memory
		memory.restored.Divide(1)
		if s.fetcher, err = s.app.control.OpenFetcher(memory.restoring()); err != nil {
			memory.restored.Divide(-1)
			return err
		}
	}
	for _, l := range st.logs {
		tp := logPartition(l.Changelog)
		s.logs[tp] = l
		if l.Source {
			s.inputs++
		}
		if !l.Done() {
			s.fetcher.Set(tp, l.Position)
		}
	}
	return nil
}

// drop ends a copy. The rows stay, and are its next owner's.
func (s *standbys) drop(st *standby) {
	for _, l := range st.logs {
		tp := logPartition(l.Changelog)
		if s.logs[tp] != l {
			continue
		}
		delete(s.logs, tp)
		s.fetcher.Unset(tp)
		if l.Source {
			s.inputs--
		}
	}
	delete(s.following, st.id)
	s.unsaved = slices.DeleteFunc(s.unsaved, func(o *standby) bool { return o == st })
	s.gathered -= int64(st.bytes)
	if err := safely(st.close); err != nil {
		s.log.Warn("can't end the copy of a task's state as it should be: what it lacks is restored later", "task",
			st.id.String(), "err", err)
	}
	s.mu.Lock()
	delete(s.tasks, st.id)
	s.mu.Unlock()
	close(st.gone)
	if len(s.logs) == 0 && s.fetcher != nil {
		s.hold()
		s.fetcher.Close()
		s.fetcher = nil
		s.app.home.memory.restored.Divide(-1)
	}
}

// fail ends a copy that can't be kept. It is begun again after a pause.
func (s *standbys) fail(st *standby, err error) {
	s.drop(st)
	a := s.again[st.id]
	if a == nil {
		a = &attempts{}
		s.again[st.id] = a
	}
	a.failures++
	pause := min(copyAgainLeast<<min(a.failures-1, 10), copyAgainMost)
	a.at = time.Now().Add(pause)
	s.log.Warn("can't keep a copy of a task's state: trying again", "task", st.id.String(), "failures", a.failures, "in",
		pause, "err", err)
	s.lookAgain()
}

// lookAgain lets look look at everything.
func (s *standbys) lookAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change()
}

// end ends all copies.
func (s *standbys) end() {
	if q := s.asking; q != nil {
		q.cancel()
		then := <-s.answers
		s.answered(then)
	}
	for _, id := range slices.SortedFunc(maps.Keys(s.following), compareTaskIDs) {
		s.drop(s.following[id])
	}
	s.hold()
}
