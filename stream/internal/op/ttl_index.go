package op

import (
	"bytes"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// ttlIndex deletes the rows of a store that did not change for their TTL, measured by the timestamps that the node
// sees. It looks at a row at the end that was known when the row was put on the agenda, and puts it back if the row has
// changed since.
type ttlIndex[K, V any] struct {
	aging  aging
	store  *state.KVStore[K, V]
	keys   serde.Serde[K]
	remove func(key K, timestamp int64) error
}

// aging is the untyped part of a ttlIndex.
type aging struct {
	ttl  int64  // milliseconds
	time *int64 // highest timestamp seen
	in   *topology.Instance
	rows agenda
}

func (a *aging) now() int64 { return a.in.Upto(*a.time) }

// newTTLIndex returns nil if rows never expire.
func newTTLIndex[K, V any](
	in *topology.Instance, st state.KV[K, V], store *state.KVStore[K, V], remove func(K, int64) error,
) (*ttlIndex[K, V], error) {
	ttl := st.Spec().TTL
	if ttl == 0 {
		return nil, nil
	}
	l := &ttlIndex[K, V]{store: store, keys: serde.Local(st.KeySerde()), remove: remove}
	l.aging.ttl, l.aging.time, l.aging.in = ttl.Milliseconds(), ownTime(in, st.Name(), 0), in
	in.TimeMoved = func() error { return in.Fail(l.aging.now(), deleteExpired(l)) }
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

// advanceTTL advances to a record's time and deletes the rows that expire. It reports whether the record itself
// has expired.
func advanceTTL[K, V any](l *ttlIndex[K, V], timestamp int64) (expired bool, err error) {
	*l.aging.time = max(*l.aging.time, timestamp)
	if err := deleteExpired(l); err != nil {
		return false, err
	}
	return timestamp+l.aging.ttl <= l.aging.now(), nil
}

// deleteExpired deletes the rows whose TTL has passed.
func deleteExpired[K, V any](l *ttlIndex[K, V]) error {
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

// noteTTLChange is called before a row changes. It lists the row again if the row will expire earlier than before.
func noteTTLChange[K, V any](l *ttlIndex[K, V], key K, row state.Ref, timestamp int64) error {
	_, before, ok, err := l.store.Value(row)
	if err != nil || ok && before <= timestamp {
		return err
	}
	return watchTTL(l, key, timestamp)
}

func watchTTL[K, V any](l *ttlIndex[K, V], key K, timestamp int64) error {
	encoded, err := l.keys.Append(nil, key)
	if err == nil {
		l.aging.rows.list(l.aging.end(encoded, timestamp))
	}
	return err
}
