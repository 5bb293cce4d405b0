package op

import (
	"bytes"
	"fmt"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// GroupTable sends the changes of rows to their groups: a row that stays in its group as one change, one that moves as
// a change of the old group before one of the new. A null key or value is in no group. An old row for which f fails is
// as that of a MapTable. The node's Keys are the serde of the groups' keys.
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
			in: in, f: f, keys: serde.Local(keys), nullKey: nullKey, nullValue: nullValue, next: next,
		}
		g.groupOld = func() (err error) {
			g.isOld, err = g.group(g.current.Key, g.current.Value.Old, &g.oldK, &g.oldV)
			return err
		}
		return g.receive, nil
	})
}

type groupTable[K, V, K2, V2 any] struct {
	in         *topology.Instance
	f          func(*topology.Call, K, V) (K2, V2, error)
	keys       serde.Serde[K2]
	nullKey    func(*K2) bool
	nullValue  func(*V2) bool
	next       topology.Port[K2, topology.Change[V2]]
	out        topology.Record[K2, topology.Change[V2]]
	oldK, newK K2
	oldV, newV V2
	oldB, newB []byte // encoded keys: what is equal is what lies in one partition under one key

	current  *topology.Record[K, topology.Change[V]]
	groupOld func() error // of current: sets isOld
	isOld    bool
}

func (g *groupTable[K, V, K2, V2]) receive(r *topology.Record[K, topology.Change[V]]) (err error) {
	g.in.Enter()
	if r.Value.Stale {
		return nil
	}
	g.in.CallAt(r.Timestamp, r.Headers)
	hasOld, hasNew := r.Value.HasOld, r.Value.HasNew
	if hasNew {
		if hasNew, err = g.group(r.Key, r.Value.New, &g.newK, &g.newV); err != nil {
			return g.in.Error(topology.PhaseProcess, r.Timestamp, err)
		}
	}
	if hasOld {
		g.current = r
		if hasOld, err = g.in.Attempt(r.Timestamp, g.groupOld); err != nil {
			return err
		}
		hasOld = hasOld && g.isOld
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

func (g *groupTable[K, V, K2, V2]) group(key K, row V, k *K2, v *V2) (isIn bool, err error) {
	*k, *v, err = g.f(g.in.Call(), key, row)
	return (g.nullKey == nil || !g.nullKey(k)) && (g.nullValue == nil || !g.nullValue(v)), err
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
		null := serde.NullOf[A]()
		oldGoesOn := w.next != nil && w.old
		add, sub := add.apart(in, st.ValueSerde(), oldGoesOn).Add, sub.apart(in, st.ValueSerde(), oldGoesOn).Add
		var agg A
		return func(r *topology.Record[K, topology.Change[V]]) error {
			in.Enter()
			if r.NullKey {
				in.Drop(topology.NullKey)
				return nil
			}
			old, ts, ok, err := w.store.Get(r.Key)
			if err != nil {
				return in.Fail(r.Timestamp, err)
			}
			if !ok || ts < r.Timestamp {
				ts = r.Timestamp
			}
			agg = old
			call := in.CallAt(r.Timestamp, r.Headers)
			if ok && r.Value.HasOld {
				if agg, err = sub(call, r.Key, r.Value.Old, agg, true); err != nil {
					return in.Error(topology.PhaseProcess, r.Timestamp, err)
				}
				ok = null == nil || !null(&agg)
			}
			if r.Value.HasNew {
				if agg, err = add(call, r.Key, r.Value.New, agg, ok); err != nil {
					return in.Error(topology.PhaseProcess, r.Timestamp, err)
				}
				ok = null == nil || !null(&agg)
			}
			return w.write(r.Key, agg, ok, ts, r.Headers)
		}, nil
	})
}
