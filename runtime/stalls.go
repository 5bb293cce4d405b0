package runtime

import (
	"time"

	"thalweg/internal/align"
)

// stalls finds the inputs before a repartition whose tasks have records and make no progress.
type stalls struct {
	last    time.Time
	inputs  map[align.Partition]*stall
	leftOut map[align.Partition]bool // nobody waits for them any more
}

type stall struct {
	at    align.Stand
	since time.Duration // for so long it was there, as far as somebody looked
}

// stallStep bounds what counts between two looks: this process may have been stopped itself.
const stallStep = 2 * cutMost

// note takes in where the inputs are that have records.
func (s *stalls) note(a *app, waiting map[align.Partition]align.Stand) {
	now := time.Now()
	step := min(now.Sub(s.last), max(stallStep, 2*a.cfg.CommitInterval))
	if s.last.IsZero() {
		step = 0
	}
	s.last = now
	for tp := range s.inputs {
		if _, ok := waiting[tp]; !ok {
			delete(s.inputs, tp)
			delete(s.leftOut, tp)
		}
	}
	for tp, at := range waiting {
		input := s.inputs[tp]
		if input == nil || input.at != at {
			if s.inputs == nil {
				s.inputs = map[align.Partition]*stall{}
			}
			s.inputs[tp] = &stall{at: at}
			delete(s.leftOut, tp)
			continue
		}
		if input.since += step; input.since < a.cfg.Alignment.Timeout || s.leftOut[tp] {
			continue
		}
		if s.leftOut == nil {
			s.leftOut = map[align.Partition]bool{}
		}
		s.leftOut[tp] = true
		a.cfg.Logger.Warn("a task makes no progress: operators behind its repartition wait for it no longer, so that what "+
			"it has not processed may be late there", "application", a.cfg.ApplicationID,
			"task", a.taskOf(tp).String(), "topic", tp.Topic, "partition", tp.Number, "offset", at.Next,
			"waited", input.since.Round(time.Second))
	}
}

// taskOf is the task that reads an input's partition.
func (a *app) taskOf(tp align.Partition) TaskID {
	for _, s := range a.topo.Subtopologies() {
		for _, in := range s.Inputs {
			if in.In(a.cfg.ApplicationID) == tp.Topic {
				return TaskID{s.ID, tp.Number}
			}
		}
	}
	return TaskID{-1, tp.Number}
}
