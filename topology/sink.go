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
	n := &Node{Name: name, Kind: KindSink, Site: site, Sink: c.Topic, Keys: c.Keys, Values: c.Values}
	n.Make = Operator(func(in *Instance, next []any) (Port[K, V], error) {
		if len(next) != 0 {
			return nil, fmt.Errorf("node %s: a sink has no children", in.Node.Name)
		}
		keys, values, err := serdesOf[K, V](in.Node)
		if err != nil {
			return nil, err
		}
		s := &sink[K, V]{in: in, config: c, keys: serde.NewEncoder(keys), values: serde.NewEncoder(values)}
		if c.TopicOf != nil {
			s.byName = map[string]Outlet{}
		}
		if c.Topic.Name == "" {
			return s.receive, nil
		}
		out, err := in.Env.Outlet(c.Topic.In(in.Env.ApplicationID))
		if err != nil {
			return nil, err
		}
		s.out = out
		return s.receive, nil
	})
	return n
}

type sink[K, V any] struct {
	in      *Instance
	config  SinkConfig[K, V]
	out     Outlet
	byName  map[string]Outlet // per topic that records named
	keys    serde.Encoder[K]
	values  serde.Encoder[V]
	hash    []byte // scratch, reused for each record
	keyless int64  // records without a key so far
}

func (s *sink[K, V]) receive(r *Record[K, V]) error {
	s.in.Enter()
	if r.NullKey && s.in.Node.DropNullKeys {
		s.in.Drop(NullKey)
		return nil
	}
	key, value, err := s.encode(r)
	if err != nil {
		return s.in.Handle(PhaseEncode, r.Timestamp, err)
	}
	out, err := s.outlet(r)
	if err != nil {
		return s.in.Error(PhaseEncode, r.Timestamp, err)
	}
	p, err := s.partition(r, key, out.Partitions())
	if err != nil {
		return s.in.Handle(PhaseEncode, r.Timestamp, err)
	}
	if p < 0 {
		s.in.Drop(NoPartition)
		return nil
	}
	if err := out.Append(p, r.Timestamp, key, value, r.Headers); err != nil {
		return s.in.Handle(PhaseEncode, r.Timestamp, err)
	}
	return nil
}

func (s *sink[K, V]) encode(r *Record[K, V]) (key, value []byte, err error) {
	if !r.NullKey {
		if key, err = s.keys.Encode(r.Key); err != nil {
			return nil, nil, fmt.Errorf("key: %w", err)
		}
	}
	if !r.NullValue {
		if value, err = s.values.Encode(r.Value); err != nil {
			return nil, nil, fmt.Errorf("value: %w", err)
		}
	}
	return key, value, nil
}

func (s *sink[K, V]) outlet(r *Record[K, V]) (Outlet, error) {
	if s.config.TopicOf == nil {
		return s.out, nil
	}
	name, err := s.config.TopicOf(s.in.CallAt(r.Timestamp, r.Headers), r)
	if err != nil {
		return nil, s.in.Error(PhaseProcess, r.Timestamp, err)
	}
	if out, ok := s.byName[name]; ok {
		return out, nil
	}
	if name == "" && s.out != nil {
		return s.out, nil
	}
	if name == "" {
		return nil, errors.New("the record names no topic: the name is empty")
	}
	out, err := s.in.Env.Outlet(name)
	if err != nil {
		return nil, err
	}
	s.byName[name] = out
	return out, nil
}

// keylessRun is how many records without a key go to one partition before the next takes its turn: batches stay
// full and partitions even.
const keylessRun = 256

func (s *sink[K, V]) partition(r *Record[K, V], key []byte, n int32) (int32, error) {
	switch {
	case s.config.PartitionOf != nil:
		p := s.config.PartitionOf(r, n)
		if p >= n {
			return 0, fmt.Errorf("partition %d of a topic with %d partitions: the partitioner must stay below", p, n)
		}
		return p, nil
	case r.NullKey:
		s.keyless++
		return (s.in.Env.Partition + int32((s.keyless-1)/keylessRun)) % n, nil
	case n == 1:
		return 0, nil
	case s.config.HashKey != nil:
		var err error
		if s.hash, err = s.config.HashKey(s.hash[:0], r.Key); err != nil {
			return 0, fmt.Errorf("key: %w", err)
		}
		key = s.hash
	}
	return PartitionFor(key, n), nil
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
