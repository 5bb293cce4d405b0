package op

import (
	"thalweg/state"
	"thalweg/topology"
)

// meet joins the record with those of the other side that are in its window.
func (s *joinOf[K, V, O, H, R]) meet(r *topology.Record[K, V]) (matched bool, err error) {
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
		if err := s.joinAll(r, found); err != nil {
			return false, err
		}
	}
	for i := range found {
		s.in.Resume()
		result, err := s.result(r, found, i)
		if err != nil {
			return true, s.in.Error(topology.PhaseProcess, r.Timestamp, err)
		}
		if s.held != nil && (i == 0 || found[i].Timestamp != found[i-1].Timestamp) {
			if err := s.letGo(r.Key, found[i].Timestamp, r.Timestamp); err != nil {
				return true, err
			}
		}
		if err := s.tell(r.Key, result, max(r.Timestamp, found[i].Timestamp)); err != nil {
			return true, err
		}
		matched = true
	}
	return matched, nil
}

// result joins the record with one of those that were found, if that was not done before.
func (s *joinOf[K, V, O, H, R]) result(
	r *topology.Record[K, V], found []state.BufferEntry[O], i int,
) (R, error) {
	if i < len(s.results) {
		return s.results[i], nil
	}
	s.o = found[i].Value
	return s.c.f(s.in.Call(), r.Key, &s.v, &s.o)
}

func (s *joinOf[K, V, O, H, R]) joinAll(r *topology.Record[K, V], found []state.BufferEntry[O]) error {
	for i := range found {
		result, err := s.result(r, found, i)
		if err != nil {
			return s.in.Error(topology.PhaseProcess, r.Timestamp, err)
		}
		s.results = append(s.results, result)
	}
	return nil
}

// letGo forgets what is held of the other side at a time: it has met a record of time met.
func (s *joinOf[K, V, O, H, R]) letGo(key K, ts, met int64) error {
	k := HeldKey[K]{Left: !s.c.left, Key: key}
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
