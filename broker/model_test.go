package broker_test

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// model is a naive broker: everything in memory, nothing clever. Programs of random requests run against it and against
// the broker, and the answers are equal (model_programs_test.go).
type model struct {
	topics map[string]*modelTopic
	txns   map[string]*modelTxn
}

type modelTopic struct {
	partitions []*modelLog
	compacted  bool // and never deleted
	cleaned    bool // it was compacted at some time, so that records may be missing
	appendTime bool
}

// modelLog is a partition.
type modelLog struct {
	start, end int64
	records    []modelRecord
	producers  map[int64]*modelProducer
	aborted    []modelSpan
}

type modelRecord struct {
	offset, timestamp int64
	key, value        string // key "" is null, value "" a tombstone
	marker            string // "commit" or "abort" of a control record
	producer          modelProducerID
	transactional     bool
}

type modelProducerID struct {
	id    int64
	epoch int16
}

// modelSpan is a transaction in a partition.
type modelSpan struct {
	producer    int64
	first, last int64
}

// modelProducer is what a partition knows of a producer.
type modelProducer struct {
	epoch    int16
	batches  []modelBatch // of this epoch
	txnFirst int64        // -1 without one
}

type modelBatch struct {
	sequence, last int32
	base           int64
}

// modelTxn is a transactional id.
type modelTxn struct {
	modelProducerID
	retry      int16 // epoch in which the last transaction was ended; -1 when there is nothing to repeat
	committed  bool
	partitions []modelPartition // of the open transaction
}

type modelPartition struct {
	topic string
	index int32
}

func newModel() *model { return &model{topics: map[string]*modelTopic{}, txns: map[string]*modelTxn{}} }

func (m *model) create(name string, partitions int, compacted, appendTime bool) *kerr.Error {
	switch {
	case m.topics[name] != nil:
		return kerr.TopicAlreadyExists
	case partitions <= 0:
		return kerr.InvalidPartitions
	}
	t := &modelTopic{compacted: compacted, cleaned: compacted, appendTime: appendTime}
	for range partitions {
		t.partitions = append(t.partitions, &modelLog{producers: map[int64]*modelProducer{}})
	}
	m.topics[name] = t
	return nil
}

func (m *model) delete(name string) *kerr.Error {
	if m.topics[name] == nil {
		return kerr.UnknownTopicOrPartition
	}
	delete(m.topics, name)
	return nil
}

func (m *model) log(topic string, partition int32) (*modelTopic, *modelLog, *kerr.Error) {
	t := m.topics[topic]
	if t == nil || int(partition) >= len(t.partitions) {
		return nil, nil, kerr.UnknownTopicOrPartition
	}
	return t, t.partitions[partition], nil
}

// produce appends a batch. Records of one batch belong to one producer; sequence is that of the first.
func (m *model) produce(topic string, partition int32, id string, sequence int32, now int64, records []modelRecord) (
	base int64, err *kerr.Error,
) {
	t, l, err := m.log(topic, partition)
	if err != nil {
		return -1, err
	}
	p := records[0].producer
	if id != "" { // the coordinator is asked first
		txn := m.txns[id]
		if txn == nil || txn.id != p.id {
			return -1, kerr.InvalidProducerIDMapping
		}
		if txn.epoch != p.epoch {
			return -1, kerr.InvalidProducerEpoch
		}
		if at := (modelPartition{topic, partition}); !slices.Contains(txn.partitions, at) {
			txn.partitions = append(txn.partitions, at)
		}
		txn.retry = -1
	}
	if t.compacted && slices.ContainsFunc(records, func(r modelRecord) bool { return r.key == "" }) {
		return -1, kerr.InvalidRecord
	}
	if p.id >= 0 {
		base, duplicate, err := l.check(p, sequence, int32(len(records)))
		if err != nil || duplicate {
			return base, err
		}
	}
	base = l.end
	for i, r := range records {
		if r.offset = base + int64(i); t.appendTime {
			r.timestamp = now
		}
		l.records = append(l.records, r)
	}
	l.end += int64(len(records))
	if p.id >= 0 {
		known := l.producers[p.id]
		known.batches = append(known.batches, modelBatch{sequence, sequence + int32(len(records)) - 1, base})
		if id != "" && known.txnFirst < 0 {
			known.txnFirst = base
		}
	}
	return base, nil
}

// check looks at a batch's sequence.
func (l *modelLog) check(p modelProducerID, sequence, count int32) (base int64, duplicate bool, err *kerr.Error) {
	known := l.producers[p.id]
	switch {
	case known == nil:
		known = &modelProducer{epoch: p.epoch, txnFirst: -1}
		l.producers[p.id] = known
		return 0, false, nil
	case p.epoch < known.epoch:
		return -1, false, kerr.InvalidProducerEpoch
	case p.epoch > known.epoch:
		if sequence != 0 {
			return -1, false, kerr.OutOfOrderSequenceNumber
		}
		*known = modelProducer{epoch: p.epoch, txnFirst: known.txnFirst}
		return 0, false, nil
	}
	for _, b := range known.batches[max(0, len(known.batches)-5):] {
		if b.sequence == sequence && b.last == sequence+count-1 {
			return b.base, true, nil
		}
	}
	want := int32(0)
	if n := len(known.batches); n > 0 {
		want = known.batches[n-1].last + 1
	}
	if sequence != want {
		return -1, false, kerr.OutOfOrderSequenceNumber
	}
	return 0, false, nil
}

