package op

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// lifetime deletes the rows of a store that were not changed for a time, counted by the timestamps that the node sees.
// Each row waits in memory for when it is looked at next: its end, as it was known then.
type lifetime[K, V any] struct {
	ttl    int64  // milliseconds
	time   *int64 // highest timestamp seen
	store  *state.KVStore[K, V]
	keys   serde.Serde[K]
	rows   queue[K]
	remove func(key K, timestamp int64) error
}

// newLifetime returns nil where rows live for ever.
func newLifetime[K, V any](
	in *topology.Instance, st state.KV[K, V], store *state.KVStore[K, V], remove func(K, int64) error,
) (*lifetime[K, V], error) {
	if st.Spec().TTL == 0 {
		return nil, nil
	}
	l := &lifetime[K, V]{
		ttl: st.Spec().TTL.Milliseconds(), time: timeMark(in, st.Name(), 0), store: store,
		keys: serde.Local(st.KeySerde()), remove: remove,
	}
	for e, err := range store.All() {
		if err == nil {
			err = watchLifetime(l, e.Key, e.Timestamp)
		}
		if err != nil {
			return nil, err
		}
	}
	return l, nil
}

// passLifetime goes on to a record's time and deletes what has come to its end. It tells whether the record is so old
// that its row would have, too.
func passLifetime[K, V any](l *lifetime[K, V], timestamp int64) (expired bool, err error) {
	*l.time = max(*l.time, timestamp)
	for len(l.rows) > 0 && l.rows[0].time <= *l.time {
		first := popQueue(&l.rows)
		_, changed, ok, err := l.store.Get(first.key)
		switch {
		case err != nil:
			return false, err
		case !ok:
		case changed+l.ttl != first.time:
			first.time = changed + l.ttl
			pushQueue(&l.rows, first)
		default:
			if err := l.remove(first.key, first.time); err != nil {
				return false, err
			}
		}
	}
	return timestamp+l.ttl <= *l.time, nil
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
		pushQueue(&l.rows, waits[K]{timestamp + l.ttl, encoded, key})
	}
	return err
}
