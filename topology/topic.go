package topology

import (
	"thalweg/serde"
)

// Topic names a topic and says what its records are. It is a value: the methods return changed copies.
//
// Every setting has a type parameter of its own, which is inferred from its argument: the compiler then makes code for
// the settings that a program uses, and not for all settings of every topic type that it mentions.
type Topic[K, V any] struct {
	name       string
	keys       serde.Serde[K]
	values     serde.Serde[V]
	timestamps func(r Record[K, V], partitionTime int64) int64
	partition  func(r *Record[K, V], n int32) int32
	chooses    any // the function from which partition is made
	reset      Reset
}

// NewTopic names a topic. Its serdes are found by type ([serde.ForTopic]).
func NewTopic[K, V any](name string) Topic[K, V] {
	return Topic[K, V]{name: name, keys: serde.ForTopic[K](), values: serde.ForTopic[V]()}
}

// Name is the topic's name.
func (t Topic[K, V]) Name() string { return t.name }

// Serdes are the topic's serdes for keys and values.
func (t Topic[K, V]) Serdes() (serde.Serde[K], serde.Serde[V]) { return t.keys, t.values }

// Keys sets the serde of keys.
func (t Topic[K, V]) Keys[S serde.Serde[K]](s S) Topic[K, V] { t.keys = s; return t }

// Values sets the serde of values.
func (t Topic[K, V]) Values[S serde.Serde[V]](s S) Topic[K, V] { t.values = s; return t }

// Timestamps takes the time of a record, in milliseconds since 1970, from what it says instead of from its own
// timestamp. f gets the highest time of the records before it in its partition, too, or [Unknown] at the first. A
// negative time drops the record, counted.
func (t Topic[K, V]) Timestamps[F ~func(r Record[K, V], partitionTime int64) int64](f F) Topic[K, V] {
	t.timestamps = f
	return t
}

// Partition chooses the partition of each record written to the topic, below partitions, instead of the hash of its
// key. A negative one drops the record, counted.
func (t Topic[K, V]) Partition[F ~func(key K, value V, partitions int) int](f F) Topic[K, V] {
	t.partition, t.chooses = nil, nil
	if f != nil {
		t.chooses = f
		t.partition = func(r *Record[K, V], n int32) int32 { return int32(f(r.Key, r.Value, int(n))) }
	}
	return t
}

// Reset says where reading starts while the application has not committed an offset yet; otherwise with the oldest
// record. It holds again where a partition ends before the offset that was committed. Records that are deleted before
// they are processed are passed over.
func (t Topic[K, V]) Reset[R Reset](r R) Topic[K, V] { t.reset = Reset(r); return t }

// SourceOf is how the topic is read.
func SourceOf[K, V any](t Topic[K, V]) SourceConfig[K, V] {
	return SourceConfig[K, V]{
		Topics: []TopicName{{Name: t.name}}, Keys: t.keys, Values: t.values, Reset: t.reset, Timestamps: t.timestamps,
		Partitioner: t.chooses,
	}
}

// SinkOf is how records are written to the topic.
func SinkOf[K, V any](t Topic[K, V]) SinkConfig[K, V] {
	c := SinkConfig[K, V]{
		Topic: TopicName{Name: t.name}, Keys: t.keys, Values: t.values, PartitionOf: t.partition,
	}
	if h, ok := t.keys.(interface {
		AppendHash(dst []byte, key K) ([]byte, error)
	}); ok {
		c.HashKey = h.AppendHash
	}
	return c
}
