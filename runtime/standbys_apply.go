package runtime

import (
	"context"
	"time"

	"thalweg/internal/kclient"
)

// apply adds what was fetched.
func (s *standbys) apply(fetched []kclient.Fetched) {
	most := s.app.home.memory.restored.PartBytesMax() / 2 // the other half is what is fetched
	for i := range fetched {
		f := &fetched[i]
		l := s.logs[f.TopicPartition]
		if l == nil || f.Stale() {
			continue
		}
		st := l.standby
		if f.Err != nil {
			s.fail(st, f.Err) // the next attempt looks at what the topic is now
			continue
		}
		if !st.moved {
			s.unsaved = append(s.unsaved, st)
		}
		was := st.bytes
		err := safely(func() error { return st.add(l, f, int(most)) })
		s.gathered += int64(st.bytes - was)
		st.moved = true
		if err != nil {
			s.fail(st, err)
			continue
		}
		delete(s.again, st.id)
		if l.Done() { // until more of an input is committed
			s.fetcher.Unset(f.TopicPartition)
		}
		if s.gathered > most {
			s.saveAll()
		}
	}
}

// save writes to the engine what was read, when that is due.
func (s *standbys) save(now time.Time) {
	if now.Sub(s.savedAt) < s.app.cfg.State.CheckpointInterval {
		return
	}
	s.savedAt = now
	s.saveAll()
}

func (s *standbys) saveAll() {
	unsaved := s.unsaved
	s.unsaved = nil
	for _, st := range unsaved {
		was := st.bytes
		err := safely(st.save)
		s.gathered += int64(st.bytes - was)
		if err != nil {
			s.fail(st, err)
			continue
		}
		s.caughtUp(st, s.savedAt)
	}
}

// caughtUp has the group balanced again when a task that waits for its copy may move here. The leader may find that it
// may not, where the task has written much since: then the next time comes later.
func (s *standbys) caughtUp(st *standby, now time.Time) {
	s.mu.Lock()
	w, wanted := s.wanted[st.id]
	s.mu.Unlock()
	if !wanted || !w.warmup || st.left() > s.app.cfg.Standbys.AcceptableLag || now.Before(st.tellAt) {
		return
	}
	st.tellAt = now.Add(min(tellEvery<<min(st.tells, 10), s.app.cfg.Standbys.ProbeInterval))
	st.tells++
	s.log.Info("the copy of a task's state is near enough for the task to move here", "task", st.id.String(), "lag",
		st.left())
	s.app.dispatcher.rejoin()
}

// askAhead asks the broker for what the copies are to reach.
func (s *standbys) askAhead(ctx context.Context, now time.Time) {
	switch {
	case s.asking != nil || len(s.following) == 0:
	case s.inputs > 0 && now.Sub(s.inputsAt) >= inputsEvery:
		s.inputsAt = now
		s.ask(ctx, nil, s.askInputs)
	case now.Sub(s.goalsAt) >= syncedEvery:
		s.goalsAt = now
		s.askGoals(ctx)
	}
}

// askInputs asks for the committed offsets of inputs that fill stores.
func (s *standbys) askInputs(ctx context.Context) func() {
	committed, err := s.app.control.GroupOffsets(ctx, s.app.cfg.ApplicationID)
	return func() {
		if err != nil {
			s.log.Debug("can't ask for the committed offsets", "err", err)
			return
		}
		for tp, l := range s.logs {
			if !l.Source {
				continue
			}
			more, err := l.standby.commit(l, committed[tp])
			if err != nil {
				s.fail(l.standby, err)
			} else if more {
				s.fetcher.Set(tp, l.Position)
			}
		}
	}
}

// askGoals asks where the changelogs end: a copy that comes there was as new as its task at the time of the question.
func (s *standbys) askGoals(ctx context.Context) {
	asked := s.app.cfg.Clock()
	var tps []kclient.TopicPartition
	for tp, l := range s.logs {
		if !l.Source && l.standby.asked.IsZero() {
			tps = append(tps, tp)
		}
	}
	if len(tps) == 0 {
		return // none has reached its last goal, or all are filled from inputs
	}
	s.ask(ctx, nil, func(ctx context.Context) func() {
		ends, err := s.app.control.ListOffsets(ctx, tps, kclient.Latest, false)
		return func() {
			if err != nil {
				s.log.Debug("can't ask where the changelogs end", "err", err)
				return
			}
			for _, st := range s.following {
				s.aim(st, ends, asked)
			}
		}
	})
}

// aim sets the goals of a copy, if it has reached the last ones.
func (s *standbys) aim(st *standby, ends map[kclient.TopicPartition]int64, asked time.Time) {
	if !st.asked.IsZero() {
		return
	}
	for _, l := range st.logs {
		end, ok := ends[logPartition(l.Changelog)]
		switch {
		case l.Source:
			l.goal = l.End
		case !ok:
			return // it was opened since
		default:
			l.goal = end
		}
	}
	st.asked = asked
	if !st.moved { // the goals may be where it is
		st.moved = true
		s.unsaved = append(s.unsaved, st)
	}
}

// hold tells the memory limit what is gathered, and adapts the answers to what others leave.
func (s *standbys) hold() {
	memory, now := s.app.home.memory, int64(0)
	if s.fetcher != nil && len(s.logs) > 0 {
		if bytes := memory.restoreBytes(); bytes != s.answer {
			s.answer = bytes
			s.fetcher.SetBytesMax(bytes)
		}
		now = s.gathered + int64(answersMost*s.answer)
	}
	if memory.restored != nil {
		memory.restored.Use(now - s.held)
	}
	s.held = now
}
