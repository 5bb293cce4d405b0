package task

import "thalweg/topology"

// streamTime is how far the time of a task is: up to the newest record, or as far as the time behind repartitions may
// go (see Aligning). Nodes find it in their environment.
type streamTime struct {
	env       *topology.Env
	newest    int64 // highest timestamp taken
	sealed    int64 // newest, as of the commit under way
	committed int64 // newest, as of the last commit
}

func newStreamTime(env *topology.Env) streamTime {
	return streamTime{env: env, newest: topology.Unknown, sealed: topology.Unknown, committed: topology.Unknown}
}

// see notes the time of a record.
func (s *streamTime) see(at int64) {
	s.newest = max(s.newest, at)
	s.set()
}

// set tells the nodes what the time is now.
func (s *streamTime) set() { s.env.StreamTime = s.upto() }

func (s *streamTime) upto() int64 {
	if s.env.Aligning {
		return min(s.newest, s.env.Aligned)
	}
	return s.newest
}

// isHeld tells that records came which are later than the time.
func (s *streamTime) isHeld() bool { return s.newest > s.env.Aligned }

func (s *streamTime) seal() { s.sealed = s.newest }

func (s *streamTime) advance() { s.committed = s.sealed }

func (s *streamTime) rewind() { s.newest, s.sealed = s.committed, s.committed }
