package task

import (
	"slices"

	"thalweg/internal/align"
	"thalweg/topology"
)

// Aligned says which inputs of a task several tasks write, each at its own pace. See package align.
type Aligned struct {
	Repartitions []string        // their topics, in the order of a goal's ends
	Held         map[string]bool // other inputs, of which nothing later than the task's time is taken meanwhile
}

// Aligning is how far the time of a task's operators behind repartitions may go. The environment has it for the nodes.
type Aligning struct {
	task      *Task
	on        bool
	moved     bool     // since the driver has asked
	inputs    []*queue // the repartitions
	line      align.Line
	watches   []*endWatch // of nodes that want to know for how long nothing upstream has records
	sealed    alignedAt   // of the commit under way, otherwise committed
	committed alignedAt
}

// alignedAt is what a commit fixes: how far the time may go, and whether operators have seen later records.
type alignedAt struct {
	time int64
	open bool
}

func (a *Aligning) start(t *Task) {
	a.task = t
	t.env.Aligned = topology.Unknown
	a.sealed.time, a.committed.time = topology.Unknown, topology.Unknown
	c := t.config.Aligned
	if c == nil {
		return
	}
	for _, name := range c.Repartitions {
		if q := t.queue(name, t.id.Partition); q != nil {
			a.inputs = append(a.inputs, q)
		}
	}
	for _, q := range t.queues {
		q.held = c.Held[q.head.Topic]
	}
	a.on = len(a.inputs) > 0
	t.env.Aligning = a.on
}

// seek takes how far the time was when an input's offset was committed. Where that was by somebody who does not align,
// the time was the highest timestamp.
func (a *Aligning) seek(t *Task, marks map[string]int64, o Offset, partitionTime int64) {
	if !a.on {
		return
	}
	at, ok := marks[alignedMark]
	switch {
	case !ok:
		at = partitionTime
	case !ours(marks, o.Next):
		at = max(at, partitionTime)
	}
	t.env.Aligned = max(t.env.Aligned, min(at, topology.MaxTime))
	t.env.StreamTime = a.upto()
	a.committed = a.now(t)
	a.sealed = a.committed
}

// see notes the time of a record.
func (a *Aligning) see(at int64) {
	t := a.task
	t.newest = max(t.newest, at)
	t.env.StreamTime = a.upto()
}

// upto is the task's stream time.
func (a *Aligning) upto() int64 {
	t := a.task
	if t.env.Aligning {
		return min(t.newest, t.env.Aligned)
	}
	return t.newest
}

// watch is one of a repartition: for how long nothing upstream has had records.
func (a *Aligning) watch(q *queue, stall int64) []*endWatch {
	if !slices.Contains(a.inputs, q) {
		return nil
	}
	w := &endWatch{queue: q, stall: stall, fetched: unknownStretch, read: unknownStretch}
	a.watches = append(a.watches, w)
	return []*endWatch{w}
}

// Align sets a goal: when the repartitions are read up to its ends, time may go on to its time. Ends are by the order
// of Config.Aligned; a partition that is not there has none.
func (a *Aligning) Align(g align.Goal) {
	t := a.task
	if !a.on || t.state != Running || len(g.Ends) != len(a.inputs) {
		return
	}
	if !g.Exhausted {
		t.env.Exhausted = false
	}
	a.line.Add(g)
	a.aim()
}

// aim tells the inputs of the first goal.
func (a *Aligning) aim() {
	for i, q := range a.inputs {
		if q.goal = never; !a.line.Empty() {
			q.goal = a.line.First().Ends[i]
		}
	}
}

// reached tells that the first goal is, and exactly that no record from behind it was taken.
func (a *Aligning) reached() (reached, exactly bool) {
	if a.line.Empty() {
		return false, false
	}
	exactly = true
	for i, q := range a.inputs {
		end := a.line.First().Ends[i]
		at := q.next
		if q.has {
			at = q.head.Offset
		}
		if at < end {
			return false, false
		}
		exactly = exactly && q.next <= end
	}
	return true, exactly
}

// Reaches tells that a goal is reached whose time Step goes on to.
func (a *Aligning) Reaches() bool {
	reached, _ := a.reached()
	return reached
}

// TookTime tells whether Step has gone on to the time of a goal since it was asked last: there may be something to
// commit.
func (a *Aligning) TookTime() bool {
	moved := a.moved
	a.moved = false
	return moved
}

