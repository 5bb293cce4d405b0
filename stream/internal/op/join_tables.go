package op

import (
	"thalweg/serde"
	"thalweg/topology"
)

// Side says what one side of a join of two tables needs to make a row.
type Side struct {
	MustOther bool  // without the other side's row nothing is emitted, not even a deletion
	MustOwn   bool  // without this side's row there is no row
	Old       *bool // what was before is needed downstream

	Left   bool
	Shared []string // the stores that both sides read
	Join   any      // identifies the join; a pointer
}

// JoinTables takes the changes of one side of a join of two tables. f gets nil for a side without a row.
func JoinTables[K, V, O, R any](
	other View[K, O], side Side, f func(*topology.Call, K, *V, *O) (R, error),
) topology.Make {
	null := serde.NullOf[R]()
	return topology.Between(func(
		in *topology.Instance, next topology.Port[K, topology.Change[R]],
	) (topology.Port[K, topology.Change[V]], error) {
		get, err := other(in)
		if err != nil {
			return nil, err
		}
		j := &joinTables[K, V, O, R]{in: in, side: side, null: null, next: next, old: *side.Old}
		j.rows = newPerRow(in, func(c *topology.Call, k K, s sides[V, O]) (R, error) { return f(c, k, s.own, s.other) })
		j.others = reading(in, get, newest)
		if j.meeting = meetingOf(in, side); j.meeting != nil {
			j.before = reading(in, get, Lookup{State: BeforeChange})
		}
		return func(r *topology.Record[K, topology.Change[V]]) error { return receiveTables(j, r) }, nil
	})
}

type joinTables[K, V, O, R any] struct {
	in     *topology.Instance
	others *perRow[K, struct{}, found[O]] // reads the other table, perhaps through functions
	before *perRow[K, struct{}, found[O]] // the same, before the change at hand

	meeting *meeting // nil: the sides read no store that the other reads

	side Side
	rows *perRow[K, sides[V, O], R]
	null func(*R) bool
	next topology.Port[K, topology.Change[R]]
	old  bool

	own   V // slots that f's pointers point to
	other O
	out   topology.Record[K, topology.Change[R]]
}

func receiveTables[K, V, O, R any](j *joinTables[K, V, O, R], r *topology.Record[K, topology.Change[V]]) (err error) {
	j.in.Enter()
	if r.Value.Stale {
		j.in.Drop(topology.Stale)
		return nil
	}
	j.in.CallAt(r.Timestamp, r.Headers)
	there, _, err := ofPerRow(j.others, r.Key, struct{}{})
	if err != nil {
		return err
	}
	has, ts := there.ok, there.timestamp
	if came := j.meeting.arrives(j.side.Left); came != alone {
		return receiveSharedTables(j, r, there, came)
	}
	j.other = there.row
	c := &r.Value
	if !has && (j.side.MustOther || !c.HasNew && !c.HasOld) {
		return nil
	}
	if !has || ts < r.Timestamp {
		ts = r.Timestamp
	}
	o := &j.out.Value
	if o.HasNew = c.HasNew || has && !j.side.MustOwn; o.HasNew {
		if o.New, o.HasNew, err = joinBoth(j, r.Key, &c.New, c.HasNew, has); err != nil {
			return err
		}
		o.HasNew = o.HasNew && (j.null == nil || !j.null(&o.New))
	}
	if o.HasOld = j.old && (c.HasOld || has && !j.side.MustOwn); o.HasOld {
		if o.Old, o.HasOld, err = joinBoth(j, r.Key, &c.Old, c.HasOld, has); err != nil {
			return err
		}
		o.HasOld = o.HasOld && (j.null == nil || !j.null(&o.Old))
	}
	j.out.Key, j.out.Timestamp, j.out.Headers = r.Key, ts, r.Headers
	return j.next(&j.out)
}

// receiveSharedTables takes a change of both sides. The first to arrive is emitted, with the rows that both sides had
// before; the second repeats a row, if there is one.
func receiveSharedTables[K, V, O, R any](
	j *joinTables[K, V, O, R], r *topology.Record[K, topology.Change[V]], now found[O], came arrival,
) (err error) {
	c, ts := &r.Value, r.Timestamp
	was, old, hadOld := now, &c.New, c.HasNew
	if came == first {
		if was, _, err = ofPerRow(j.before, r.Key, struct{}{}); err != nil {
			return err
		}
		old, hadOld = &c.Old, c.HasOld
	}
	isRow, wasRow := joins(j.side, c.HasNew, now.ok), joins(j.side, hadOld, was.ok)
	if !isRow && !wasRow {
		return nil
	}
	if now.ok {
		ts = max(ts, now.timestamp)
	}
	o := &j.out.Value
	o.HasNew, o.HasOld = false, false
	if isRow {
		j.other = now.row
		if o.New, o.HasNew, err = joinBoth(j, r.Key, &c.New, c.HasNew, now.ok); err != nil {
			return err
		}
		o.HasNew = o.HasNew && (j.null == nil || !j.null(&o.New))
	}
	if wasRow && j.old {
		j.other = was.row
		if o.Old, o.HasOld, err = joinBoth(j, r.Key, old, hadOld, was.ok); err != nil {
			return err
		}
		o.HasOld = o.HasOld && (j.null == nil || !j.null(&o.Old))
	}
	j.out.Key, j.out.Timestamp, j.out.Headers = r.Key, ts, r.Headers
	return j.next(&j.out)
}

// joins tells whether rows of a side and of the other make one.
func joins(s Side, own, other bool) bool {
	return (own || !s.MustOwn) && (other || !s.MustOther) && (own || other)
}

func joinBoth[K, V, O, R any](j *joinTables[K, V, O, R], key K, own *V, hasOwn, hasOther bool) (R, bool, error) {
	var v *V
	var o *O
	if hasOwn {
		j.own = *own
		v = &j.own
	}
	if hasOther {
		o = &j.other
	}
	return ofPerRow(j.rows, key, sides[V, O]{v, o})
}

// JoinedView reads through a join: f gets nil for a side without a row, where must does not name it.
func JoinedView[K, V, O, R any](
	left View[K, V], right View[K, O], mustLeft, mustRight bool, f func(*topology.Call, K, *V, *O) (R, error),
) View[K, R] {
	null := serde.NullOf[R]()
	return func(in *topology.Instance) (Get[K, R], error) {
		getLeft, err := left(in)
		if err != nil {
			return nil, err
		}
		getRight, err := right(in)
		if err != nil {
			return nil, err
		}
		var ( // slots that f's pointers point to
			l   V
			r   O
			row R
		)
		return func(key K, at Lookup) (found[R], error) {
			if at.State == Current {
				at = newest
			}
			var lp *V
			var rp *O
			lf, err := getLeft(key, at)
			if err != nil || lf.changed || mustLeft && !lf.ok {
				return found[R]{changed: lf.changed}, err
			}
			rf, err := getRight(key, at)
			if rf.changed || err != nil || mustRight && !rf.ok || !lf.ok && !rf.ok {
				return found[R]{changed: rf.changed}, err
			}
			if l = lf.row; lf.ok {
				lp = &l
			} else {
				lf.timestamp = topology.Unknown
			}
			if r = rf.row; rf.ok {
				rp = &r
			} else {
				rf.timestamp = topology.Unknown
			}
			if row, err = f(in.Call(), key, lp, rp); err != nil {
				return found[R]{}, failedView(in, err)
			}
			return found[R]{
				row: row, timestamp: max(lf.timestamp, rf.timestamp), ok: null == nil || !null(&row),
			}, nil
		}, nil
	}
}
