package task

import (
	"fmt"

	"thalweg/internal/batch"
	"thalweg/topology"
)

// queue holds the batches of one input partition that wait to be processed. Batches are kept whole and walked
// lazily; the record at the head alone is decoded, or a few where stores want to know the keys that come.
type queue struct {
	env        *topology.Env
	streamTime *streamTime
	decoder    *batch.Decoder    // the task's
	sources    []topology.Source // of the topic, in the order in which they were made; resolved once
	ownTime    bool              // all sources take the record's own timestamp

	reset topology.Reset // where it begins when nothing is committed

	head  topology.SourceRecord
	times []int64 // per source: the timestamp of the head; used without ownTime
	has   bool    // the head is loaded
	time  int64   // timestamp of the head: the smallest that a source gave it

	it      batch.Iterator
	itBytes int   // size of the batch that it walks
	itFirst int64 // its first offset
	itNext  int64 // the offset after it
	ahead   ahead
	batches []batch.Batch // not walked yet, from first
	first   int

	bytes   int // of all batches that are not walked to their end
	records int // not processed yet, the head among them

	next          int64 // offset after the last record that was processed or passed over
	fetched       int64 // offset after all that was added
	end           int64 // known end of the partition: Step waits for records below it; Unknown: not known
	partitionTime int64 // highest timestamp processed
	committed     mark
	sealed        mark // of the commit under way; otherwise committed
	fresh         bool // sealed is where it started, and no commit has it
	sealedFresh   bool // fresh was true when the commit under way was sealed

	goal      int64 // the offset up to which the task has to be here before its time goes on: see aligning.go
	held      bool  // nothing that is later than the task's time is taken while tasks upstream have records
	blockedAt int64 // the offset from which on records wait: see retry.go
	retrying  retrying
	refusal   error // why the broker refuses what the blocked record leads to; nil: it does not

	watches  []*endWatch // see idle.go
	await    await       // one of them, where the task has a MaxIdle
	upstream *endWatch   // of what is before a repartition, where the task has a MaxIdle
}

func newQueue(env *topology.Env, time *streamTime, d *batch.Decoder) *queue {
	q := &queue{env: env, streamTime: time, decoder: d}
	q.next, q.fetched, q.end = topology.Unknown, topology.Unknown, topology.Unknown
	q.partitionTime, q.blockedAt, q.retrying.offset = topology.Unknown, never, topology.Unknown
	q.goal = never
	q.committed = mark{topology.Unknown, topology.Unknown}
	return q
}

// mark is what a commit fixes of a queue.
type mark struct{ next, partitionTime int64 }

func (q *queue) String() string {
	return fmt.Sprintf("topic %s partition %d", q.head.Topic, q.head.Partition)
}

func (q *queue) add(b batch.Batch) {
	q.fetched = max(q.fetched, b.LastOffset()+1)
	if b.IsControl() || b.Count() == 0 || b.LastOffset() < q.next {
		q.drained()
		return
	}
	if q.first > 0 && len(q.batches) == cap(q.batches) { // slide down instead of growing for ever
		n := copy(q.batches, q.batches[q.first:])
		clear(q.batches[n:])
		q.batches, q.first = q.batches[:n], 0
	}
	q.batches = append(q.batches, b)
	q.bytes += b.Size()
	q.records += b.Count()
}

// drained moves the position over what holds no records, once all that came before it is done.
func (q *queue) drained() {
	if q.empty() {
		q.next = max(q.next, q.fetched)
	}
}

