package op

import (
	"bytes"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// lifetime deletes the rows of a store that were not changed for a time, counted by the timestamps that the node sees.
// A row is looked at when its end has come, as it was known when the row was put on the agenda.
type lifetime[K, V any] struct {
	aging  aging
	store  *state.KVStore[K, V]
	keys   serde.Serde[K]
	remove func(key K, timestamp int64) error
}

// aging is what of a lifetime needs no types.
type aging struct {
	ttl  int64  // milliseconds
	time *int64 // highest timestamp seen
	in   *topology.Instance
	rows agenda
}

func (a *aging) now() int64 { return a.in.Upto(*a.time) }

// newLifetime returns nil if rows never expire.
func newLifetime[K, V any](
	in *topology.Instance, st state.KV[K, V], store *state.KVStore[K, V], remove func(K, int64) error,
) (*lifetime[K, V], error) {
	ttl := st.Spec().TTL
	if ttl == 0 {
		return nil, nil
	}
	l := &lifetime[K, V]{store: store, keys: serde.Local(st.KeySerde()), remove: remove}
	l.aging.ttl, l.aging.time, l.aging.in = ttl.Milliseconds(), ownTime(in, st.Name(), 0), in
	in.TimeMoved = func() error { return in.Fail(l.aging.now(), endDueLifetime(l)) }
	return l, l.aging.start(store.Ages())
}

// start puts the rows of a store on the agenda.
func (a *aging) start(ages func(func(key []byte, timestamp int64) bool) error) error {
	a.rows.most, a.rows.look = agendaRowsMax, func(_ wait, list func(wait) bool) error {
		return ages(func(key []byte, timestamp int64) bool {
			list(a.end(bytes.Clone(key), timestamp))
			return true
		})
	}
	return a.rows.look(wait{}, a.rows.list)
}

// end is when a row comes to its end.
func (a *aging) end(key []byte, timestamp int64) wait {
	return wait{time: timestamp + a.ttl, bytes: key}
}

// passLifetime advances to a record's time and deletes the rows that expire. It reports whether the record is so old
// that its row would have, too.
func passLifetime[K, V any](l *lifetime[K, V], timestamp int64) (expired bool, err error) {
	*l.aging.time = max(*l.aging.time, timestamp)
	if err := endDueLifetime(l); err != nil {
		return false, err
	}
	return timestamp+l.aging.ttl <= l.aging.now(), nil
}

// endDueLifetime deletes what has come to its end.
func endDueLifetime[K, V any](l *lifetime[K, V]) error {
	for {
		first, more, err := l.aging.rows.take(l.aging.now())
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
		key, err := l.keys.Decode(first.bytes)
		if err != nil {
			return err
		}
		_, changed, ok, err := l.store.Get(key)
		switch {
		case err != nil:
			return err
		case !ok:
		case changed+l.aging.ttl != first.time:
			first.time = changed + l.aging.ttl
			l.aging.rows.list(first)
		default:
			if err := l.remove(key, first.time); err != nil {
				return err
			}
		}
	}
}

// changesLifetime notes that a row is about to be changed, where it has to be looked at earlier than is known.
func changesLifetime[K, V any](l *lifetime[K, V], key K, row state.Ref, timestamp int64) error {
	_, before, ok, err := l.store.Value(row)
	if err != nil || ok && before <= timestamp {
		return err
	}
	return watchLifetime(l, key, timestamp)
}

func watchLifetime[K, V any](l *lifetime[K, V], key K, timestamp int64) error {
	encoded, err := l.keys.Append(nil, key)
	if err == nil {
		l.aging.rows.list(l.aging.end(encoded, timestamp))
	}
	return err
}