// stable is the last stable offset.
func (l *modelLog) stable() int64 {
	stable := l.end
	for _, p := range l.producers {
		if p.txnFirst >= 0 {
			stable = min(stable, p.txnFirst)
		}
	}
	return stable
}

// read returns what a consumer sees from offset on, control records included.
func (l *modelLog) read(offset int64, committed bool) ([]modelRecord, *kerr.Error) {
	if offset < l.start || offset > l.end {
		return nil, kerr.OffsetOutOfRange
	}
	bound := l.end
	if committed {
		bound = l.stable()
	}
	var seen []modelRecord
	for _, r := range l.records {
		if r.offset >= offset && r.offset < bound && !(committed && l.isAborted(r)) {
			seen = append(seen, r)
		}
	}
	return seen, nil
}

func (l *modelLog) isAborted(r modelRecord) bool {
	return r.transactional && slices.ContainsFunc(l.aborted, func(s modelSpan) bool {
		return s.producer == r.producer.id && s.first <= r.offset && r.offset < s.last
	})
}

// offsetFor returns the first record that is not older than a time.
func (l *modelLog) offsetFor(ms int64, committed bool) (offset, timestamp int64) {
	bound := l.end
	if committed {
		bound = l.stable()
	}
	for _, r := range l.records {
		if r.offset >= l.start && r.timestamp >= ms {
			if r.offset < bound {
				return r.offset, r.timestamp
			}
			break
		}
	}
	return -1, -1
}

func (l *modelLog) deleteRecords(t *modelTopic, offset int64) (start int64, err *kerr.Error) {
	switch {
	case t.compacted:
		return -1, kerr.PolicyViolation
	case offset == -1:
		offset = l.end
	case offset < 0 || offset > l.end:
		return -1, kerr.OffsetOutOfRange
	}
	l.start = max(l.start, offset)
	return l.start, nil
}

// open returns the partitions of a transactional id's open transaction.
func (m *model) open(id string) []modelPartition {
	if txn := m.txns[id]; txn != nil {
		return txn.partitions
	}
	return nil
}

// initProducer gives a transactional id its next epoch; fresh is the producer id of a new one.
func (m *model) initProducer(id string, fresh, now int64) modelProducerID {
	txn := m.txns[id]
	if txn == nil {
		txn = &modelTxn{modelProducerID: modelProducerID{fresh, 0}, retry: -1}
		m.txns[id] = txn
		return txn.modelProducerID
	}
	if txn.partitions != nil {
		txn.epoch++ // which fences the predecessor
		m.mark(txn, false, now)
	}
	txn.epoch++
	txn.retry = -1
	return txn.modelProducerID
}

// end ends a transaction as version 5 of EndTxn does, and returns the next epoch.
func (m *model) end(id string, p modelProducerID, commit bool, now int64) (modelProducerID, *kerr.Error) {
	txn := m.txns[id]
	switch {
	case txn == nil || txn.id != p.id:
		return modelProducerID{-1, -1}, kerr.InvalidProducerIDMapping
	case p.epoch == txn.retry && commit == txn.committed:
		return txn.modelProducerID, nil // the answer was lost
	case p.epoch == txn.retry:
		return modelProducerID{-1, -1}, kerr.InvalidTxnState
	case p.epoch != txn.epoch:
		return modelProducerID{-1, -1}, kerr.ProducerFenced
	case txn.partitions == nil && commit:
		return modelProducerID{-1, -1}, kerr.InvalidTxnState
	}
	txn.retry, txn.committed = txn.epoch, commit
	txn.epoch++
	m.mark(txn, commit, now)
	return txn.modelProducerID, nil
}

// mark writes the markers of a transaction, in the epoch that the producer has from now on. A topic that was deleted
// and made again gets one, too: as in Kafka, a transaction knows its partitions by name.
func (m *model) mark(txn *modelTxn, commit bool, now int64) {
	marker := "abort"
	if commit {
		marker = "commit"
	}
	for _, at := range txn.partitions {
		_, l, err := m.log(at.topic, at.index)
		if err != nil {
			continue
		}
		p := l.producers[txn.id]
		if p == nil { // its batch was refused
			p = &modelProducer{txnFirst: -1}
			l.producers[txn.id] = p
		}
		if p.txnFirst >= 0 && !commit {
			l.aborted = append(l.aborted, modelSpan{txn.id, p.txnFirst, l.end})
		}
		*p = modelProducer{epoch: txn.epoch, txnFirst: -1}
		l.records = append(l.records, modelRecord{
			offset: l.end, timestamp: now, marker: marker, producer: txn.modelProducerID, transactional: true,
		})
		l.end++
	}
	txn.partitions = nil
}
