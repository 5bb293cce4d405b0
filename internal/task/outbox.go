package task

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"thalweg/internal/batch"
	"thalweg/topology"
)

// OutboxConfig says how an outbox builds batches. Partitions is needed, the rest has defaults.
type OutboxConfig struct {
	// Partitions is how many partitions a topic has.
	Partitions func(topic string) (int32, error)
	// BatchBytes is the size from which a batch counts as full and is handed out early. Larger batches compress
	// better and cost fewer requests; smaller ones leave sooner.
	BatchBytes int
	// RecordMaxBytes is the size over which a record is refused: what the broker takes as one batch.
	RecordMaxBytes int
	Compression    batch.Compression
	// SpareBuilders is how many builders are kept for reuse.
	SpareBuilders int
	// BytesMax limits what may be here before Full hands out everything, including batches that are not full. It also
	// limits the memory of spare builders. 0: no limit.
	BytesMax int
	// Last tells which topics' batches come after all others. Full keeps them back; nil: there are none.
	Last func(topic string) bool
}

const (
	defaultBatchBytes     = 256 << 10
	defaultRecordMaxBytes = 1_000_000 // under Kafka's max.message.bytes, which counts the batch's header too
	defaultSpareBuilders  = 256
	spareMaxBatches       = 4 // a builder that grew over this many BatchBytes is not kept
	recordOverheadBytes   = 32
)

// Outbox gathers what a worker's tasks write: one batch being built per topic and partition, shared by all tasks of
// the worker, and the full ones. It belongs to the worker's goroutine.
type Outbox struct {
	config OutboxConfig
	lanes  map[string]*lane
	open   []*slot   // with a batch being built
	full   []*Packet // in the order in which they became full
	last   []*Packet // the same of topics that come last
	bytes  int       // of all of them, about
	spare  []*batch.Builder
	kept   int // memory of the spare ones
}

// Packet is one batch to be sent. The builder is the receiver's until it gives it back with Recycle.
type Packet struct {
	Topic     string
	Partition int32
	Last      bool // OutboxConfig.Last says so of its topic
	Builder   *batch.Builder
}

// NewOutbox returns an empty outbox.
func NewOutbox(c OutboxConfig) *Outbox {
	if c.BatchBytes <= 0 {
		c.BatchBytes = defaultBatchBytes
	}
	if c.RecordMaxBytes <= 0 {
		c.RecordMaxBytes = defaultRecordMaxBytes
	}
	if c.SpareBuilders <= 0 {
		c.SpareBuilders = defaultSpareBuilders
	}
	c.BatchBytes = min(c.BatchBytes, c.RecordMaxBytes)
	if c.BytesMax == 0 {
		c.BytesMax = math.MaxInt
	}
	if c.Last == nil {
		c.Last = func(string) bool { return false }
	}
	return &Outbox{config: c, lanes: map[string]*lane{}}
}

// TooLarge is the error of a record that no batch takes.
type TooLarge struct {
	Topic           string
	Partition       int32
	Key             []byte // its beginning; empty where it has none, or another error names it
	Bytes, BytesMax int
}

// shownKeyBytes is how much of a key an error shows.
const shownKeyBytes = 64

func (e *TooLarge) Error() string {
	of := ""
	if len(e.Key) > 0 {
		of = fmt.Sprintf(" with key %q", e.Key)
	}
	return fmt.Sprintf("topic %s partition %d: a record of %d bytes%s is over the limit of %d: raise "+
		"Config.Limits.RecordBytesMax and the topic's max.message.bytes, or write less", e.Topic, e.Partition, e.Bytes, of,
		e.BytesMax)
}

// lane is the way to one topic.
type lane struct {
	outbox *Outbox
	topic  string
	last   bool
	slots  []slot
}

// slot is one partition of a lane.
type slot struct {
	lane      *lane
	partition int32
	builder   *batch.Builder // nil: nothing there
}

// Outlet opens the way to a topic: the same one each time.
func (o *Outbox) Outlet(topic string) (topology.Outlet, error) {
	if l := o.lanes[topic]; l != nil {
		return l, nil
	}
	n, err := o.config.Partitions(topic)
	if err != nil {
		return nil, fmt.Errorf("outlet: topic %s: %w", topic, err)
	}
	if n <= 0 {
		return nil, fmt.Errorf("outlet: topic %s has %d partitions", topic, n)
	}
	l := &lane{outbox: o, topic: topic, last: o.config.Last(topic)}
	l.resize(n)
	o.lanes[topic] = l
	return l, nil
}

func (l *lane) resize(partitions int32) {
	l.slots = make([]slot, partitions)
	for i := range l.slots {
		l.slots[i].lane, l.slots[i].partition = l, int32(i)
	}
}

// Topics are those that tasks write to, in order.
func (o *Outbox) Topics() []string { return slices.Sorted(maps.Keys(o.lanes)) }

// Resize takes over how many partitions topics have now. It does nothing while something is here.
func (o *Outbox) Resize(partitions map[string]int32) {
	if len(o.open)+len(o.full)+len(o.last) > 0 {
		return
	}
	for topic, n := range partitions {
		if l := o.lanes[topic]; l != nil && n > 0 && n != l.Partitions() {
			l.resize(n)
		}
	}
}

