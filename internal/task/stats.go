package task

import "thalweg/topology"

// Stats is what a task has done since it was made. What a transaction counted that was discarded is left out.
type Stats struct {
	StreamTime      int64
	BufferedBytes   int
	BufferedRecords int
	Nodes           []NodeStats // in topological order
}

// NodeStats is what one node has done.
type NodeStats struct {
	Node      string
	Processed int64
	Dropped   [topology.Reasons]int64 // by topology.Reason
	LateMax   int64                   // milliseconds: see [topology.Instance]
	Timed     bool                    // it has a stream time of its own
	Time      int64                   // which is this, or topology.Unknown
}

// Stats copies the figures into s, whose slice is reused.
func (t *Task) Stats(s *Stats) {
	s.StreamTime, s.BufferedBytes, s.BufferedRecords = t.env.StreamTime, 0, 0
	for _, q := range t.Queues.list {
		s.BufferedBytes += q.bytes
		s.BufferedRecords += q.records
	}
	s.Nodes = t.nodes.stats(s.Nodes[:0])
}

// CommittedStats is Stats with what was counted up to the last commit.
func (t *Task) CommittedStats(s *Stats) {
	t.Stats(s)
	t.nodes.setCommitted(s.Nodes)
}
