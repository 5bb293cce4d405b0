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
	env       *topology.Env
	time      *streamTime
	on        bool
	moved     bool     // since the driver has asked
	inputs    []*queue // the repartitions
	held      []*queue // see Aligned.Held
	queues    []*queue // all
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

func newAligning(time *streamTime, c *Aligned, queues []*queue) Aligning {
	a := Aligning{env: time.env, time: time, queues: queues}
	a.env.Aligned = topology.Unknown
	a.sealed.time, a.committed.time = topology.Unknown, topology.Unknown
	if c == nil {
		return a
	}
	for _, name := range c.Repartitions {
		if i := slices.IndexFunc(queues, func(q *queue) bool { return q.head.Topic == name }); i >= 0 {
			q := queues[i]
			a.inputs = append(a.inputs, q)
			if q.await.endWatch != nil {
				q.upstream = upstreamWatch(q, q.await.stall)
			}
		}
	}
	for _, q := range queues {
		if q.held = c.Held[q.head.Topic]; q.held {
			a.held = append(a.held, q)
		}
	}
	a.on = len(a.inputs) > 0
	a.env.Aligning = a.on
	return a
}

// seek takes how far the time was when an input's offset was committed. Where that was by somebody who does not align,
// the time was the highest timestamp.
func (a *Aligning) seek(marks map[string]int64, o Offset, partitionTime int64) {
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
	a.env.Aligned = max(a.env.Aligned, min(at, topology.MaxTime))
	a.time.set()
	a.committed = a.now()
	a.sealed = a.committed
}

// watch is one of a repartition: for how long nothing upstream has had records.
func (a *Aligning) watch(q *queue, stall int64) []*endWatch {
	if !slices.Contains(a.inputs, q) {
		return nil
	}
	w := upstreamWatch(q, stall)
	a.watches = append(a.watches, w)
	return []*endWatch{w}
}

// upstreamStallLeast is how long, in milliseconds, it may be unknown at least whether something upstream has records.
// Cuts take several requests, one after the other.
const upstreamStallLeast = 2000

func upstreamWatch(q *queue, stall int64) *endWatch {
	stall = max(stall, upstreamStallLeast)
	return &endWatch{queue: q, stall: stall, fetched: unknownStretch, read: unknownStretch}
}

// idle notes of each repartition whether it is read to its end and nothing upstream has records, as a goal says.
func (a *Aligning) idle(g align.Goal) {
	for i, q := range a.inputs {
		switch {
		case q.upstream == nil:
		case !g.Exhausted:
			q.upstream.forget()
		case !q.has && q.next >= g.Ends[i]:
			q.upstream.extend(g.At, g.At)
		}
	}
}

// Align sets a goal: when the repartitions are read up to its ends, time may go on to its time. Ends are by the order
// of Config.Aligned; a partition that is not there has none.
func (a *Aligning) Align(g align.Goal) {
	if !a.on || len(g.Ends) != len(a.inputs) {
		return
	}
	if !g.Exhausted {
		a.env.Exhausted = false
		for _, w := range a.watches {
			w.forget()
		}
	}
	a.idle(g)
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

// next goes on to the time of the first goal, which is reached. It tells whether the task's time has moved.
func (a *Aligning) next() (moved bool) {
	_, exactly := a.reached()
	g := a.line.First()
	to := g.Time
	if g.Exhausted && exactly { // all there was is here: the time is what it would be without tasks upstream
		to = max(to, a.time.newest)
	}
	exhausted, at := g.Exhausted, g.At
	a.line.Drop()
	a.aim()
	if a.env.Exhausted = exhausted && a.line.Empty(); a.env.Exhausted {
		for _, w := range a.watches {
			w.extend(at, at)
		}
	}
	if to <= a.env.Aligned {
		return false
	}
	a.env.Aligned, a.moved = to, true
	before := a.env.StreamTime
	a.time.set()
	return a.env.StreamTime != before
}

// holdsBack tells that an input's next record has to wait: it is later than what is taken of inputs that are held.
func (a *Aligning) holdsBack(q *queue) bool { return q.held && q.time > a.heldUpto() }

// heldUpto is the time up to which records are taken from inputs that are held: the task's time, or the next record of
// the repartitions, since what is there already comes in the order of its times, as in any task.
func (a *Aligning) heldUpto() int64 {
	if a.env.Exhausted {
		return never
	}
	next := never
	for _, q := range a.inputs {
		if q.has && !q.blocked() {
			next = min(next, q.time)
		}
	}
	if next == never {
		return a.env.Aligned
	}
	return max(next, a.env.Aligned)
}

// WaitsForTime tells that a later time would make a difference, and so a new goal.
func (a *Aligning) WaitsForTime() bool {
	return a.on && (a.time.isHeld() || a.Within() > 0 || slices.ContainsFunc(a.held, func(q *queue) bool {
		return q.has && a.holdsBack(q)
	}))
}

// Within is by when, in milliseconds, the task needs the next goal, since it watches for how long nothing upstream has
// records; 0: it does not watch.
func (a *Aligning) Within() (millis int64) {
	within := func(w *endWatch) {
		if millis == 0 || w.stall/4 < millis {
			millis = w.stall / 4
		}
	}
	for _, w := range a.watches {
		within(w)
	}
	for _, q := range a.inputs {
		if q.upstream != nil && !q.has && slices.ContainsFunc(a.queues, func(o *queue) bool { return o.has }) {
			within(q.upstream)
		}
	}
	return millis
}

func (a *Aligning) now() alignedAt { return alignedAt{a.env.Aligned, a.time.isHeld()} }

// changed tells whether the next commit says something else than the one before.
func (a *Aligning) changed() bool { return a.on && a.now() != a.sealed }

func (a *Aligning) seal() { a.sealed = a.now() }

func (a *Aligning) advance() { a.committed = a.sealed }

// suspend forgets what was known of the tasks upstream: it is old when the task resumes.
func (a *Aligning) suspend() {
	a.env.Exhausted = false
	for _, w := range a.watches {
		w.forget()
	}
	for _, q := range a.inputs {
		if q.upstream != nil {
			q.upstream.forget()
		}
	}
}

// rewind goes back to the last commit. Goals that were not reached stay: what they say of the inputs upstream is true
// wherever the task is.
func (a *Aligning) rewind() {
	a.sealed = a.committed
	a.env.Aligned, a.env.Exhausted = a.committed.time, false
	a.time.set()
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

// goesWith tells whether an input's offset is in each commit: it is a repartition's, and known.
func (a *Aligning) goesWith(q *queue) bool {
	return a.on && q.next >= 0 && slices.Contains(a.inputs, q)
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
