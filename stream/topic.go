package stream

import (
	"time"

	"thalweg/serde"
	"thalweg/topology"
)

// Topic names a topic and says what its records are. It is a value: the methods return changed copies.
type Topic[K, V any] struct {
	name       string
	keys       serde.Serde[K]
	values     serde.Serde[V]
	timestamps func(topology.Record[K, V]) int64
	partition  func(key K, value V, partitions int) int
	reset      Reset
}

// NewTopic names a topic. Its serdes are found by type ([serde.For]; [WindowedKey] has its own).
func NewTopic[K, V any](name string) Topic[K, V] {
	return Topic[K, V]{name: name, keys: serdeOf[K](), values: serdeOf[V]()}
}

// serdeOf is the serde of a type.
func serdeOf[T any]() serde.Serde[T] {
	if own, ok := any(*new(T)).(interface{ topicSerde() any }); ok {
		return own.topicSerde().(serde.Serde[T])
	}
	return serde.For[T]()
}

// Name is the topic's name.
func (t Topic[K, V]) Name() string { return t.name }

// Serdes are the topic's serdes for keys and values.
func (t Topic[K, V]) Serdes() (serde.Serde[K], serde.Serde[V]) { return t.keys, t.values }

// Keys sets the serde of keys.
func (t Topic[K, V]) Keys(s serde.Serde[K]) Topic[K, V] { t.keys = s; return t }

// Values sets the serde of values.
func (t Topic[K, V]) Values(s serde.Serde[V]) Topic[K, V] { t.values = s; return t }

// Timestamps takes the time of a record, in milliseconds, from what it says instead of from its own timestamp. A
// negative time drops the record, counted.
func (t Topic[K, V]) Timestamps(f func(topology.Record[K, V]) int64) Topic[K, V] {
	t.timestamps = f
	return t
}

// Partition chooses the partition of each record written to the topic, below partitions, instead of the hash of its
// key. A negative one drops the record, counted.
func (t Topic[K, V]) Partition(f func(key K, value V, partitions int) int) Topic[K, V] {
	t.partition = f
	return t
}

// Reset says where reading starts while the application has not committed an offset yet; otherwise [Earliest].
func (t Topic[K, V]) Reset(r Reset) Topic[K, V] { t.reset = r; return t }

// Reset is where reading a topic starts while there is no offset.
type Reset = topology.Reset

// Earliest starts with the oldest record.
func Earliest() Reset { return Reset{Policy: topology.ResetEarliest} }

// Latest starts with the next record.
func Latest() Reset { return Reset{Policy: topology.ResetLatest} }

// Refuse does not start without an offset.
func Refuse() Reset { return Reset{Policy: topology.ResetNone} }

// Back starts with the first record that is not older than d.
func Back(d time.Duration) Reset {
	return Reset{Policy: topology.ResetBack, BackMillis: d.Milliseconds()}
}

func (t Topic[K, V]) check(b *Builder, site, op string) {
	if err := topology.CheckTopicName(t.name); err != nil {
		b.fail(site, "%s: topic: %w", op, err)
		return
	}
	checkSerdes(b, site, op+": topic "+t.name, t.keys, t.values)
}

func checkSerdes[K, V any](b *Builder, site, what string, keys serde.Serde[K], values serde.Serde[V]) {
	if keys == nil || values == nil {
		b.fail(site, "%s: it has no serde: make it with NewTopic", what)
		return
	}
	if err := serde.Check(keys); err != nil {
		b.fail(site, "%s: key: %w", what, err)
	}
	if err := serde.Check(values); err != nil {
		b.fail(site, "%s: value: %w", what, err)
	}
}

// sink is how records are written to the topic.
func (t Topic[K, V]) sink() topology.SinkConfig[K, V] {
	c := topology.SinkConfig[K, V]{Topic: topology.Topic{Name: t.name}, Keys: t.keys, Values: t.values}
	if h, ok := t.keys.(interface {
		AppendHash(dst []byte, key K) ([]byte, error)
	}); ok {
		c.HashKey = h.AppendHash
	}
	if f := t.partition; f != nil {
		c.PartitionOf = func(r *topology.Record[K, V], n int32) int32 { return int32(f(r.Key, r.Value, int(n))) }
	}
	return c
}