// align goes on to the times of the goals that are reached.
func (a *Aligning) align() error {
	t := a.task
	for !a.line.Empty() {
		reached, exactly := a.reached()
		if !reached {
			return nil
		}
		g := a.line.First()
		to := g.Time
		if g.Exhausted && exactly { // all there was is here: the time is what it would be without tasks upstream
			to = max(to, t.newest)
		}
		exhausted, at := g.Exhausted, g.At
		a.line.Drop()
		a.aim()
		if t.env.Exhausted = exhausted && a.line.Empty(); t.env.Exhausted {
			for _, w := range a.watches {
				w.extend(at, at)
			}
		}
		if to <= t.env.Aligned {
			continue
		}
		t.env.Aligned, a.moved = to, true
		if err := a.timeMoved(); err != nil {
			return err
		}
	}
	return nil
}

// timeMoved does what is due though no record came.
func (a *Aligning) timeMoved() error {
	t := a.task
	if before := t.env.StreamTime; a.upto() == before {
		return nil
	}
	t.env.StreamTime = a.upto()
	t.worked = true
	for _, in := range t.graph.Instances {
		if in.TimeMoved == nil {
			continue
		}
		in.Resume()
		if err := a.callTimeMoved(in); err != nil {
			return err
		}
	}
	if t.env.StreamTime >= t.punct.due[topology.StreamTime] {
		_, err := t.punct.run(topology.StreamTime, t.env.StreamTime, t.env.Guarded)
		return err
	}
	return nil
}

func (a *Aligning) callTimeMoved(in *topology.Instance) (err error) {
	t := a.task
	if !t.env.Guarded { // a panic is caught by the step
		return in.TimeMoved()
	}
	defer func() {
		if v := recover(); v != nil {
			in.Resume()
			err = in.Handle(topology.PhaseProcess, t.env.StreamTime, t.env.Recovered(v))
		}
	}()
	return in.TimeMoved()
}

// holdsBack tells that an input's next record is later than the task's time.
func (a *Aligning) holdsBack(q *queue) bool {
	t := a.task
	return q.held && !t.env.Exhausted && q.time > t.env.Aligned
}

// WaitsForTime tells that a later time would make a difference, and so a new goal.
func (a *Aligning) WaitsForTime() bool {
	t := a.task
	if !a.on {
		return false
	}
	return t.newest > t.env.Aligned || len(a.watches) > 0 || slices.ContainsFunc(t.queues, func(q *queue) bool {
		return q.has && a.holdsBack(q)
	})
}

func (a *Aligning) now(t *Task) alignedAt { return alignedAt{t.env.Aligned, t.newest > t.env.Aligned} }

// changed tells whether the next commit says something else than the one before.
func (a *Aligning) changed(t *Task) bool { return a.on && a.now(t) != a.sealed }

func (a *Aligning) seal(t *Task) { a.sealed = a.now(t) }

func (a *Aligning) advance() { a.committed = a.sealed }

// rewind goes back to the last commit. Goals that were not reached stay: what they say of the inputs upstream is true
// wherever the task is.
func (a *Aligning) rewind(t *Task) {
	a.sealed = a.committed
	t.env.Aligned, t.env.Exhausted = a.committed.time, false
	t.env.StreamTime = a.upto()
}

// beside adds how far the time is to the marks of a commit.
func (a *Aligning) beside(marks map[string]int64, at alignedAt, commit int64) map[string]int64 {
	if !a.on {
		return marks
	}
	if marks == nil {
		marks = map[string]int64{commitNumber: commit}
	}
	if marks[alignedMark] = at.time; at.open {
		marks[openMark] = 1
	}
	return marks
}

// goes tells whether the queue's offset can be committed: it is known where the queue is.
func (q *queue) goes() bool {
	return q.next >= 0 && slices.Contains(q.task.Aligning.inputs, q)
}

// Committed is what an offset says of an input.
func Committed(o Offset) align.Committed {
	c := align.Committed{Next: o.Next, Time: topology.Unknown, Aligned: topology.Unknown}
	if o.Next < 0 {
		return c
	}
	partitionTime, marks, err := decodeMetadata(o.Metadata)
	if err != nil {
		return c
	}
	c.Time = partitionTime
	if at, ok := marks[alignedMark]; ok && ours(marks, o.Next) {
		c.Aligned = at
		_, c.Open = marks[openMark]
	}
	return c
}