// load makes the next record the head. It returns false when nothing is left.
func (q *queue) load() (bool, error) {
	for !q.has {
		for q.decode() {
			if q.head.Offset < q.next { // a fetch starts in the middle of a batch
				q.records--
				continue
			}
			if ok, err := q.stamp(); err != nil || ok {
				q.has = ok
				return ok, err
			}
			q.take()
		}
		if err := q.it.Err(); err != nil {
			if err := q.broken(err); err != nil {
				return false, err
			}
		}
		if more, err := q.open(); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

// open starts on the next batch.
func (q *queue) open() (bool, error) {
	q.bytes -= q.itBytes
	q.itBytes = 0
	if q.first == len(q.batches) {
		q.batches, q.first = q.batches[:0], 0
		q.drained()
		return false, nil
	}
	b := q.batches[q.first]
	q.batches[q.first] = batch.Batch{} // let it go when it is walked
	q.first++
	it, err := q.ahead.records(b, q.decoder)
	q.it, q.itBytes, q.itFirst, q.itNext = it, b.Size(), b.BaseOffset(), b.LastOffset()+1
	if err != nil {
		return true, q.broken(err)
	}
	return true, nil
}

// broken asks the policy about the rest of the open batch, which cannot be read. What came before it is processed.
func (q *queue) broken(cause error) error {
	at := min(max(q.next, q.itFirst), q.itNext-1)
	unread := &topology.SourceRecord{Topic: q.head.Topic, Partition: q.head.Partition}
	unread.Offset, unread.Timestamp = at, max(q.partitionTime, 0)
	q.env.Source = unread
	in := q.sources[0].Instance()
	in.Resume()
	err := in.Handle(topology.PhaseDecode, topology.Unknown, unreadable(cause, q.itNext))
	if err != nil {
		return err
	}
	q.env.Source = nil
	q.it, q.records = batch.Iterator{}, 0
	for _, b := range q.batches[q.first:] {
		q.records += b.Count()
	}
	q.next = max(q.next, q.itNext)
	return nil
}

// unreadable is the error of a batch whose rest cannot be read.
func unreadable(cause error, next int64) error {
	return fmt.Errorf("the rest of its batch cannot be read: %w: to go on at offset %d let Errors.Decode be Skip or "+
		"DeadLetter", cause, next)
}

// take ends the head's life as a record that waits.
func (q *queue) take() {
	q.has = false
	q.records--
	q.next = q.head.Offset + 1
}

// stamp finds the head's timestamp. It returns false for a record that no source wants.
func (q *queue) stamp() (bool, error) {
	if q.ownTime {
		if q.time = q.head.Timestamp; topology.IsTime(q.time) {
			return true, nil
		}
		for _, s := range q.sources {
			s.Instance().Drop(topology.BadTime)
		}
		return false, nil
	}
	q.env.Source = &q.head
	q.time = -1
	for i, s := range q.sources {
		ts, err := s.Time(&q.head, q.partitionTime)
		if err != nil {
			return false, err
		}
		q.times[i] = ts
		if ts >= 0 && (q.time < 0 || ts < q.time) {
			q.time = ts
		}
	}
	q.env.Source = nil
	return q.time >= 0, nil
}

// process takes the head through the graph. It leaves the task's Source set to the head, which does not move.
func (q *queue) process() error {
	q.take()
	env := q.env
	if q.time > q.streamTime.newest {
		q.streamTime.see(q.time)
	}
	if env.Source != &q.head {
		env.Source = &q.head
	}
	if q.time > q.partitionTime {
		q.partitionTime = q.time
		if env.LooksAhead(q.time) {
			env.OnAhead(q.sources[0].Instance(), q.time)
		}
	}
	for i, s := range q.sources {
		if !q.ownTime {
			if q.times[i] < 0 {
				continue
			}
			q.head.Timestamp = q.times[i]
		}
		if err := s.Receive(&q.head); err != nil {
			return err
		}
	}
	return nil
}

// jump goes on at another offset. Nothing waits, and what was processed before is committed.
func (q *queue) jump(next int64) {
	q.clear()
	q.next, q.fetched, q.end = next, next, topology.Unknown
	q.committed.next, q.sealed.next, q.fresh = next, next, true
}

// waiting tells that records are known to exist which have not been added.
func (q *queue) waiting() bool { return q.fetched < q.end }

// commit makes where the queue is the place to go back to.
func (q *queue) commit() {
	q.seal()
	q.advance()
}

// seal fixes what the next commit says of the queue.
func (q *queue) seal() {
	q.sealed, q.sealedFresh, q.fresh = mark{q.next, q.partitionTime}, q.fresh, false
}

// advance tells that what was sealed is committed.
func (q *queue) advance() {
	q.committed, q.sealedFresh = q.sealed, false
	if q.sealed.next > q.retrying.offset {
		q.retrying, q.blockedAt, q.refusal = retrying{offset: topology.Unknown}, never, nil
	}
}

// moved tells whether there is an offset to commit that the commit under way does not have.
func (q *queue) moved() bool { return q.fresh || q.next != q.sealed.next }

// offset is where the queue is, as the next commit says it.
func (q *queue) offset(marks map[string]int64) Offset {
	return q.offsetAt(mark{q.next, q.partitionTime}, marks)
}

func (q *queue) offsetAt(at mark, marks map[string]int64) Offset {
	if len(marks) > 0 {
		marks[nextOffset] = at.next
	}
	return Offset{
		Topic: q.head.Topic, Partition: q.head.Partition,
		Next: at.next, Metadata: encodeMetadata(at.partitionTime, marks),
	}
}

// rewind empties the queue and goes back to the last commit.
func (q *queue) rewind() {
	q.clear()
	q.fresh, q.sealedFresh, q.sealed = q.fresh || q.sealedFresh, false, q.committed
	q.next, q.partitionTime = q.committed.next, q.committed.partitionTime
	q.fetched = q.next
	if q.refusal != nil { // until the policy's decision is committed
		q.blockedAt, q.retrying.until = q.retrying.offset, 0
	}
}

func (q *queue) clear() {
	clear(q.batches)
	q.batches, q.first, q.it = q.batches[:0], 0, batch.Iterator{}
	q.ahead.clear()
	q.has, q.bytes, q.itBytes, q.records = false, 0, 0, 0
	q.forgetEnd()
	q.fetched = q.next
}
