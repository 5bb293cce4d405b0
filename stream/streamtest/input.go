package streamtest

import (
	"fmt"
	"slices"
	"strings"

	"thalweg/internal/batch"
	"thalweg/serde"
	"thalweg/topology"
)

// Topic is what a typed topic says about itself; a stream.Topic does.
type Topic[K, V any] interface {
	Name() string
	Serdes() (serde.Serde[K], serde.Serde[V])
}

// Input is a topic that a test writes.
type Input[K, V any] struct {
	in     *input
	encode func(r *topology.Record[K, V]) (key, value []byte, err error)
}

// input is the part of an Input that does not know its types.
type input struct {
	d       *Driver
	topic   string
	keyless int32
}

// Input opens a topic for writing: one that the topology reads, or a changelog, which is read at a restart. Any other
// fails the test.
func (d *Driver) Input[K, V any](t Topic[K, V]) *Input[K, V] {
	d.t.Helper()
	d.mustRead(t.Name())
	keys, values := t.Serdes()
	d.formats[t.Name()] = func(w Written) string {
		r, err := decode(w, keys, values)
		if err != nil {
			return err.Error()
		}
		return format(r.Key, r.NullKey, r.Value, r.NullValue, r.Timestamp)
	}
	return &Input[K, V]{in: &input{d: d, topic: t.Name()}, encode: encoder(keys, values)}
}

func (d *Driver) mustRead(topic string) {
	d.t.Helper()
	if _, reads := slices.BinarySearch(d.reads, topic); !reads && !d.isChangelog(topic) {
		d.t.Fatalf("streamtest: input: the topology does not read topic %s; it reads %s", topic,
			strings.Join(d.reads, ", "))
	}
}

func (d *Driver) isChangelog(topic string) bool {
	for _, s := range d.topo.Subtopologies() {
		for _, st := range s.Stores {
			if spec := st.Spec(); !spec.Volatile && spec.ChangelogTopic(d.config.ApplicationID) == topic {
				return true
			}
		}
	}
	return false
}

// encoder makes bytes of records. Nil of a type that has it is null.
func encoder[K, V any](
	keys serde.Serde[K], values serde.Serde[V],
) func(r *topology.Record[K, V]) (key, value []byte, err error) {
	nullKey, nullValue := serde.NullOf[K](), serde.NullOf[V]()
	return func(r *topology.Record[K, V]) (key, value []byte, err error) {
		if !r.NullKey && (nullKey == nil || !nullKey(&r.Key)) {
			if key, err = keys.Append([]byte{}, r.Key); err != nil {
				return nil, nil, fmt.Errorf("key: %w", err)
			}
		}
		if !r.NullValue && (nullValue == nil || !nullValue(&r.Value)) {
			if value, err = values.Append([]byte{}, r.Value); err != nil {
				return nil, nil, fmt.Errorf("value: %w", err)
			}
		}
		return key, value, nil
	}
}

// Send writes a record and has it processed. Nil of a type that has it is null.
func (in *Input[K, V]) Send(key K, value V, timestamp int64) {
	in.in.d.t.Helper()
	in.SendRecord(topology.Record[K, V]{Key: key, Value: value, Timestamp: timestamp})
}

// TrySend is Send for tests that expect a failure.
func (in *Input[K, V]) TrySend(key K, value V, timestamp int64) error {
	return in.TrySendRecord(topology.Record[K, V]{Key: key, Value: value, Timestamp: timestamp})
}

// SendNull writes a record whose value is null.
func (in *Input[K, V]) SendNull(key K, timestamp int64) {
	in.in.d.t.Helper()
	in.SendRecord(topology.Record[K, V]{Key: key, NullValue: true, Timestamp: timestamp})
}

// SendKeyless writes a record whose key is null.
func (in *Input[K, V]) SendKeyless(value V, timestamp int64) {
	in.in.d.t.Helper()
	in.SendRecord(topology.Record[K, V]{Value: value, NullKey: true, Timestamp: timestamp})
}

// SendRecord writes a record with all that a record may have.
func (in *Input[K, V]) SendRecord(r topology.Record[K, V]) {
	in.in.d.t.Helper()
	in.in.d.must(in.TrySendRecord(r))
}

// TrySendRecord is SendRecord for tests that expect a failure.
func (in *Input[K, V]) TrySendRecord(r topology.Record[K, V]) error {
	if in.in.d.failed != nil {
		return in.in.d.stopped()
	}
	if err := in.append(-1, r); err != nil {
		return err
	}
	return in.in.d.process()
}

// Append writes a record without processing it: several can wait at once. [Driver.Run] processes them. partition is
// the record's; below 0 it follows from the key.
func (in *Input[K, V]) Append(partition int32, r topology.Record[K, V]) {
	in.in.d.t.Helper()
	in.in.d.must(in.append(partition, r))
}

func (in *Input[K, V]) append(partition int32, r topology.Record[K, V]) error {
	key, value, err := in.encode(&r)
	if err != nil {
		return fmt.Errorf("topic %s: %w", in.in.topic, err)
	}
	return in.in.write(partition, key, value, r.Timestamp, r.Headers)
}

// write puts a record into its topic.
func (in *input) write(partition int32, key, value []byte, timestamp int64, headers []topology.Header) error {
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
	b.Append(timestamp, key, value, headers)
	raw, err := b.Finish(batch.NoProducer())
	if err == nil {
		err = log.append(partition, raw)
	}
	if err == nil {
		in.d.sent = append(in.d.sent, sent{in.topic, log.records[len(log.records)-1]})
	}
	return err
}