// Partitions implements [topology.Outlet].
func (l *lane) Partitions() int32 { return int32(len(l.slots)) }

// Append implements [topology.Outlet].
func (l *lane) Append(partition int32, timestamp int64, key, value []byte, headers []topology.Header) error {
	// Nearly always the record fits into the open batch, which is not full after it.
	if uint(partition) < uint(len(l.slots)) && len(headers) == 0 {
		b, size, o := l.slots[partition].builder, len(key)+len(value)+recordOverheadBytes, l.outbox
		if b != nil && b.Size()+size < o.config.BatchBytes {
			o.bytes += size
			b.Append(timestamp, key, value, nil)
			return nil
		}
	}
	return l.append(partition, timestamp, key, value, headers)
}

func (l *lane) append(partition int32, timestamp int64, key, value []byte, headers []topology.Header) error {
	if uint(partition) >= uint(len(l.slots)) {
		return fmt.Errorf("topic %s: partition %d of %d", l.topic, partition, len(l.slots))
	}
	size := len(key) + len(value) + recordOverheadBytes
	for i := range headers {
		size += len(headers[i].Key) + len(headers[i].Value) + recordOverheadBytes
	}
	o := l.outbox
	if size > o.config.RecordMaxBytes {
		return &TooLarge{
			Topic: l.topic, Partition: partition, Bytes: size, BytesMax: o.config.RecordMaxBytes,
			Key: slices.Clone(key[:min(len(key), shownKeyBytes)]),
		}
	}
	s := &l.slots[partition]
	if s.builder != nil && s.builder.Size()+size > o.config.RecordMaxBytes {
		o.fill(s)
	}
	if s.builder == nil {
		s.builder = o.builder()
		o.open = append(o.open, s)
	}
	s.builder.Append(timestamp, key, value, headers)
	o.bytes += size
	if s.builder.Size() >= o.config.BatchBytes {
		o.fill(s)
	}
	return nil
}

// packet takes the slot's batch.
func (s *slot) packet() *Packet {
	p := &Packet{Topic: s.lane.topic, Partition: s.partition, Last: s.lane.last, Builder: s.builder}
	s.builder = nil
	return p
}

// close moves a slot's batch to the full ones.
func (o *Outbox) close(s *slot) {
	if s.lane.last {
		o.last = append(o.last, s.packet())
	} else {
		o.full = append(o.full, s.packet())
	}
}

// fill is close of one slot, which is not open any more.
func (o *Outbox) fill(s *slot) {
	o.close(s)
	for i, open := range o.open {
		if open == s {
			last := len(o.open) - 1
			copy(o.open[i:], o.open[i+1:])
			o.open = o.open[:last]
			break
		}
	}
}

func (o *Outbox) builder() *batch.Builder {
	if n := len(o.spare); n > 0 {
		b := o.spare[n-1]
		o.spare = o.spare[:n-1]
		o.kept -= b.Held()
		return b
	}
	return batch.NewBuilder(o.config.Compression)
}

// Full takes the batches that are full, oldest first, without those of topics that come last. Sending them before the
// commit keeps memory and the commit small. Several may be for one partition: they must be written in this order. When
// the outbox is crowded, Full takes everything, as Take does.
func (o *Outbox) Full() []*Packet {
	if o.Crowded() {
		return o.Take()
	}
	full := o.full
	for _, p := range full {
		o.bytes -= p.Builder.Size()
	}
	o.full, o.bytes = nil, max(o.bytes, 0)
	return full
}

// Crowded tells that more is here than may be: Full hands out everything.
func (o *Outbox) Crowded() bool { return o.bytes >= o.config.BytesMax }

// SetBytesMax changes what OutboxConfig.BytesMax has set.
func (o *Outbox) SetBytesMax(bytesMax int) { o.config.BytesMax = bytesMax }

// Bytes is about the size of what was not handed out.
func (o *Outbox) Bytes() int { return o.bytes }

// Take takes everything: the full batches and then the rest, at most one more for each partition. The same of topics
// that come last follows.
func (o *Outbox) Take() []*Packet {
	for _, s := range o.open {
		o.close(s)
	}
	clear(o.open)
	o.open = o.open[:0]
	all := append(o.full, o.last...)
	clear(o.last)
	o.full, o.last, o.bytes = nil, o.last[:0], 0
	return all
}

// Recycle gives a packet's builder back once its bytes are needed no more: after the acknowledgement.
func (o *Outbox) Recycle(p *Packet) {
	b := p.Builder
	p.Builder = nil
	if b == nil || len(o.spare) >= o.config.SpareBuilders || b.Size() > spareMaxBatches*o.config.BatchBytes ||
		o.kept+b.Held() > o.config.BytesMax {
		return
	}
	b.Reset()
	o.kept += b.Held()
	o.spare = append(o.spare, b)
}

// Discard drops everything that was not taken.
func (o *Outbox) Discard() {
	for _, p := range o.Take() {
		o.Recycle(p)
	}
}
