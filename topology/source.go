package topology

import (
	"fmt"
	"unsafe"

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
	// the record's partition, or Unknown. A negative result means that the record is dropped, and counted.
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
	// Partitioner is the function that chooses the partitions of what is written to the topics; nil: they go by the hash
	// of the key. It is compared, never called.
	Partitioner any
}

// NewSource makes a source node whose children take records of K and V. Its serdes are those of the node's Keys and
// Values when a task is built.
func NewSource[K, V any](name, site string, c SourceConfig[K, V]) *Node {
	n := &Node{
		Name: name, Kind: KindSource, Site: site, Topics: c.Topics, Reset: c.Reset, Keys: c.Keys, Values: c.Values,
		Partitioner: c.Partitioner,
	}
	n.Make = func(in *Instance, next []any) (any, error) {
		out, err := Forward[K, V](next)
		if err != nil {
			return nil, err
		}
		o := &Record[K, V]{}
		decode, err := decoderOf(in.Node, o)
		if err != nil {
			return nil, err
		}
		s := &source{in: in, record: unsafe.Pointer(o), next: *(*port)(unsafe.Pointer(&out)), decodeInto: decode}
		if f := c.Timestamps; f != nil {
			s.timestamps = func(partitionTime int64) int64 { return f(*o, partitionTime) }
		}
		return s, nil
	}
	n.Decode = func(n *Node) func(*SourceRecord) error { return caught(decoderOf(n, &Record[K, V]{})) }
	return n
}

// decoderOf is a decoder with the serdes of the node, for one goroutine.
func decoderOf[K, V any](n *Node, o *Record[K, V]) (func(*SourceRecord) error, error) {
	keys, _ := n.Keys.(serde.Serde[K])
	values, _ := n.Values.(serde.Serde[V])
	if keys == nil || values == nil {
		return nil, wrongSerdes(n)
	}
	return decoder(o, serde.Local(keys), serde.Local(values)), nil
}

// caught makes errors of a decoder's panics.
func caught(decode func(*SourceRecord) error, err error) func(*SourceRecord) error {
	return func(r *SourceRecord) error {
		if err != nil {
			return err
		}
		return Catch(func() error { return decode(r) })
	}
}

// decoder returns the function that makes o the record that it is given.
//
//go:noinline // else each source has two copies of it
func decoder[K, V any](o *Record[K, V], keys serde.Serde[K], values serde.Serde[V]) func(*SourceRecord) error {
	// An encoding may stand for nil, too.
	nilableKey, nilableValue := serde.IsNilable[K](), serde.IsNilable[V]()
	return func(r *SourceRecord) (err error) {
		o.Timestamp = r.Timestamp
		o.NullKey, o.NullValue = r.Key == nil, r.Value == nil
		if o.NullKey {
			o.Key = *new(K)
		} else if o.Key, err = keys.Decode(r.Key); err != nil {
			return fmt.Errorf("key: %w", err)
		} else if nilableKey {
			o.NullKey = serde.IsNull(unsafe.Pointer(&o.Key))
		}
		if o.NullValue {
			o.Value = *new(V)
		} else if o.Value, err = values.Decode(r.Value); err != nil {
			return fmt.Errorf("value: %w", err)
		} else if nilableValue {
			o.NullValue = serde.IsNull(unsafe.Pointer(&o.Value))
		}
		if r.HasHeaders() || o.Headers != nil { // nearly never; and writing a pointer is not free
			return r.headersInto(&o.Headers)
		}
		return nil
	}
}

// wrongSerdes says that the serdes of a source or a sink are not those of its records.
func wrongSerdes(n *Node) error {
	return fmt.Errorf("node %s: its keys have the serde %T, its values %T", n.Name, n.Keys, n.Values)
}

// source is a source node in a task. It knows no types: these are in the functions.
type source struct {
	in         *Instance
	next       port
	record     unsafe.Pointer                  // what decodeInto fills
	decodeInto func(*SourceRecord) error       // the record
	timestamps func(partitionTime int64) int64 // of the record; nil: its own
}

func (s *source) Instance() *Instance { return s.in }

func (s *source) OwnTime() bool { return s.timestamps == nil }

func (s *source) Time(r *SourceRecord, partitionTime int64) (int64, error) {
	at := r.Timestamp
	if s.timestamps != nil {
		s.in.Resume()
		if err := s.decode(r); err != nil {
			return max(at, 0), nil // Receive meets the same error, when it is the record's turn
		}
		skipped, err := s.timeOf(&at, partitionTime)
		if skipped || err != nil {
			return Unknown, err
		}
	}
	if !IsTime(at) {
		s.in.Drop(BadTime)
		return Unknown, nil
	}
	return at, nil
}

// timeOf asks the program for the time of the record that was decoded. A panic is the record's failure to be decoded.
func (s *source) timeOf(at *int64, partitionTime int64) (skipped bool, err error) {
	if s.in.Env.Guarded {
		defer func() {
			if v := recover(); v != nil {
				err = s.in.handlePanic(*at, v)
				skipped = err == nil
			}
		}()
	}
	*at = s.timestamps(partitionTime)
	return false, nil
}

func (s *source) Receive(r *SourceRecord) error {
	s.in.Enter()
	if err := s.decode(r); err != nil {
		return s.in.Handle(PhaseDecode, r.Timestamp, err)
	}
	return s.next(s.record)
}

// decode fills the record. It catches panics of serdes where the policy may go on after one; otherwise the task's step
// does.
func (s *source) decode(r *SourceRecord) error {
	if !s.in.Env.Guarded {
		return s.decodeInto(r)
	}
	return Catch(func() error { return s.decodeInto(r) })
}

// headersInto replaces headers by those of the record: a slice of its own, which receivers may keep.
func (r *SourceRecord) headersInto(headers *[]Header) (err error) {
	if !r.HasHeaders() {
		*headers = nil
		return nil
	}
	if *headers, err = r.Headers(nil); err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	return nil
}

// ReadAlike tells whether two sources certainly decode records, and take their times, in the same way.
func ReadAlike[K, V any](a, b SourceConfig[K, V]) bool {
	return a.Timestamps == nil && b.Timestamps == nil && a.Reset == b.Reset && Same(a.Keys, b.Keys) &&
		Same(a.Values, b.Values) && samePartitioner(a.Partitioner, b.Partitioner)
}
