package op

import (
	"fmt"
	"slices"

	"thalweg/topology"
)

// A join of two tables that read the same store gets one change of a row from both sides, one after the other, and
// each time finds the new row on the other side. So the owner of such a store marks the change that it hands on, with
// the row that was there before: the first to arrive is the change of both sides, and the second was emitted already.

// changes are those that owners of stores of a task are handing on: the one inside all others.
type changes struct {
	of     *marked
	id     uint64
	lastID uint64
}

func changesOf(in *topology.Instance) *changes {
	return topology.Shared(in.Env, "changes", func() *changes { return &changes{} })
}

// marked is a store whose owner marks what it hands on, if somebody wants it to.
type marked struct{ wanted bool }

func markOf(in *topology.Instance, store string) *marked {
	return topology.Shared(in.Env, "marked "+store, func() *marked { return &marked{} })
}

// before is the row that was in a store before the change that its owner is handing on.
type before[V any] struct {
	on  bool
	row V
	has bool
}

func beforeOf[V any](in *topology.Instance, store string) *before[V] {
	return topology.Shared(in.Env, "before "+store, func() *before[V] { return &before[V]{} })
}

// marking marks what the owner of a store hands on, where a join below wants it: children are made before their
// parents.
func marking[K, V any](
	in *topology.Instance, store string, next topology.Port[K, topology.Change[V]],
) topology.Port[K, topology.Change[V]] {
	m := markOf(in, store)
	if !m.wanted {
		return next
	}
	all, b := changesOf(in), beforeOf[V](in, store)
	return func(r *topology.Record[K, topology.Change[V]]) error {
		outer, of := all.id, all.of
		all.lastID++
		all.id, all.of = all.lastID, m
		b.on, b.row, b.has = true, r.Value.Old, r.Value.HasOld
		err := next(r)
		*b = before[V]{}
		all.id, all.of = outer, of
		return err
	}
}

// meeting is what both sides know of a join of tables that read the same stores.
type meeting struct {
	all    *changes
	stores []*marked
	id     uint64 // the change that was here last
	left   bool   // and the side that it came from first
}

// meetingOf returns nil where the sides have no store in common.
func meetingOf(in *topology.Instance, side Side) *meeting {
	if len(side.Shared) == 0 {
		return nil
	}
	return topology.Shared(in.Env, fmt.Sprintf("meeting %p", side.Join), func() *meeting {
		m := &meeting{all: changesOf(in)}
		for _, store := range side.Shared {
			mark := markOf(in, store)
			mark.wanted = true
			m.stores = append(m.stores, mark)
		}
		return m
	})
}

// arrival is what a change is to a join.
type arrival uint8

const (
	alone  arrival = iota // of this side
	first                 // of both sides
	second                // of both sides, and it was here from the other
)

func (m *meeting) arrives(left bool) arrival {
	switch {
	case m == nil || !slices.Contains(m.stores, m.all.of):
		return alone
	case m.id != m.all.id:
		m.id, m.left = m.all.id, left
		return first
	case m.left == left:
		return alone
	}
	return second
}
