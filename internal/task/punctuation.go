package task

import (
	"math"

	"thalweg/topology"
)

// never is a time that no clock reaches.
const never int64 = math.MaxInt64

// schedule is one punctuation of a node.
type schedule struct {
	in       *topology.Instance
	kind     topology.TimeKind
	interval int64
	due      int64
	sealed   int64 // due, as of the commit under way
	fixed    int64 // due, as of the last commit
	f        func(now int64) error
	canceled bool
	anchored bool // due at a time of the clock, and not after an interval
	initial  bool // made while the graph was built
}

// punctuator keeps a task's schedules. They are few: what is due is found by looking at all of them, and due says
// per clock when that is worth it.
type punctuator struct {
	env       *topology.Env
	due       [2]int64 // per clock: the earliest of all schedules
	schedules []*schedule
	building  bool
	inherit   []*schedule // those of the graph that is being replaced
}

func newPunctuator(env *topology.Env) *punctuator {
	return &punctuator{env: env, due: [2]int64{never, never}}
}

// rebuild starts anew for a graph that replaces the one before; built ends it. A schedule that a node makes in both
// keeps its grid, so that a discarded transaction neither repeats a punctuation nor puts it off.
func (p *punctuator) rebuild() {
	p.inherit = p.inherit[:0]
	for _, s := range p.schedules {
		if s.initial {
			p.inherit = append(p.inherit, s)
		}
	}
	p.schedules, p.building = nil, true
}

func (p *punctuator) built() {
	p.building, p.inherit = false, nil
	p.refresh()
}

// Schedule implements [topology.Punctuator].
func (p *punctuator) Schedule(
	in *topology.Instance, kind topology.TimeKind, start, interval int64, f func(now int64) error,
) (cancel func()) {
	s := &schedule{
		in: in, kind: kind, interval: interval, f: f, initial: p.building, due: start, anchored: start != 0,
	}
	switch {
	case kind == topology.WallClock && start == 0:
		s.due = p.env.WallTime + interval
	case kind == topology.WallClock && start < p.env.WallTime:
		s.skip(p.env.WallTime)
	case kind == topology.StreamTime && p.building && p.env.StreamTime >= start:
		// What was due up to here fired before the commit that the task starts from.
		s.skip(p.env.StreamTime)
	}
	if kind == topology.WallClock && p.building {
		for i, old := range p.inherit {
			if old.in.Node == in.Node && old.kind == kind && old.interval == interval {
				s.due = old.fixed
				p.inherit = append(p.inherit[:i:i], p.inherit[i+1:]...)
				break
			}
		}
	}
	s.sealed, s.fixed = s.due, s.due
	p.schedules = append(p.schedules, s)
	p.due[kind] = min(p.due[kind], s.due)
	return func() {
		s.canceled = true
		p.refresh()
	}
}

// skip moves the due time to the first point of the grid after now.
func (s *schedule) skip(now int64) {
	if s.due <= now {
		s.due += ((now-s.due)/s.interval + 1) * s.interval
	}
}

// run calls what is due at now: the earliest first, of equal ones a parent's before its child's, then the one that was
// made first.
func (p *punctuator) run(kind topology.TimeKind, now int64, guarded bool) (fired bool, err error) {
	for p.due[kind] <= now {
		s := p.earliest(kind)
		s.skip(now)
		p.refresh()
		fired = true
		if err := p.call(s, now, guarded); err != nil {
			return fired, err
		}
	}
	return fired, nil
}

func (p *punctuator) call(s *schedule, now int64, guarded bool) (err error) {
	s.in.Resume()
	if !guarded { // a panic is caught by the step
		return s.in.Error(topology.PhaseProcess, now, s.f(now))
	}
	defer func() {
		if v := recover(); v != nil {
			s.in.Resume()
			err = s.in.Handle(topology.PhaseProcess, now, p.env.Recovered(v))
		}
	}()
	return s.in.Handle(topology.PhaseProcess, now, s.f(now))
}

func (p *punctuator) earliest(kind topology.TimeKind) *schedule {
	var first *schedule
	for _, s := range p.schedules {
		if s.kind == kind && !s.canceled && (first == nil || s.before(first)) {
			first = s
		}
	}
	return first
}

// before orders schedules: by the time that they are due, then parents before their children, since these are built
// first.
func (s *schedule) before(o *schedule) bool {
	return s.due < o.due || s.due == o.due && s.in.Rank() < o.in.Rank()
}

// refresh drops the cancelled schedules and finds when the next ones are due.
func (p *punctuator) refresh() {
	p.due = [2]int64{never, never}
	kept := p.schedules[:0]
	for _, s := range p.schedules {
		if s.canceled {
			continue
		}
		kept = append(kept, s)
		p.due[s.kind] = min(p.due[s.kind], s.due)
	}
	clear(p.schedules[len(kept):])
	p.schedules = kept
}

// setBack keeps intervals of the wall clock as they are when it is set back by so much.
func (p *punctuator) setBack(by int64) {
	for _, s := range p.schedules {
		if s.kind == topology.WallClock && !s.anchored {
			s.due, s.sealed, s.fixed = s.due-by, s.sealed-by, s.fixed-by
		}
	}
	p.refresh()
}

// seal fixes for the next commit when the schedules are due.
func (p *punctuator) seal() {
	for _, s := range p.schedules {
		s.sealed = s.due
	}
}

// advance tells that what was sealed is committed.
func (p *punctuator) advance() {
	for _, s := range p.schedules {
		s.fixed = s.sealed
	}
}
