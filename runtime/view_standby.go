package runtime

import (
	"maps"
	"slices"
)

// ViewOption changes what a [View] may read.
type ViewOption struct{ standbys bool }

// AcceptStandby lets a view read copies of the state of tasks that other processes run (Config.Standbys.Count), beside
// the tasks of this process. View.Standbys tells which, and how old they are.
func AcceptStandby() ViewOption { return ViewOption{standbys: true} }

// ReadStandby is a partition that a view reads from a copy.
type ReadStandby struct {
	Partition int32
	// Lag is how many records of the store's changelog, and of those of the other stores of its task, the copy lacked at
	// most when the view was taken, as far as this process knew: what the broker has not told it yet is not among them.
	// Under exactly-once a copy has no row that was not committed. One that is being made has few rows, and a large lag.
	Lag int64
}

// readStandby is a copy that can be read.
type readStandby struct {
	ReadStandby
	copy *standby
}

// readable are the copies of a sub-topology's tasks that can be read, by partition.
func (s *standbys) readable(subtopology int) map[int32]readStandby {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[int32]readStandby{}
	for id, st := range s.tasks {
		if lag := st.lag.Load(); id.Subtopology == subtopology && lag >= 0 && !s.claimed[id] {
			all[id.Partition] = readStandby{ReadStandby{id.Partition, lag}, st}
		}
	}
	return all
}

// accept finds copies for the partitions that do not run here. The snapshot is taken between before and the
// call: a copy that was begun again meanwhile may have been empty.
func (s *standbys) accept(subtopology int, running []int32, before map[int32]readStandby) (all []ReadStandby) {
	after := s.readable(subtopology)
	for _, p := range slices.Sorted(maps.Keys(before)) {
		if r := before[p]; after[p].copy == r.copy && !slices.Contains(running, p) {
			all = append(all, r.ReadStandby)
		}
	}
	return all
}

// partitions are those that the view reads.
func (v *View) partitions() []int32 {
	all := slices.Clone(v.Partitions)
	for _, r := range v.Standbys {
		all = append(all, r.Partition)
	}
	return all
}
