package table

import (
	"bytes"
	"hash/maphash"
	"slices"
)

// A crowd is the entries of a head that many share. Elsewhere the entries of a head lie in one run of slots, which is
// short; a crowd's are hashed with all of their keys, and a tree has them in order. So no operation on one of them
// passes all others.
type crowd struct{ Tree }

const (
	// crowdProbes is how many slots an insertion passes before it looks for a crowd.
	crowdProbes = 64
	// crowdMin is from how many entries on a head has a crowd.
	crowdMin = 32
	// pivotIndex stands for the key that a tree is asked for.
	pivotIndex = ^uint32(0)
)

func (t *Table) crowdKey(index uint32) []byte {
	if index == pivotIndex {
		return t.pivot
	}
	return t.Key(t.At(index))
}

// crowdOf returns the crowd that a key belongs to, or nil, and the hash that says where the key's slot is. head is the
// hash of the head.
func (t *Table) crowdOf(head uint64, key []byte) (*crowd, uint64) {
	c := t.crowds[head]
	if c == nil {
		return nil, head
	}
	return c, maphash.Bytes(t.seed, key)
}

// leave removes an entry that is about to be freed from its crowd, and returns the hash that says where its slot is.
func (t *Table) leave(head uint64, key []byte, index uint32) uint64 {
	c, hash := t.crowdOf(head, key)
	if c == nil {
		return hash
	}
	if c.Delete(index); c.Len() > 0 {
		return hash
	}
	if delete(t.crowds, head); len(t.crowds) == 0 {
		t.crowds = nil
	}
	return hash
}

// MayHold is false where no key has a head of that hash. It is quick, and may be true without one.
func (t *Table) MayHold(hash uint64) bool {
	return t.slots[uint32(hash>>32)>>t.shift&uint32(len(t.slots)-1)] != 0 || t.crowds != nil
}

// HasCrowds tells whether Range needs its bounds.
func (t *Table) HasCrowds() bool { return t.crowds != nil }

// crowdBytes is about the memory of the crowds' trees.
func (t *Table) crowdBytes() (sum int64) {
	for _, c := range t.crowds {
		sum += int64(c.Len()) * 8
	}
	return sum
}

// gather makes a crowd of the entries of a head, if they are many. hash is that of the head.
func (t *Table) gather(hash uint64) {
	tag := uint32(hash >> 32)
	mask := uint32(len(t.slots) - 1)
	var same []uint32
	for at := tag >> t.shift; t.slots[at&mask] != 0; at++ {
		if slot := t.slots[at&mask]; uint32(slot>>32) == tag {
			if index := uint32(slot) - 1; t.Hash(t.Key(t.At(index))) == hash {
				same = append(same, index)
			}
		}
	}
	if len(same) < crowdMin {
		return
	}
	slices.SortFunc(same, t.Compare)
	less := func(a, b uint32) bool { return bytes.Compare(t.crowdKey(a), t.crowdKey(b)) < 0 }
	tree := NewTree(less)
	for _, index := range same {
		t.unplace(hash, index)
		tree.Load(index)
	}
	if t.crowds == nil {
		t.crowds = map[uint64]*crowd{}
	}
	t.crowds[hash] = &crowd{tree}
	for _, index := range same {
		t.place(slotOf(maphash.Bytes(t.seed, t.Key(t.At(index))), index))
	}
}

// Range calls f with the entries whose keys are head and skip more bytes that lie in [from, to], in no order, until f
// returns false. Where a head has no crowd, f gets the entries outside of [from, to], too: a caller that compares
// numbers is faster than a comparison of bytes. Without crowds from and to are not read. hash is that of head with the
// table's seed. f must not insert or delete. Range returns how many entries it has passed.
func (t *Table) Range(hash uint64, head, from, to []byte, f func(index uint32, key []byte) bool) (passed int) {
	if t.crowds != nil {
		if c := t.crowds[hash]; c != nil {
			return t.rangeCrowd(c, head, from, to, f)
		}
	}
	tag := uint32(hash >> 32)
	mask := uint32(len(t.slots) - 1)
	for at := tag >> t.shift; t.slots[at&mask] != 0; at++ {
		slot := t.slots[at&mask]
		if uint32(slot>>32) != tag {
			continue
		}
		passed++
		index := uint32(slot) - 1
		key := t.Key(t.At(index))
		if len(key) == len(head)+t.skip && string(key[:len(head)]) == string(head) && !f(index, key) {
			break
		}
	}
	return passed
}

func (t *Table) rangeCrowd(c *crowd, head, from, to []byte, f func(index uint32, key []byte) bool) (passed int) {
	t.pivot = append(append(t.pivot[:0], head...), from...)
	last := append(slices.Clone(head), to...)
	c.Ascend(pivotIndex, func(index uint32) bool {
		key := t.Key(t.At(index))
		if bytes.Compare(key, last) > 0 {
			return false
		}
		passed++
		return len(key) != len(last) || string(key[:len(head)]) != string(head) || f(index, key)
	})
	return passed
}
