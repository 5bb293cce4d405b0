package streamtest

import (
	"fmt"
	"time"

	"thalweg/internal/batch"
	"thalweg/serde"
	"thalweg/topology"
)

// Topic is what a typed topic tells of itself; a stream.Topic does.
type Topic[K, V any] interface {
	Name() string
	Serdes() (serde.Serde[K], serde.Serde[V])
}

// Input is a topic that a test writes.
type Input[K, V any] struct {
	d       *Driver
	topic   string
	keys    serde.Serde[K]
	values  serde.Serde[V]
	nullKey func(*K) bool // nil: the type has no null
	nullVal func(*V) bool
	now     int64
	keyless int32
}

// Input opens a topic for writing.
func (d *Driver) Input[K, V any](t Topic[K, V]) *Input[K, V] {
	in := &Input[K, V]{d: d, topic: t.Name(), nullKey: serde.NullOf[K](), nullVal: serde.NullOf[V]()}
	in.keys, in.values = t.Serdes()
	return in
}

// Send writes a record and has it processed. Nil of a type that has it is null.
func (in *Input[K, V]) Send(key K, value V, timestamp int64) {
	in.d.t.Helper()
	in.d.must(in.TrySend(key, value, timestamp))
}

// TrySend is Send for tests that expect a failure.
func (in *Input[K, V]) TrySend(key K, value V, timestamp int64) error {
	return in.TrySendRecord(topology.Record[K, V]{Key: key, Value: value, Timestamp: timestamp})
}

// SendNull writes a record whose value is null.
func (in *Input[K, V]) SendNull(key K, timestamp int64) {
	in.d.t.Helper()
	in.SendRecord(topology.Record[K, V]{Key: key, NullValue: true, Timestamp: timestamp})
}

// SendKeyless writes a record whose key is null.
func (in *Input[K, V]) SendKeyless(value V, timestamp int64) {
	in.d.t.Helper()
	in.SendRecord(topology.Record[K, V]{Value: value, NullKey: true, Timestamp: timestamp})
}

// SendRecord writes a record with all that a record may have.
func (in *Input[K, V]) SendRecord(r topology.Record[K, V]) {
	in.d.t.Helper()
	in.d.must(in.TrySendRecord(r))
}

// TrySendRecord is SendRecord for tests that expect a failure.
func (in *Input[K, V]) TrySendRecord(r topology.Record[K, V]) error {
	if in.d.failed != nil {
		return fmt.Errorf("the application has stopped: %w", in.d.failed)
	}
	if err := in.append(-1, r); err != nil {
		return err
	}
	return in.d.process()
}

// AdvanceTime moves the time of the records that Put writes; it starts at 0.
func (in *Input[K, V]) AdvanceTime(by time.Duration) { in.now += by.Milliseconds() }

// Put is Send at the input's own time.
func (in *Input[K, V]) Put(key K, value V) {
	in.d.t.Helper()
	in.Send(key, value, in.now)
}

// Append writes a record without processing it: several can wait at once. Driver.Run goes on. partition is the
// record's; below 0 it follows from the key.
func (in *Input[K, V]) Append(partition int32, r topology.Record[K, V]) {
	in.d.t.Helper()
	in.d.must(in.append(partition, r))
}

func (in *Input[K, V]) append(partition int32, r topology.Record[K, V]) (err error) {
	var key, value []byte
	if !r.NullKey && (in.nullKey == nil || !in.nullKey(&r.Key)) {
		if key, err = in.keys.Append([]byte{}, r.Key); err != nil {
			return fmt.Errorf("topic %s: key: %w", in.topic, err)
		}
	}
	if !r.NullValue && (in.nullVal == nil || !in.nullVal(&r.Value)) {
		if value, err = in.values.Append([]byte{}, r.Value); err != nil {
			return fmt.Errorf("topic %s: value: %w", in.topic, err)
		}
	}
	log := in.d.topic(in.topic)
	n := int32(len(log.partitions))
	switch {
	case partition >= n:
		return fmt.Errorf("topic %s: partition %d of %d", in.topic, partition, n)
	case partition >= 0:
	case key == nil:
		partition = in.keyless % n
		in.keyless++
	default:
		partition = topology.PartitionFor(key, n)
	}
	b := batch.NewBuilder(batch.None)
	b.Append(r.Timestamp, key, value, r.Headers)
	raw, err := b.Finish(batch.NoProducer())
	if err != nil {
		return err
	}
	return log.append(partition, raw)
}

