package task

import (
	"slices"

	"thalweg/internal/invariant"
	"thalweg/topology"
)

// What is believed to hold of a task, for builds with the tag `invariants`.

// moment is when something is checked.
type moment int

const (
	between   moment = iota // two calls
	afterSeal               // all there is belongs to the commit that begins
	rewound                 // nothing is left of what was not committed
)

// holds checks what holds at a moment.
func (t *Task) holds(now moment) {
	if !invariant.Enabled || t.life.broken != nil {
		return
	}
	check := invariant.Check
	check(now == between || !t.tx.Dirty(), "task %s: stores have changes that are not sealed", t.id)
	check(now == between || !t.worked && !t.progress.wrote, "task %s: work is open that is not sealed", t.id)
	check(now != rewound || !t.sealed.underWay, "task %s: a commit is under way after a discard", t.id)
	check(now != rewound || t.time.newest == t.time.committed, "task %s: has seen %d after a discard to %d", t.id,
		t.time.newest, t.time.committed)
	check(t.life.state != Running || t.nodes.graph != nil, "task %s runs without a graph", t.id)
	check(t.env.Source == nil, "task %s: a record is at hand between two calls", t.id)
	check(t.time.newest >= t.time.committed, "task %s: has seen %d, and committed %d", t.id, t.time.newest,
		t.time.committed)
	check(t.time.newest <= topology.MaxTime, "task %s: has seen %d", t.id, t.time.newest)
	upto := t.time.upto()
	check(t.env.StreamTime == upto, "task %s: stream time %d of %d", t.id, t.env.StreamTime, upto)
	pause := t.Retries.pause
	check(!t.Retries.paused || pause.offset == topology.Unknown || pause.failed > 0, "task %s pauses for nothing", t.id)
	check(t.times.commits >= 0, "task %s: %d commits", t.id, t.times.commits)
	t.nodes.holds()
	for _, q := range t.Queues.list {
		q.holds(now)
		check(t.global != nil || q.partitionTime <= t.time.newest, "%s: its time %d is after the highest, %d", q,
			q.partitionTime, t.time.newest)
	}
}

func (n *nodes) holds() {
	check := invariant.Check
	for i, in := range n.settling {
		check(n.graph != nil && slices.Contains(n.graph.Instances, in), "task %s: settling %d is of another graph", n.id, i)
	}
	if n.graph == nil || n.committed == nil {
		return
	}
	check(len(n.committed) == len(n.graph.Instances), "task %s: counters of %d nodes of %d", n.id, len(n.committed),
		len(n.graph.Instances))
	for i, in := range n.graph.Instances {
		check(in.Processed >= n.committed[i].processed, "node %s: fewer records than were committed", in.Node.Name)
	}
}

func (q *queue) holds(now moment) {
	check := invariant.Check
	check(now != afterSeal || !q.moved(), "%s: moved after it was sealed", q)
	check(now != rewound || q.empty() && q.records == 0 && q.bytes == 0, "%s: holds records after a discard", q)
	check(now != rewound || q.next == q.committed.next, "%s: at %d after a discard to %d", q, q.next, q.committed.next)
	check(now != rewound || q.fetched == q.next, "%s: fetched up to %d after a discard to %d", q, q.fetched, q.next)
	check(q.next >= q.sealed.next, "%s: at %d, sealed at %d", q, q.next, q.sealed.next)
	check(q.sealed.next >= q.committed.next, "%s: sealed at %d, committed at %d", q, q.sealed.next, q.committed.next)
	check(q.fetched >= q.next, "%s: at %d, fetched up to %d", q, q.next, q.fetched)
	check(q.records >= 0, "%s: %d records wait", q, q.records)
	check(q.bytes >= q.itBytes, "%s: %d bytes, %d of them in the open batch", q, q.bytes, q.itBytes)
	check(q.first <= len(q.batches), "%s: batch %d of %d", q, q.first, len(q.batches))
	check(q.ahead.at <= len(q.ahead.decoded), "%s: record %d of %d ahead", q, q.ahead.at, len(q.ahead.decoded))
	check(!q.empty() || q.records == 0, "%s: %d records in no batch", q, q.records)
	check(!q.has || q.records > 0, "%s: the head is no record that waits", q)
	check(!q.has || q.head.Offset >= q.next, "%s: the head %d is before %d", q, q.head.Offset, q.next)
	check(!q.has || topology.IsTime(q.time), "%s: the head's time is %d", q, q.time)
	check(q.partitionTime >= q.sealed.partitionTime, "%s: its time went back to %d from %d", q, q.partitionTime,
		q.sealed.partitionTime)
	check(q.partitionTime == topology.Unknown || topology.IsTime(q.partitionTime), "%s: its time is %d", q,
		q.partitionTime)
	check(q.blockedAt == never || q.blockedAt == q.retrying.offset, "%s: blocked at %d by %d", q, q.blockedAt,
		q.retrying.offset)
	check(q.refusal == nil || q.retrying.offset >= q.committed.next, "%s: refused at %d, committed", q, q.retrying.offset)
}

// empty tells that nothing waits.
func (q *queue) empty() bool {
	return !q.has && q.it.Left() == 0 && q.ahead.at == len(q.ahead.decoded) && q.first == len(q.batches)
}
