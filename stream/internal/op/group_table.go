package op

import (
	"bytes"
	"fmt"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// GroupTable sends the changes of rows to their groups: a row that stays in its group as one change, one that moves as
// a change of the old group before one of the new. A null key or value is in no group. The node's Keys are the serde
// of the groups' keys.
func GroupTable[K, V, K2, V2 any](f func(*topology.Call, K, V) (K2, V2, error)) topology.Make {
	nullKey, nullValue := serde.NullOf[K2](), serde.NullOf[V2]()
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K2, topology.Change[V2]],
	) (topology.Port[K, topology.Change[V]], error) {
		keys, ok := in.Node.Keys.(serde.Serde[K2])
		if !ok {
			return nil, fmt.Errorf("node %s: its keys have the serde %T", in.Node.Name, in.Node.Keys)
		}
		g := &groupTable[K, V, K2, V2]{
			in: in, keys: serde.Local(keys), nullKey: nullKey, nullValue: nullValue, next: next,
		}
		g.rows = newPerRow(in, func(c *topology.Call, k K, v V) (p Pair[K2, V2], err error) {
			p.Key, p.Within, err = f(c, k, v)
			return p, err
		})
		return func(r *topology.Record[K, topology.Change[V]]) error { return receiveGroups(g, r) }, nil
	})
}

type groupTable[K, V, K2, V2 any] struct {
	in         *topology.Instance
	rows       *perRow[K, V, Pair[K2, V2]]
	keys       serde.Serde[K2]
	nullKey    func(*K2) bool
	nullValue  func(*V2) bool
	next       topology.Port[K2, topology.Change[V2]]
	out        topology.Record[K2, topology.Change[V2]]
	oldK, newK K2
	oldV, newV V2
	oldB, newB []byte // encoded keys: what is equal is what lies in one partition under one key
}

func receiveGroups[K, V, K2, V2 any](
	g *groupTable[K, V, K2, V2], r *topology.Record[K, topology.Change[V]]) (err error,
) {
	g.in.Enter()
	if r.Value.Stale {
		return nil
	}
	g.in.CallAt(r.Timestamp, r.Headers)
	hasNew, err := groupGroups(g, r.Key, r.Value.New, r.Value.HasNew, &g.newK, &g.newV)
	if err != nil {
		return err
	}
	hasOld, err := groupGroups(g, r.Key, r.Value.Old, r.Value.HasOld, &g.oldK, &g.oldV)
	if err != nil {
		return err
	}
	stays := hasOld && hasNew
	if stays {
		if g.oldB, err = g.keys.Append(g.oldB[:0], g.oldK); err == nil {
			g.newB, err = g.keys.Append(g.newB[:0], g.newK)
		}
		if err != nil {
			return g.in.Error(topology.PhaseEncode, r.Timestamp, err)
		}
		stays = bytes.Equal(g.oldB, g.newB)
	}
	g.out.Timestamp, g.out.Headers = r.Timestamp, r.Headers
	c := &g.out.Value
	if hasOld && !stays {
		g.out.Key, c.Old, c.HasOld, c.HasNew = g.oldK, g.oldV, true, false
		if err := g.next(&g.out); err != nil {
			return err
		}
	}
	if !hasNew {
		return nil
	}
	g.out.Key, c.New, c.HasNew, c.HasOld = g.newK, g.newV, true, stays
	if stays {
		c.Old = g.oldV
	}
	return g.next(&g.out)
}

// groupGroups finds the group of a row, if there is a row and it is in one.
func groupGroups[K, V, K2, V2 any](g *groupTable[K, V, K2, V2], key K, row V, has bool, k *K2, v *V2) (bool, error) {
	if !has {
		return false, nil
	}
	p, ok, err := ofPerRow(g.rows, key, row)
	*k, *v = p.Key, p.Within
	return ok && (g.nullKey == nil || !g.nullKey(k)) && (g.nullValue == nil || !g.nullValue(v)), err
}

// step is what a fold gets for one row.
type step[V, A any] struct {
	row V
	agg A
	ok  bool
}

// AggregateTable takes rows out of and into the aggregate of their group: what was before goes out first.
func AggregateTable[K, V, A any](st state.KV[K, A], add, sub Fold[K, V, A], rows Rows) topology.Make {
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[A]],
	) (topology.Port[K, topology.Change[V]], error) {
		w, err := newRowWriter(in, st, rows, next)
		if err != nil {
			return nil, err
		}
		a := &aggregateTable[K, V, A]{in: in, null: serde.NullOf[A](), rows: w}
		steps := func(fold Fold[K, V, A]) *perRow[K, step[V, A], A] {
			f := apartFold(fold, in, st.ValueSerde(), w.next != nil && w.old).Add
			return newPerRow(in, func(c *topology.Call, key K, s step[V, A]) (A, error) {
				return f(c, key, s.row, s.agg, s.ok)
			})
		}
		a.add, a.sub = steps(add), steps(sub)
		return func(r *topology.Record[K, topology.Change[V]]) error { return receiveAggregateTable(a, r) }, nil
	})
}

type aggregateTable[K, V, A any] struct {
	in       *topology.Instance
	add, sub *perRow[K, step[V, A], A]
	null     func(*A) bool
	rows     *rowWriter[K, A]
	agg      A // slot
}

func receiveAggregateTable[K, V, A any](a *aggregateTable[K, V, A], r *topology.Record[K, topology.Change[V]]) error {
	a.in.Enter()
	if r.NullKey {
		a.in.Drop(topology.NullKey)
		return nil
	}
	agg, ts, ok, err := a.rows.store.Get(r.Key)
	if err != nil {
		return a.in.Fail(r.Timestamp, err)
	}
	if !ok || ts < r.Timestamp {
		ts = r.Timestamp
	}
	a.in.CallAt(r.Timestamp, r.Headers)
	a.agg = agg
	changed, failed := false, false
	take := func(f *perRow[K, step[V, A], A], row V) error {
		agg, done, err := ofPerRow(f, r.Key, step[V, A]{row, a.agg, ok})
		if failed = failed || !done; !done {
			return err
		}
		a.agg, changed = agg, true
		ok = a.null == nil || !a.null(&a.agg)
		return nil
	}
	if ok && r.Value.HasOld {
		if err := take(a.sub, r.Value.Old); err != nil {
			return err
		}
	}
	if r.Value.HasNew {
		if err := take(a.add, r.Value.New); err != nil {
			return err
		}
	}
	if failed && !changed {
		return nil
	}
	return writeRow(a.rows, r.Key, a.agg, ok, ts, r.Headers)
}