// Run processes what was appended.
func (d *Driver) Run() {
	d.t.Helper()
	d.must(d.process())
}

// TryRun is Run for tests that expect a failure.
func (d *Driver) TryRun() error { return d.process() }

// Output is a topic that a test reads, from its start. Records of several partitions come in the order in which they
// were written.
type Output[K, V any] struct {
	d      *Driver
	topic  string
	keys   serde.Serde[K]
	values serde.Serde[V]
	read   int
}

// Output opens a topic for reading.
func (d *Driver) Output[K, V any](t Topic[K, V]) *Output[K, V] {
	out := &Output[K, V]{d: d, topic: t.Name()}
	out.keys, out.values = t.Serdes()
	return out
}

// Len is the number of records not read yet.
func (o *Output[K, V]) Len() int { return len(o.d.topic(o.topic).records) - o.read }

// Read reads the next record. None there fails the test.
func (o *Output[K, V]) Read() topology.Record[K, V] {
	o.d.t.Helper()
	if o.Len() == 0 {
		o.d.t.Fatalf("streamtest: read: topic %s has no more than %d records", o.topic, o.read)
	}
	r, err := o.decode(o.d.topic(o.topic).records[o.read])
	o.d.must(err)
	o.read++
	return r
}

// ReadAll reads what is there.
func (o *Output[K, V]) ReadAll() []topology.Record[K, V] {
	o.d.t.Helper()
	records := make([]topology.Record[K, V], 0, o.Len())
	for o.Len() > 0 {
		records = append(records, o.Read())
	}
	return records
}

// ReadValues reads what is there, and gives the values; null is the zero value.
func (o *Output[K, V]) ReadValues() []V {
	o.d.t.Helper()
	values := make([]V, 0, o.Len())
	for o.Len() > 0 {
		values = append(values, o.Read().Value)
	}
	return values
}

// ReadStrings reads what is there and writes each record as key=value@timestamp, with ~ for null.
func (o *Output[K, V]) ReadStrings() []string {
	o.d.t.Helper()
	lines := make([]string, 0, o.Len())
	for o.Len() > 0 {
		r := o.Read()
		key, value := "~", "~"
		if !r.NullKey {
			key = fmt.Sprint(r.Key)
		}
		if !r.NullValue {
			value = fmt.Sprint(r.Value)
		}
		lines = append(lines, fmt.Sprintf("%s=%s@%d", key, value, r.Timestamp))
	}
	return lines
}

func (o *Output[K, V]) decode(w Written) (r topology.Record[K, V], err error) {
	r.Timestamp, r.Headers = w.Timestamp, w.Headers
	r.NullKey, r.NullValue = w.Key == nil, w.Value == nil
	if !r.NullKey {
		if r.Key, err = o.keys.Decode(w.Key); err != nil {
			return r, fmt.Errorf("topic %s partition %d offset %d: key: %w", o.topic, w.Partition, w.Offset, err)
		}
	}
	if !r.NullValue {
		if r.Value, err = o.values.Decode(w.Value); err != nil {
			return r, fmt.Errorf("topic %s partition %d offset %d: value: %w", o.topic, w.Partition, w.Offset, err)
		}
	}
	return r, nil
}

// Latest reads what is there and gives each key's last value; a null value takes the key out.
func Latest[K comparable, V any](o *Output[K, V]) map[K]V {
	o.d.t.Helper()
	rows := map[K]V{}
	for _, r := range o.ReadAll() {
		if r.NullValue {
			delete(rows, r.Key)
		} else {
			rows[r.Key] = r.Value
		}
	}
	return rows
}
