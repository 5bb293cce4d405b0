package op

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"thalweg/serde"
	"thalweg/topology"
)

// Count combining bounds: a task holds back at most combineMaxKeys keys. Their entries stay in a core's second-level
// cache, or nearly so.
const (
	combineMaxKeys     = 1 << 15
	combineSlots       = 2 * combineMaxKeys
	combineKeyMaxBytes = 256 // longer keys are passed on at once
	// Where more than combineWorst tenths of the records have a key of their own, combining costs more than it saves:
	// the next combineRest records pass as they are, each a count of one.
	combineWorst = 7
	combineRest  = 16 * combineMaxKeys
)

// CountInto writes to the node's topic how many records of each key came, with the latest of their timestamps: for
// those between two commits once, if memory allows. Records without key or value do not count.
func CountInto[K, V any]() topology.Make {
	return topology.Operator(func(in *topology.Instance, _ []any) (topology.Port[K, V], error) {
		out, err := in.Env.Outlet(in.Node.Sink.In(in.Env.ApplicationID))
		if err != nil {
			return nil, err
		}
		c := &combiner{in: in, out: out, seed: maphash.MakeSeed(), keys: []byte{}}
		in.Settle = c.settle
		shared, ok := in.Node.Keys.(serde.Serde[K])
		if !ok {
			return nil, fmt.Errorf("node %s: its keys have the serde %T", in.Node.Name, in.Node.Keys)
		}
		keys := serde.Local(shared)
		key := []byte{} // never nil, which would be a null key
		return func(r *topology.Record[K, V]) (err error) {
			in.Enter()
			switch {
			case r.NullKey:
				in.Drop(topology.NullKey)
				return nil
			case r.NullValue:
				in.Drop(topology.NullValue)
				return nil
			}
			if key, err = keys.Append(key[:0], r.Key); err == nil {
				err = c.count(key, r.Timestamp)
			}
			if err != nil {
				return in.Handle(topology.PhaseEncode, r.Timestamp, err)
			}
			return nil
		}, nil
	})
}

// combiner counts by encoded key.
type combiner struct {
	in    *topology.Instance
	out   topology.Outlet
	seed  maphash.Seed
	slots []uint16 // of a hash table with linear probing: the entry's number from 1, 0 is free
	held  []combined
	keys  []byte // of all entries, one after the other

	value   [8]byte // scratch
	records int64   // held back, by all entries
	rest    int64   // records to let through
}

// combined is the records of a key that are held back.
type combined struct {
	hash      uint32
	keyEnd    uint32 // in combiner.keys; the key begins where the one before ends
	count     int64
	timestamp int64
}

func (c *combiner) count(key []byte, timestamp int64) error {
	if c.rest > 0 || len(key) > combineKeyMaxBytes {
		c.rest = max(c.rest-1, 0)
		return c.send(key, 1, timestamp)
	}
	if c.slots == nil {
		c.slots = make([]uint16, combineSlots)
	}
	c.records++
	hash := uint32(maphash.Bytes(c.seed, key))
	at := hash % combineSlots
	for ; c.slots[at] != 0; at = (at + 1) % combineSlots {
		i := int(c.slots[at]) - 1
		if e := &c.held[i]; e.hash == hash && bytes.Equal(c.key(i), key) {
			e.count++
			e.timestamp = max(e.timestamp, timestamp)
			return nil
		}
	}
	c.keys = append(c.keys, key...)
	c.held = append(c.held, combined{hash, uint32(len(c.keys)), 1, timestamp})
	c.slots[at] = uint16(len(c.held))
	if len(c.held) < combineMaxKeys {
		return nil
	}
	if int64(len(c.held))*10 > c.records*combineWorst {
		c.rest = combineRest
	}
	_, err := c.settle()
	return err
}

func (c *combiner) key(i int) []byte {
	from := uint32(0)
	if i > 0 {
		from = c.held[i-1].keyEnd
	}
	return c.keys[from:c.held[i].keyEnd]
}

// settle writes what is held back.
func (c *combiner) settle() (some bool, err error) {
	for i := range c.held {
		e := &c.held[i]
		if err := c.send(c.key(i), e.count, e.timestamp); err != nil {
			return true, c.in.Fail(e.timestamp, err)
		}
	}
	some = len(c.held) > 0
	if some {
		clear(c.slots)
	}
	c.held, c.keys, c.records = c.held[:0], c.keys[:0], 0
	return some, nil
}

func (c *combiner) send(key []byte, count, timestamp int64) error {
	binary.BigEndian.PutUint64(c.value[:], uint64(count))
	return c.out.Append(topology.PartitionFor(key, c.out.Partitions()), timestamp, key, c.value[:], nil)
}
