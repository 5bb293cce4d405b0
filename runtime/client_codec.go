package runtime

import (
	"fmt"
	"iter"

	"thalweg/serde"
	"thalweg/topology"
)

// outgoing is a record to write, without its types.
type outgoing struct {
	key, value []byte // nil: null
	millis     int64  // 0: the present time
	headers    []topology.Header
	hash       []byte              // what the partition is chosen by, where that is not the key
	choose     func(n int32) int32 // chooses among n partitions, until the next record; nil: by hash or key
}

// encodedChunkBytes is how much memory for encoded records is taken at a time.
const encodedChunkBytes = 32 << 10

// encoding encodes the records of one call. The bytes belong to the producer until it has sent them, and are never used
// again.
type encoding[K, V any] struct {
	sink        topology.SinkConfig[K, V]
	nullOfKey   func(*K) bool // nil: the type has no null
	nullOfValue func(*V) bool
	chunk       []byte
	choose      func(n int32) int32 // by PartitionOf, for now
	now         *topology.Record[K, V]
}

// encoded yields records as bytes, or the error of one and nothing more.
func encoded[K, V any](
	t topology.Topic[K, V], records iter.Seq[topology.Record[K, V]],
) iter.Seq2[outgoing, error] {
	return func(yield func(outgoing, error) bool) {
		e := &encoding[K, V]{
			sink: topology.SinkOf(t), nullOfKey: serde.NullOf[K](), nullOfValue: serde.NullOf[V](),
		}
		if err := checkTopic(t); err != nil {
			yield(outgoing{}, err)
			return
		}
		e.choose = func(n int32) int32 { return e.sink.PartitionOf(e.now, n) }
		e.sink.Keys, e.sink.Values = serde.Local(e.sink.Keys), serde.Local(e.sink.Values)
		for r := range records {
			out, err := e.encode(&r)
			if !yield(out, err) || err != nil {
				return
			}
		}
	}
}

// checkTopic tells why records of a topic can't be written or read, or nil.
func checkTopic[K, V any](t topology.Topic[K, V]) error {
	if err := topology.CheckTopicName(t.Name()); err != nil {
		return err
	}
	keys, values := t.Serdes()
	if keys == nil || values == nil {
		return fmt.Errorf("it has no serdes: make it with NewTopic")
	}
	if err := serde.Check(keys); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if err := serde.Check(values); err != nil {
		return fmt.Errorf("value: %w", err)
	}
	return nil
}

func (e *encoding[K, V]) encode(r *topology.Record[K, V]) (out outgoing, err error) {
	out.millis, out.headers = r.Timestamp, r.Headers
	nullKey := r.NullKey || e.nullOfKey != nil && e.nullOfKey(&r.Key)
	if !nullKey {
		if out.key, err = appended(&e.chunk, e.sink.Keys, r.Key); err != nil {
			return out, fmt.Errorf("key: %w", err)
		}
	}
	if !r.NullValue && (e.nullOfValue == nil || !e.nullOfValue(&r.Value)) {
		if out.value, err = appended(&e.chunk, e.sink.Values, r.Value); err != nil {
			return out, fmt.Errorf("value: %w", err)
		}
	}
	switch {
	case e.sink.PartitionOf != nil:
		e.now = r
		out.choose = e.choose
	case e.sink.HashKey != nil && !nullKey:
		if out.hash, err = e.sink.HashKey(nil, r.Key); err != nil {
			return out, fmt.Errorf("key: %w", err)
		}
	}
	return out, nil
}

// appended encodes a value at the end of a chunk, or in a new one, and returns its bytes, never nil.
func appended[T any](chunk *[]byte, s serde.Serde[T], v T) ([]byte, error) {
	if cap(*chunk)-len(*chunk) < encodedChunkBytes/8 {
		*chunk = make([]byte, 0, encodedChunkBytes)
	}
	begin := len(*chunk)
	all, err := s.Append(*chunk, v)
	if err != nil {
		return nil, err
	}
	*chunk = all
	return all[begin:len(all):len(all)], nil
}

// decoding decodes the records of one topic.
type decoding[K, V any] struct {
	keys        serde.Serde[K]
	values      serde.Serde[V]
	nullOfKey   func(*K) bool // nil: the type has no null
	nullOfValue func(*V) bool
	out         Record[K, V]
}

func decodingOf[K, V any](t topology.Topic[K, V]) (*decoding[K, V], error) {
	if err := checkTopic(t); err != nil {
		return nil, fmt.Errorf("runtime: read topic %s: %w", t.Name(), err)
	}
	keys, values := t.Serdes()
	return &decoding[K, V]{
		keys: serde.Local(keys), values: serde.Local(values), nullOfKey: serde.NullOf[K](), nullOfValue: serde.NullOf[V](),
	}, nil
}

// decode returns the record, and where it can't be decoded, or read, what is known of it beside the error.
func (d *decoding[K, V]) decode(r *topology.SourceRecord, damage *DamageError) (Record[K, V], error) {
	d.out = Record[K, V]{Metadata: r.Metadata()}
	d.out.Timestamp = r.Timestamp
	if damage != nil {
		d.out.NullKey, d.out.NullValue = true, true
		return d.out, fmt.Errorf("runtime: read %w", damage)
	}
	err := d.decodeHeaders(r)
	if err == nil {
		err = d.decodeFields(r)
	}
	if err != nil {
		d.out.Key, d.out.Value, d.out.NullKey, d.out.NullValue = *new(K), *new(V), true, true
		err = fmt.Errorf("runtime: read topic %s partition %d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	return d.out, err
}

func (d *decoding[K, V]) decodeHeaders(r *topology.SourceRecord) (err error) {
	if r.HasHeaders() {
		if d.out.Headers, err = r.Headers(nil); err != nil {
			return fmt.Errorf("headers: %w", err)
		}
	}
	return nil
}

func (d *decoding[K, V]) decodeFields(r *topology.SourceRecord) (err error) {
	o := &d.out
	o.NullKey, o.NullValue = r.Key == nil, r.Value == nil
	if !o.NullKey {
		if o.Key, err = d.keys.Decode(r.Key); err != nil {
			return fmt.Errorf("key: %w", err)
		}
		o.NullKey = d.nullOfKey != nil && d.nullOfKey(&o.Key)
	}
	if !o.NullValue {
		if o.Value, err = d.values.Decode(r.Value); err != nil {
			return fmt.Errorf("value: %w", err)
		}
		o.NullValue = d.nullOfValue != nil && d.nullOfValue(&o.Value)
	}
	return nil
}
