package task

import (
	"math"
	"slices"

	"thalweg/topology"
)

// A task waits for inputs that have nothing, and operators close windows because nothing comes. Neither may take an
// input for idle of which nobody knows what it has: the broker may be away, or the process may have stood still while
// others wrote. So idle time counts only where the input is known to have been read to its end.

// stallLeast is how long, in milliseconds, it may be unknown at least whether an input is read to its end, before what
// it was known for no longer counts. Brokers are asked several times in that time.
const stallLeast = 500

// stretch is for how long an input is known to have been read to its end, in milliseconds of a monotonic clock.
type stretch struct{ since, until int64 }

var unknownStretch = stretch{topology.Unknown, topology.Unknown}

// endWatch follows for how long an input is read to its end. After a time longer than stall without knowledge it
// starts over.
type endWatch struct {
	queue   *queue
	stall   int64
	fetched stretch // for how long nothing is left to fetch
	read    stretch // and, when somebody looked last, nothing to process
}

func (q *queue) watch(stall int64) *endWatch {
	w := &endWatch{queue: q, stall: stall, fetched: unknownStretch, read: unknownStretch}
	q.watches = append(q.watches, w)
	return w
}

func (w *endWatch) extend(from, to int64) {
	if s := &w.fetched; s.until == topology.Unknown || from-s.until > w.stall {
		s.since = from
	}
	w.fetched.until = max(w.fetched.until, to)
}

func (w *endWatch) forget() { w.fetched, w.read = unknownStretch, unknownStretch }

func (w *endWatch) known() stretch {
	if w.queue.records == 0 {
		w.read = w.fetched
	}
	return w.read
}

// forgetEnd notes that it is unknown whether the input is read to its end.
func (q *queue) forgetEnd() {
	for _, w := range q.watches {
		w.forget()
	}
}

// AtEnd tells that from one time to another, in milliseconds of a monotonic clock, the partition of an input had
// nothing beyond what was added. Only such times count as idle.
func (t *Task) AtEnd(topic string, partition int32, from, to int64) error {
	q := t.queue(topic, partition)
	if q == nil {
		return t.noInput("at end", topic, partition)
	}
	for _, w := range q.watches {
		w.extend(from, to)
	}
	return nil
}

// WatchesEnds tells whether the task has use for AtEnd.
func (t *Task) WatchesEnds() bool {
	return slices.ContainsFunc(t.queues, func(q *queue) bool { return len(q.watches) > 0 })
}

// watchInputs implements [topology.Env]'s WatchInputs.
func (t *Task) watchInputs(in *topology.Instance, stall int64) (known func() (since, until int64)) {
	var watches []*endWatch
	for _, q := range t.queues {
		if t.leadsTo(q, in.Node) {
			watches = append(watches, q.watch(max(stall, stallLeast)))
			watches = append(watches, t.Aligning.watch(q, stall)...)
		}
	}
	return func() (since, until int64) {
		since, until = topology.Unknown, math.MaxInt64
		for _, w := range watches {
			s := w.known()
			since, until = max(since, s.since), min(until, s.until)
		}
		if since > until || len(watches) == 0 {
			return topology.Unknown, topology.Unknown
		}
		return since, until
	}
}

// leadsTo tells whether records of an input may come to a node.
func (t *Task) leadsTo(q *queue, n *topology.Node) bool {
	if slices.ContainsFunc(n.Topics, func(in topology.TopicName) bool {
		return in.In(t.config.ApplicationID) == q.head.Topic
	}) {
		return true
	}
	return slices.ContainsFunc(n.Parents(), func(p *topology.Node) bool { return t.leadsTo(q, p) })
}

// patience is how a task waits for empty inputs: until each of them has been idle for most, counted from when it was
// found empty. Processing that has begun without them goes on until no input is empty.
type patience struct {
	most int64 // milliseconds; 0: it waits only for records that are known to exist
	over bool
}

// await is the watch of an input that the task may have to wait for.
type await struct {
	*endWatch
	from int64 // where its stretch was when the input was found empty; Unknown: it was not
}

func (p *patience) reset(queues []*queue) {
	p.over = false
	for _, q := range queues {
		q.await.from = topology.Unknown
	}
}

// ended tells that the inputs that are empty need not be waited for any longer.
func (p *patience) ended(queues []*queue) bool {
	if p.most == 0 || p.over {
		return true
	}
	p.over = true
	for _, q := range queues {
		a := &q.await
		if q.has {
			a.from = topology.Unknown
			continue
		}
		s := a.known()
		if q.upstream != nil { // a repartition is not idle while something upstream has records
			u := q.upstream.known()
			s.since, s.until = max(s.since, u.since), min(s.until, u.until)
		}
		if a.from == topology.Unknown {
			a.from = s.until
		}
		if s.until == topology.Unknown || s.until-max(a.from, s.since) < p.most {
			p.over = false
		}
	}
	return p.over
}
