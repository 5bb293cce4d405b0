package op

import (
	"thalweg/state"
	"thalweg/topology"
)

// meetJoin joins the record with those of the other side that are in its window.
func meetJoin[K, V, O, H, R any](s *joinOf[K, V, O, H, R], r *topology.Record[K, V]) (matched bool, err error) {
	s.v = r.Value
	from, to := max(r.Timestamp-s.c.before, 0), max(r.Timestamp+s.c.after, 0)
	if s.c.bounds != nil {
		b := s.c.bounds.Of(r.Value)
		from, to = max(from, b.Start), min(to, b.End)
	}
	if to < from {
		return false, nil
	}
	found, err := s.other.Fetch(r.Key, from, to)
	if err != nil {
		return false, s.in.Fail(r.Timestamp, err)
	}
	if s.c.others != nil {
		rest := found[:0]
		for i := range found {
			if s.c.others.Of(found[i].Value).includes(r.Timestamp) {
				rest = append(rest, found[i])
			}
		}
		found = rest
	}
	s.results = emptied(s.results)
	if s.in.Env.Guarded && len(found) > 1 { // a record that fails with one of them is joined with none
		if err := joinAllJoin(s, r, found); err != nil {
			return false, err
		}
	}
	for i := range found {
		s.in.Resume()
		result, err := resultJoin(s, r, found, i)
		if err != nil {
			return true, s.in.Error(topology.PhaseProcess, r.Timestamp, err)
		}
		if s.held != nil && (i == 0 || found[i].Timestamp != found[i-1].Timestamp) {
			if err := letGoJoin(s, r.Key, found[i].Timestamp, r.Timestamp); err != nil {
				return true, err
			}
		}
		if err := tellJoin(s, r.Key, result, max(r.Timestamp, found[i].Timestamp)); err != nil {
			return true, err
		}
		matched = true
	}
	return matched, nil
}

// resultJoin joins the record with one of those that were found, if that was not done before.
func resultJoin[K, V, O, H, R any](
	s *joinOf[K, V, O, H, R], r *topology.Record[K, V], found []state.BufferEntry[O], i int,
) (R, error) {
	if i < len(s.results) {
		return s.results[i], nil
	}
	s.o = found[i].Value
	return s.c.f(s.in.Call(), r.Key, &s.v, &s.o)
}

func joinAllJoin[K, V, O, H, R any](
	s *joinOf[K, V, O, H, R], r *topology.Record[K, V], found []state.BufferEntry[O],
) error {
	for i := range found {
		result, err := resultJoin(s, r, found, i)
		if err != nil {
			return s.in.Error(topology.PhaseProcess, r.Timestamp, err)
		}
		s.results = append(s.results, result)
	}
	return nil
}

// letGoJoin forgets what is held of the other side at a time: it has met a record of time met.
func letGoJoin[K, V, O, H, R any](s *joinOf[K, V, O, H, R], key K, ts, met int64) error {
	k := UnmatchedKey[K]{Left: !s.c.left, Key: key}
	h, ok, err := s.held.Get(k, ts, ts)
	switch {
	case err != nil || !ok:
	case s.c.others != nil && s.c.unmet(&h, met):
		err = s.held.Put(k, ts, ts, h)
	default:
		err = s.held.Remove(k, ts, ts)
	}
	return s.in.Fail(ts, err)
}
