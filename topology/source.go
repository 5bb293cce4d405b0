package topology

import (
	"fmt"

	"thalweg/internal/batch"
	"thalweg/serde"
)

// SourceRecord is a record as it came from a partition, before it is decoded. Key and Value are views of the
// fetched batch.
type SourceRecord struct {
	batch.Record
	Topic     string
	Partition int32
}

// Metadata is where the record came from.
func (r *SourceRecord) Metadata() Metadata {
	return Metadata{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
}

// Source is the port of a source node: the untyped end of a task.
type Source interface {
	// Time is the record's timestamp for this application. partitionTime is the highest timestamp seen so far on
	// the record's partition, or Unknown. A negative result means that the record is to be dropped.
	Time(r *SourceRecord, partitionTime int64) (int64, error)
	// OwnTime tells that Time is always the record's own timestamp.
	OwnTime() bool
	// Receive decodes the record once and sends it through the graph. r.Timestamp is what Time returned.
	Receive(r *SourceRecord) error
	// Instance is the node in its task.
	Instance() *Instance
}

// SourceConfig says what a typed source reads.
type SourceConfig[K, V any] struct {
	Topics []TopicName
	Keys   serde.Serde[K]
	Values serde.Serde[V]
	Reset  Reset
	// Timestamps, where set, replaces the record's own timestamp (KIP-32); it gets the highest timestamp seen so
	// far on the partition, or Unknown. A negative result drops the record, counted as BadTime.
	Timestamps func(r Record[K, V], partitionTime int64) int64
}

// NewSource makes a source node whose children take records of K and V. Its serdes are those of the node's Keys and
// Values when a task is built.
func NewSource[K, V any](name, site string, c SourceConfig[K, V]) *Node {
	n := &Node{
		Name: name, Kind: KindSource, Site: site, Topics: c.Topics, Reset: c.Reset, Keys: c.Keys, Values: c.Values,
	}
	n.Make = func(in *Instance, next []any) (any, error) {
		out, err := Forward[K, V](next)
		if err != nil {
			return nil, err
		}
		s := &source[K, V]{in: in, config: c, next: out, nullOfKey: serde.NullOf[K](), nullOfValue: serde.NullOf[V]()}
		keys, values, err := serdesOf[K, V](in.Node)
		if err != nil {
			return nil, err
		}
		s.config.Keys, s.config.Values = serde.Local(keys), serde.Local(values)
		return s, nil
	}
	return n
}

// serdesOf are the serdes of a source or a sink, with their types.
func serdesOf[K, V any](n *Node) (keys serde.Serde[K], values serde.Serde[V], err error) {
	keys, ok := n.Keys.(serde.Serde[K])
	if !ok {
		return nil, nil, fmt.Errorf("node %s: its keys have the serde %T", n.Name, n.Keys)
	}
	if values, ok = n.Values.(serde.Serde[V]); !ok {
		return nil, nil, fmt.Errorf("node %s: its values have the serde %T", n.Name, n.Values)
	}
	return keys, values, nil
}

type source[K, V any] struct {
	in     *Instance
	config SourceConfig[K, V]
	next   Port[K, V]
	out    Record[K, V]

	nullOfKey   func(*K) bool // nil for types without a null: an encoding may stand for nil, too
	nullOfValue func(*V) bool
}

func (s *source[K, V]) Instance() *Instance { return s.in }

func (s *source[K, V]) OwnTime() bool { return s.config.Timestamps == nil }

func (s *source[K, V]) Time(r *SourceRecord, partitionTime int64) (int64, error) {
	if s.config.Timestamps == nil {
		return r.Timestamp, nil
	}
	if err := s.decode(r); err != nil {
		return r.Timestamp, nil // Receive meets the same error, when it is the record's turn
	}
	s.in.Resume()
	return s.config.Timestamps(s.out, partitionTime), nil
}

func (s *source[K, V]) Receive(r *SourceRecord) error {
	s.in.Enter()
	if err := s.decode(r); err != nil {
		return s.in.Handle(PhaseDecode, r.Timestamp, err)
	}
	return s.next(&s.out)
}

func (s *source[K, V]) decode(r *SourceRecord) (err error) {
	o := &s.out
	o.Timestamp = r.Timestamp
	o.NullKey, o.NullValue = r.Key == nil, r.Value == nil
	if o.NullKey {
		o.Key = *new(K)
	} else if o.Key, err = s.config.Keys.Decode(r.Key); err != nil {
		return fmt.Errorf("key: %w", err)
	} else if s.nullOfKey != nil {
		o.NullKey = s.nullOfKey(&o.Key)
	}
	if o.NullValue {
		o.Value = *new(V)
	} else if o.Value, err = s.config.Values.Decode(r.Value); err != nil {
		return fmt.Errorf("value: %w", err)
	} else if s.nullOfValue != nil {
		o.NullValue = s.nullOfValue(&o.Value)
	}
	if !r.HasHeaders() {
		if o.Headers != nil { // nearly never; and writing a pointer is not free
			o.Headers = nil
		}
	} else if o.Headers, err = r.Headers(nil); err != nil { // a slice of its own: receivers may keep it
		return fmt.Errorf("headers: %w", err)
	}
	return nil
}

// ReadAlike tells whether two sources certainly decode records, and take their times, in the same way.
func ReadAlike[K, V any](a, b SourceConfig[K, V]) bool {
	return a.Timestamps == nil && b.Timestamps == nil && a.Reset == b.Reset && Same(a.Keys, b.Keys) &&
		Same(a.Values, b.Values)
}
