package task

import (
	"fmt"
	"slices"

	"thalweg/internal/batch"
	"thalweg/topology"
)

// Input is a partition that the task reads.
type Input struct {
	Topic     string
	Partition int32
	Next      int64 // the offset to fetch from, or topology.Unknown: as Reset says, then [Task.Seek]
	Reset     topology.Reset
}

// Queues are the inputs of a task, each with what was added of it. They know which record has its turn.
type Queues struct {
	id          ID
	application string
	list        []*queue     // in the order of the sub-topology's inputs
	patience    patience     // with inputs that are empty
	heldUpto    func() int64 // the time up to which inputs that are held give records
}

func newQueues(c *Config, env *topology.Env, time *streamTime, d *batch.Decoder) Queues {
	qs := Queues{id: c.ID, application: c.ApplicationID, patience: newPatience(c.MaxIdle)}
	for _, s := range c.Subs {
		for _, topic := range s.Inputs {
			name := topic.In(c.ApplicationID)
			first, end := c.ID.Partition, c.ID.Partition+1
			if s.Global {
				first, end = 0, c.Partitions(name)
			}
			for p := first; p < end; p++ {
				if !s.Global && (qs.find(name, p) != nil || c.Exists != nil && !c.Exists(name, p)) {
					continue
				}
				q := newQueue(env, time, d)
				q.head.Topic, q.head.Partition, q.reset = name, p, resetOf(c, name)
				qs.patience.watch(q)
				qs.list = append(qs.list, q)
			}
		}
	}
	return qs
}

// resetOf is where a topic is read from when nothing is committed.
func resetOf(c *Config, topic string) topology.Reset {
	for _, s := range c.Subs {
		for _, n := range s.Nodes {
			for _, in := range n.Topics {
				if in.In(c.ApplicationID) == topic {
					return n.Reset
				}
			}
		}
	}
	return topology.Reset{}
}

// find returns the queue of a partition; nil: it is no input.
func (qs *Queues) find(topic string, partition int32) *queue {
	for _, q := range qs.list {
		if q.head.Partition == partition && q.head.Topic == topic {
			return q
		}
	}
	return nil
}

// input is find for a call that is meant for an input.
func (qs *Queues) input(call, topic string, partition int32) (*queue, error) {
	if q := qs.find(topic, partition); q != nil {
		return q, nil
	}
	return nil, fmt.Errorf("task %s: %s: topic %s partition %d is no input of it", qs.id, call, topic, partition)
}

// Inputs are the partitions that the task reads, and where fetching has to start: the last commit, before the first
// record and after Discard.
func (qs *Queues) Inputs() []Input {
	inputs := make([]Input, 0, len(qs.list))
	for _, q := range qs.list {
		inputs = append(inputs, Input{Topic: q.head.Topic, Partition: q.head.Partition, Next: q.fetched, Reset: q.reset})
	}
	return inputs
}

// Reached tells how far an input has been fetched: next is the offset after all that was added, also where that
// ended in records which readers do not see, and end is where the partition is known to end (topology.Unknown: not
// known). While end lies above next Step waits for the rest, unless Config.MaxIdle says otherwise.
func (qs *Queues) Reached(topic string, partition int32, next, end int64) error {
	q, err := qs.input("reached", topic, partition)
	if err != nil {
		return err
	}
	q.fetched = max(q.fetched, next)
	q.end = end
	q.drained()
	return nil
}

// Buffered is what an input holds that is not processed: the size of its batches and the number of its records.
// Fetching it should pause above a limit.
func (qs *Queues) Buffered(topic string, partition int32) (bytes, records int) {
	if q := qs.find(topic, partition); q != nil {
		return q.bytes, q.records
	}
	return 0, 0
}

// Records is the number of records of all inputs that are not processed.
func (qs *Queues) Records() (records int) {
	for _, q := range qs.list {
		records += q.records
	}
	return records
}

// Moved tells whether an input is at another offset than the one committed, or being committed. Records that are
// dropped move it, too, and so does what readers do not see.
func (qs *Queues) Moved() bool { return slices.ContainsFunc(qs.list, (*queue).moved) }

// NextTime is about the time of the record that Step processes next: a batch that was not begun counts by its first
// record's own timestamp. It is topology.Unknown where nothing is queued; what is blocked has no time that counts.
func (qs *Queues) NextTime() int64 {
	next, queued := never, false
	for _, q := range qs.list {
		switch {
		case q.records == 0:
			continue
		case q.has && !q.blocked():
			next = min(next, q.time)
		case !q.has && q.first < len(q.batches):
			next = min(next, q.batches[q.first].BaseTimestamp())
		}
		queued = true
	}
	if !queued {
		return topology.Unknown
	}
	return next
}

// choose finds the input whose turn it is, and the highest timestamp up to which it stays so. It returns nil when
// nothing is there or an input has to be waited for.
func (qs *Queues) choose() (best *queue, limit int64, err error) {
	at, waiting, empty := 0, false, false
	for _, q := range qs.list {
		ok, err := q.load()
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			empty = true
			waiting = waiting || q.waiting()
		}
	}
	for i, q := range qs.list {
		if !q.has || q.blocked() || qs.holdsBack(q) {
			continue // the others do not wait for it
		} else if best == nil || q.time < best.time {
			best, at = q, i
		}
	}
	if best == nil || qs.waits(empty, waiting) {
		return nil, 0, nil
	}
	limit = never
	for i, q := range qs.list {
		switch {
		case q == best || !q.has || q.blocked():
		case i < at:
			limit = min(limit, q.time-1)
		default:
			limit = min(limit, q.time)
		}
	}
	if best.held {
		limit = min(limit, qs.heldUpto())
	}
	return best, limit, nil
}

// holdsBack tells that an input's next record has to wait: it is later than what is taken of inputs that are held.
func (qs *Queues) holdsBack(q *queue) bool { return q.held && q.time > qs.heldUpto() }

// waits tells whether to wait for inputs that are empty. Enforced processing, once begun, lasts until no input is
// empty.
func (qs *Queues) waits(empty, waiting bool) bool {
	if !empty {
		qs.patience.reset(qs.list)
		return false
	}
	if qs.patience.never {
		return false
	}
	return waiting || !qs.patience.ended(qs.list)
}

// atHand tells which record is at hand, if one is. Any goroutine may ask.
func (qs *Queues) atHand() string {
	for _, q := range qs.list {
		if offset, ok := q.atHandUnsynchronized(); ok {
			return fmt.Sprintf("topic %s partition %d offset %d", q.head.Topic, q.head.Partition, offset)
		}
	}
	return ""
}

// setNodes connects the queues with the nodes of a graph, which may have taken another one's place.
func (qs *Queues) setNodes(g *topology.Graph) {
	for _, q := range qs.list {
		q.sources = g.Sources[q.head.Topic]
		q.times = make([]int64, len(q.sources))
		q.ownTime = !slices.ContainsFunc(q.sources, func(s topology.Source) bool { return !s.OwnTime() })
		q.ahead.prefetchers = g.Prefetchers(q.sources)
	}
}

func (qs *Queues) seal() {
	for _, q := range qs.list {
		q.seal()
	}
}

func (qs *Queues) advance() {
	for _, q := range qs.list {
		q.advance()
	}
}

func (qs *Queues) rewind() {
	for _, q := range qs.list {
		q.rewind()
	}
	qs.patience.reset(qs.list)
}

// clear drops what was added and not processed.
func (qs *Queues) clear() {
	for _, q := range qs.list {
		q.clear()
		q.end = topology.Unknown
	}
	qs.patience.reset(qs.list)
}
