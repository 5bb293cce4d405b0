package topology

import (
	"errors"
	"fmt"

	"thalweg/serde"
)

// SinkConfig says what a typed sink writes, and where.
type SinkConfig[K, V any] struct {
	Topic TopicName
	// TopicOf, where set, names the topic of each record; where it returns "" the record goes to Topic, if that is set.
	// Topics that records name are not created.
	TopicOf func(c *Call, r *Record[K, V]) (string, error)
	Keys    serde.Serde[K]
	Values  serde.Serde[V]
	// PartitionOf, where set, chooses a record's partition among n instead of the hash of its key; negative drops
	// the record, counted as NoPartition.
	PartitionOf func(r *Record[K, V], n int32) int32
	// HashKey, where set, appends the bytes whose hash chooses the partition, where these are not the key's.
	HashKey func(dst []byte, key K) ([]byte, error)
}

// NewSink makes a sink node that takes records of K and V. Its serdes are those of the node's Keys and Values when a
// task is built.
func NewSink[K, V any](name, site string, c SinkConfig[K, V]) *Node {
	n := &Node{
		Name: name, Kind: KindSink, Site: site, Sink: c.Topic, RecordsNameTopic: c.TopicOf != nil, Keys: c.Keys,
		Values: c.Values,
	}
	n.Make = Operator(func(in *Instance, next []any) (Port[K, V], error) {
		s, err := newSink(in, len(next), c.Topic, c.TopicOf != nil)
		if err != nil {
			return nil, err
		}
		keys, _ := in.Node.Keys.(serde.Serde[K])
		values, _ := in.Node.Values.(serde.Serde[V])
		if keys == nil || values == nil {
			return nil, wrongSerdes(in.Node)
		}
		return sinkPort(s, c, serde.NewEncoder(keys), serde.NewEncoder(values)), nil
	})
	return n
}

// sinkPort does what needs the types.
//
//go:noinline // else each sink has two copies of it
func sinkPort[K, V any](s *sink, c SinkConfig[K, V], keys serde.Encoder[K], values serde.Encoder[V]) Port[K, V] {
	return func(r *Record[K, V]) (err error) {
		in := s.in
		in.Enter()
		if r.NullKey && in.Node.DropNullKeys {
			in.Drop(NullKey)
			return nil
		}
		if c.TopicOf != nil {
			in.phase = PhaseEncode // it may have panicked the last time
		}
		var key, value []byte
		if !r.NullKey {
			if key, err = keys.Encode(r.Key); err != nil {
				return in.Handle(PhaseEncode, r.Timestamp, fmt.Errorf("key: %w", err))
			}
		}
		if !r.NullValue {
			if value, err = values.Encode(r.Value); err != nil {
				return in.Handle(PhaseEncode, r.Timestamp, fmt.Errorf("value: %w", err))
			}
		}
		out := s.out
		if c.TopicOf != nil {
			in.phase = PhaseProcess // of a panic of TopicOf
			name, err := c.TopicOf(in.CallAt(r.Timestamp, r.Headers), r)
			if err != nil {
				return in.Error(PhaseProcess, r.Timestamp, err)
			}
			in.phase = PhaseEncode
			if out, err = s.outlet(name); err != nil {
				return in.Error(PhaseEncode, r.Timestamp, err)
			}
		}
		p, hashed := int32(0), key
		switch count := out.Partitions(); {
		case c.PartitionOf != nil:
			p, err = chosen(c.PartitionOf(r, count), count)
		case r.NullKey:
			p = s.turn(count)
		case count == 1:
		case c.HashKey != nil:
			if s.hash, err = c.HashKey(s.hash[:0], r.Key); err != nil {
				err = fmt.Errorf("key: %w", err)
			}
			hashed = s.hash
			fallthrough
		default:
			p = PartitionFor(hashed, count)
		}
		if err != nil {
			return in.Handle(PhaseEncode, r.Timestamp, err)
		}
		return s.append(out, p, r.Timestamp, key, value, r.Headers)
	}
}

// sink is what a sink knows without types.
type sink struct {
	in      *Instance
	out     Outlet
	byName  map[string]Outlet // per topic that records named
	hash    []byte            // scratch, reused for each record
	keyless int64             // records without a key so far
}

func newSink(in *Instance, children int, topic TopicName, named bool) (s *sink, err error) {
	if children != 0 {
		return nil, fmt.Errorf("node %s: a sink has no children", in.Node.Name)
	}
	s = &sink{in: in}
	if named {
		s.byName = map[string]Outlet{}
	}
	if topic.Name != "" {
		s.out, err = in.Env.Outlet(topic.In(in.Env.ApplicationID))
	}
	return s, err
}

// outlet is where records go whose topic has that name; "" is the sink's own topic.
func (s *sink) outlet(name string) (Outlet, error) {
	if out, ok := s.byName[name]; ok {
		return out, nil
	}
	if name == "" && s.out != nil {
		return s.out, nil
	}
	if name == "" {
		return nil, errors.New("the record names no topic: the name is empty")
	}
	if err := CheckTopicName(name); err != nil {
		return nil, fmt.Errorf("the topic of the record: %w", err)
	}
	if may := s.in.Env.MayName; may != nil {
		if err := may(name); err != nil {
			return nil, err
		}
	}
	out, err := s.in.Env.Outlet(name)
	if err != nil {
		return nil, err
	}
	s.byName[name] = out
	return out, nil
}

func (s *sink) append(out Outlet, p int32, timestamp int64, key, value []byte, headers []Header) error {
	if p < 0 {
		s.in.Drop(NoPartition)
		return nil
	}
	if err := out.Append(p, timestamp, key, value, headers); err != nil {
		return s.in.Handle(PhaseEncode, timestamp, err)
	}
	return nil
}

// keylessRun is how many records without a key go to one partition before the next takes its turn: batches stay
// full and partitions even.
const keylessRun = 256

// turn is the partition of a record without a key.
func (s *sink) turn(n int32) int32 {
	s.keyless++
	return (s.in.Env.Partition + int32((s.keyless-1)/keylessRun)) % n
}

// chosen is the partition that a partitioner has chosen.
func chosen(p, n int32) (int32, error) {
	if p >= n {
		return 0, fmt.Errorf("partition %d of a topic with %d partitions: the partitioner must stay below", p, n)
	}
	return p, nil
}

// PartitionFor is the partition that Kafka's default partitioner gives a key among n: murmur2 of its bytes.
func PartitionFor(key []byte, n int32) int32 {
	return int32(murmur2(key)&0x7fffffff) % n
}

// murmur2 is the 32-bit MurmurHash2 (Appleby, public domain algorithm) with the seed that Kafka's clients share.
func murmur2(b []byte) uint32 {
	const (
		seed uint32 = 0x9747b28c
		m    uint32 = 0x5bd1e995
	)
	h := seed ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		k *= m
		k ^= k >> 24
		h = h*m ^ k*m
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(b[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}
