package task

import (
	"math"
	"slices"
	"time"

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
func (qs *Queues) AtEnd(topic string, partition int32, from, to int64) error {
	q, err := qs.input("at end", topic, partition)
	if err != nil {
		return err
	}
	for _, w := range q.watches {
		w.extend(from, to)
	}
	return nil
}

// WatchesEnds tells whether the task has use for AtEnd.
func (qs *Queues) WatchesEnds() bool {
	return slices.ContainsFunc(qs.list, func(q *queue) bool { return len(q.watches) > 0 })
}

// watch returns what tells for how long nothing has come that leads to a node: the task's [topology.Env] has it for its
// nodes. upstream adds the watches of what lies beyond an input.
func (qs *Queues) watch(
	in *topology.Instance, stall int64, upstream func(*queue, int64) []*endWatch,
) (known func() (since, until int64)) {
	var watches []*endWatch
	for _, q := range qs.list {
		if q.leadsTo(in.Node, qs.application) {
			watches = append(watches, q.watch(max(stall, stallLeast)))
			watches = append(watches, upstream(q, stall)...)
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

// unwatch drops the watches of nodes, whose graph ends.
func (qs *Queues) unwatch() {
	for _, q := range qs.list {
		q.watches = slices.DeleteFunc(q.watches, func(w *endWatch) bool { return w != q.await.endWatch })
	}
}

// leadsTo tells whether records of an input may come to a node.
func (q *queue) leadsTo(n *topology.Node, application string) bool {
	if slices.ContainsFunc(n.Topics, func(in topology.TopicName) bool { return in.In(application) == q.head.Topic }) {
		return true
	}
	return slices.ContainsFunc(n.Parents(), func(p *topology.Node) bool { return q.leadsTo(p, application) })
}

// patience is how a task waits for empty inputs: until each of them has been idle for most, counted from when it was
// found empty. Processing that has begun without them goes on until no input is empty.
type patience struct {
	most  int64 // milliseconds; 0: it waits only for records that are known to exist
	never bool  // it waits for nothing
	over  bool
}

func newPatience(maxIdle time.Duration) patience {
	return patience{most: max(maxIdle.Milliseconds(), 0), never: maxIdle < 0}
}

// watch begins to watch an input, where the task may have to wait for it.
func (p *patience) watch(q *queue) {
	if p.most > 0 {
		q.await = await{q.watch(max(p.most/2, stallLeast)), topology.Unknown}
	}
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
