package op

import (
	"encoding/binary"
	"fmt"
	"math"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// JoinTable joins each record of a stream with the row of its key: of a versioned table that of the record's time,
// otherwise the newest. left joins null where there is none, also for records without a key; otherwise such records go
// nowhere.
func JoinTable[K, V, O, R any](
	table View[K, O], left bool, f func(*topology.Call, K, V, *O) (R, error),
) topology.Make {
	return topology.Between(func(in *topology.Instance, next topology.Port[K, R]) (topology.Port[K, V], error) {
		j, err := newTableJoin(in, table, left, f, next)
		if err != nil {
			return nil, err
		}
		return func(r *topology.Record[K, V]) error {
			in.Enter()
			if dropsJoined(j, r) {
				return nil
			}
			in.CallAt(r.Timestamp, r.Headers)
			return joinJoined(j, r.Key, r.NullKey, r.Value, r.Timestamp, r.Headers)
		}, nil
	})
}

type tableJoin[K, V, O, R any] struct {
	in   *topology.Instance
	get  Get[K, O]
	left bool
	f    func(*topology.Call, K, V, *O) (R, error)
	null func(*R) bool
	next topology.Port[K, R]
	out  topology.Record[K, R]
	row  O // slot that f's pointer points to
}

func newTableJoin[K, V, O, R any](
	in *topology.Instance, table View[K, O], left bool, f func(*topology.Call, K, V, *O) (R, error),
	next topology.Port[K, R],
) (*tableJoin[K, V, O, R], error) {
	get, err := table(in)
	return &tableJoin[K, V, O, R]{in: in, get: get, left: left, f: f, null: serde.NullOf[R](), next: next}, err
}

// dropsJoined counts the records that can't be joined.
func dropsJoined[K, V, O, R any](j *tableJoin[K, V, O, R], r *topology.Record[K, V]) bool {
	switch {
	case r.NullValue:
		j.in.Drop(topology.NullValue)
	case r.NullKey && !j.left:
		j.in.Drop(topology.NullKey)
	default:
		return false
	}
	return true
}

// joinJoined joins a record, which is the node's call.
func joinJoined[K, V, O, R any](
	j *tableJoin[K, V, O, R], key K, nullKey bool, v V, ts int64, headers []topology.Header,
) error {
	if ok, err := resultJoined(j, key, nullKey, v, ts); !ok || err != nil {
		return err
	}
	return sendJoined(j, key, nullKey, ts, headers)
}

// resultJoined puts the result of a join into the slot; ok is false where there is none.
func resultJoined[K, V, O, R any](
	j *tableJoin[K, V, O, R], key K, nullKey bool, v V, ts int64,
) (ok bool, err error) {
	var found *O
	if !nullKey {
		f, err := j.get(key, Lookup{AsOf: ts})
		if err != nil {
			return false, j.in.Fail(ts, err)
		}
		if f.ok {
			j.row = f.row
			found = &j.row
		} else if !j.left {
			return false, nil
		}
	}
	if j.out.Value, err = j.f(j.in.Call(), key, v, found); err != nil {
		return false, j.in.Error(topology.PhaseProcess, ts, err)
	}
	j.out.NullValue = j.null != nil && j.null(&j.out.Value)
	return true, nil
}

func sendJoined[K, V, O, R any](
	j *tableJoin[K, V, O, R], key K, nullKey bool, ts int64, headers []topology.Header,
) error {
	j.out.Key, j.out.NullKey, j.out.Timestamp, j.out.Headers = key, nullKey, ts, headers
	return j.next(&j.out)
}

// Waiting says how long records wait for a table, and how many.
type Waiting struct {
	Grace      int64 // milliseconds of the stream's time
	RecordsMax int   // at the same time; more stop the task; 0: no limit
}

// JoinTableLate is JoinTable with a table that may be behind: records wait in a buffer until the stream is as much
// further as is said, and are joined in order of time.
func JoinTableLate[K, V, O, R any](
	table View[K, O], st state.KV[[]byte, Buffered[V]], late Waiting, keys serde.Serde[K], left bool,
	f func(*topology.Call, K, V, *O) (R, error),
) topology.Make {
	return topology.Between(func(in *topology.Instance, next topology.Port[K, R]) (topology.Port[K, V], error) {
		store, err := st.Open(in)
		if err != nil {
			return nil, err
		}
		j, err := newTableJoin(in, table, left, f, next)
		if err != nil {
			return nil, err
		}
		l := &tableJoinLate[K, V, O, R]{tableJoin: j, store: store, keys: serde.Local(keys), late: late,
			time: ownTime(in, st.Name(), 0)}
		l.joinFirst = func() (err error) {
			l.joined, err = resultJoined(j, l.firstKey, false, l.firstRow.New, l.first.time)
			return err
		}
		l.waiting.most, l.waiting.look = agendaRowsMax, func(from wait, list func(wait) bool) error {
			return eachJoinedLate(l, st.Name(), from.bytes, list)
		}
		if err := eachJoinedLate(l, st.Name(), nil, func(w wait) bool {
			l.seq = max(l.seq, binary.BigEndian.Uint32(w.bytes[len(w.bytes)-4:]))
			l.waiting.add(w)
			return true
		}); err != nil {
			return nil, err
		}
		in.TimeMoved = func() error { return releaseDueJoinedLate(l) }
		return func(r *topology.Record[K, V]) error { return receiveJoinedLate(l, r) }, nil
	})
}

// lateFirst begins the keys of records that wait, as in Kafka Streams: 0, time(8), key, sequence(4).
const lateFirst byte = 0

type tableJoinLate[K, V, O, R any] struct {
	*tableJoin[K, V, O, R]
	store   *state.KVStore[[]byte, Buffered[V]] // under 0 time(8) key sequence(4)
	keys    serde.Serde[K]
	late    Waiting
	time    *int64 // highest timestamp of the stream
	waiting agenda
	seq     uint32 // of the last record; wraps around

	first     wait // is joined: its time has come
	firstKey  K
	firstRow  Buffered[V]
	joinFirst func() error
	joined    bool // joinFirst has made a result
}

func receiveJoinedLate[K, V, O, R any](l *tableJoinLate[K, V, O, R], r *topology.Record[K, V]) error {
	l.in.Enter()
	if dropsJoined(l.tableJoin, r) {
		return nil
	}
	l.in.CallAt(r.Timestamp, r.Headers)
	if r.NullKey {
		return joinJoined(l.tableJoin, r.Key, true, r.Value, r.Timestamp, r.Headers)
	}
	*l.time = max(*l.time, r.Timestamp)
	if r.Timestamp < l.in.Upto(*l.time)-l.late.Grace {
		return joinJoined(l.tableJoin, r.Key, false, r.Value, r.Timestamp, r.Headers)
	}
	if err := holdJoinedLate(l, r); err != nil {
		return l.in.Fail(r.Timestamp, err)
	}
	if err := releaseDueJoinedLate(l); err != nil {
		return err
	}
	if l.late.RecordsMax > 0 && l.waiting.count > l.late.RecordsMax {
		return l.in.Fail(r.Timestamp, fmt.Errorf("join as of: the buffer is full: %d records wait: give it more room, or "+
			"less grace", l.waiting.count))
	}
	return nil
}

// releaseDueJoinedLate joins the records whose time has come.
func releaseDueJoinedLate[K, V, O, R any](l *tableJoinLate[K, V, O, R]) error {
	for {
		now := l.in.Upto(*l.time)
		first, more, err := l.waiting.take(now - l.late.Grace)
		if err != nil {
			return l.in.Fail(now, err)
		}
		if !more {
			return nil
		}
		if err := releaseJoinedLate(l, first); err != nil {
			return err
		}
	}
}

// releaseJoinedLate joins the record that waits for longest. It is another than the one at hand, and fails for itself.
func releaseJoinedLate[K, V, O, R any](l *tableJoinLate[K, V, O, R], first wait) (err error) {
	l.first = first
	if l.firstKey, err = l.keys.Decode(first.bytes[9 : len(first.bytes)-4 : len(first.bytes)-4]); err != nil {
		return l.in.Fail(first.time, err)
	}
	var ts int64
	if l.firstRow, ts, _, err = l.store.Get(l.first.bytes); err == nil {
		err = l.store.Delete(l.first.bytes, ts)
	}
	if err != nil {
		return l.in.Fail(l.first.time, err)
	}
	l.in.Resume()
	b := &l.firstRow
	l.in.CallOf(l.first.time, b.Headers, b.Origin)
	if done, err := l.in.AttemptWaited(l.first.time, l.joinFirst); !done || !l.joined {
		return err
	}
	return sendJoined(l.tableJoin, l.firstKey, false, l.first.time, b.Headers)
}

func holdJoinedLate[K, V, O, R any](l *tableJoinLate[K, V, O, R], r *topology.Record[K, V]) error {
	key, err := l.keys.Append(binary.BigEndian.AppendUint64([]byte{lateFirst}, uint64(r.Timestamp)), r.Key)
	if err != nil {
		return err
	}
	l.seq = (l.seq + 1) & math.MaxInt32
	key = binary.BigEndian.AppendUint32(key, l.seq)
	l.waiting.add(wait{time: r.Timestamp, bytes: key})
	return l.store.Put(key, Buffered[V]{
		Timestamp: r.Timestamp, New: r.Value, HasNew: true, Headers: r.Headers, Origin: origin(l.in),
	}, r.Timestamp)
}

// eachJoinedLate calls list for the records that the store has from a key on, in order of time, until it returns false.
func eachJoinedLate[K, V, O, R any](
	l *tableJoinLate[K, V, O, R], store string, from []byte, list func(wait) bool,
) error {
	for e, err := range l.store.RangeBytes(from, nil, false) {
		if err != nil {
			return err
		}
		at := len(e.Key) - 4
		if at < 9 || e.Key[0] != lateFirst {
			return fmt.Errorf("store %q: key of %d bytes: want 0, 8 bytes of time, a key, 4 of sequence", store, len(e.Key))
		}
		if !list(wait{time: int64(binary.BigEndian.Uint64(e.Key[1:])), bytes: e.Key}) {
			return nil
		}
	}
	return nil
}
