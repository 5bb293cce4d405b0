package streamtest

import (
	"cmp"
	"math"
	"slices"

	"thalweg/state"
)

// GetWindow returns a copy of the value of a key's window that begins at start.
func (d *Driver) GetWindow[K, V any](store state.Windowed[K, V], key K, start int64) (value V, ok bool) {
	d.t.Helper()
	store = named(d, store)
	for _, st := range stores(d, store, store.Open[*state.Tx]) {
		value, _, ok, err := st.Get(key, start)
		d.must(err)
		if ok {
			return copier(d, store.Name(), store.ValueSerde())(value), true
		}
	}
	return value, false
}

// Windows are all windows of a store, by start.
func (d *Driver) Windows[K, V any](store state.Windowed[K, V]) (windows []state.WindowEntry[K, V]) {
	d.t.Helper()
	store = named(d, store)
	clone := copier(d, store.Name(), store.ValueSerde())
	for _, st := range stores(d, store, store.Open[*state.Tx]) {
		for e, err := range st.ByTime(math.MinInt64, math.MaxInt64) {
			d.must(err)
			e.Value = clone(e.Value)
			windows = append(windows, e)
		}
	}
	slices.SortStableFunc(windows, func(a, b state.WindowEntry[K, V]) int { return cmp.Compare(a.Start, b.Start) })
	return windows
}

// WindowsOf are the windows of a key that begin from one time to another, both included, by start.
func (d *Driver) WindowsOf[K, V any](
	store state.Windowed[K, V], key K, from, to int64,
) (windows []state.WindowEntry[K, V]) {
	d.t.Helper()
	store = named(d, store)
	clone := copier(d, store.Name(), store.ValueSerde())
	for _, st := range stores(d, store, store.Open[*state.Tx]) {
		for e, err := range st.Fetch(key, from, to) {
			d.must(err)
			e.Value = clone(e.Value)
			windows = append(windows, e)
		}
	}
	return windows
}

// GetSession returns a copy of the value of a key's session from start to end.
func (d *Driver) GetSession[K, V any](store state.Session[K, V], key K, start, end int64) (value V, ok bool) {
	d.t.Helper()
	store = named(d, store)
	for _, st := range stores(d, store, store.Open[*state.Tx]) {
		value, ok, err := st.Get(key, start, end)
		d.must(err)
		if ok {
			return copier(d, store.Name(), store.ValueSerde())(value), true
		}
	}
	return value, false
}

// Sessions are all sessions of a store, by end.
func (d *Driver) Sessions[K, V any](store state.Session[K, V]) (sessions []state.SessionEntry[K, V]) {
	d.t.Helper()
	store = named(d, store)
	clone := copier(d, store.Name(), store.ValueSerde())
	for _, st := range stores(d, store, store.Open[*state.Tx]) {
		for e, err := range st.ByEnd(math.MinInt64, math.MaxInt64) {
			d.must(err)
			e.Value = clone(e.Value)
			sessions = append(sessions, e)
		}
	}
	slices.SortStableFunc(sessions, func(a, b state.SessionEntry[K, V]) int { return cmp.Compare(a.End, b.End) })
	return sessions
}

// SessionsOf are the sessions of a key that overlap the time from one moment to another, both included.
func (d *Driver) SessionsOf[K, V any](
	store state.Session[K, V], key K, from, to int64,
) (sessions []state.SessionEntry[K, V]) {
	d.t.Helper()
	store = named(d, store)
	clone := copier(d, store.Name(), store.ValueSerde())
	for _, st := range stores(d, store, store.Open[*state.Tx]) {
		found, err := st.Find(key, from, to)
		d.must(err)
		for _, e := range found {
			e.Value = clone(e.Value)
			sessions = append(sessions, e)
		}
	}
	return sessions
}
