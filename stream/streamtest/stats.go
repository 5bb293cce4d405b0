package streamtest

import (
	"slices"
	"strings"

	"thalweg/internal/task"
	"thalweg/topology"
)

// Dropped is how many records were left out for a reason, by all nodes.
func (d *Driver) Dropped(why topology.Reason) (n int64) {
	d.each(func(s task.NodeStats) { n += s.Dropped[why] })
	return n
}

// DroppedTotal is how many records were left out in all.
func (d *Driver) DroppedTotal() (n int64) {
	for why := range topology.Reasons {
		n += d.Dropped(topology.Reason(why))
	}
	return n
}

// NodeStats is what a node has done, in all tasks since the application started. What a transaction counted that was
// dropped is left out.
type NodeStats struct {
	Processed int64
	Dropped   map[topology.Reason]int64 // reasons without a record are left out
}

// Node is what a node has done. If the topology has no node of that name, the test fails.
func (d *Driver) Node(name string) NodeStats {
	d.t.Helper()
	sum := NodeStats{Dropped: map[topology.Reason]int64{}}
	known, names := false, []string{}
	d.each(func(s task.NodeStats) {
		if s.Node != name {
			names = append(names, s.Node)
			return
		}
		known = true
		sum.Processed += s.Processed
		for why, n := range s.Dropped {
			if n > 0 {
				sum.Dropped[topology.Reason(why)] += n
			}
		}
	})
	if !known {
		slices.Sort(names)
		d.t.Fatalf("streamtest: the topology has no node %s; it has %s", name, strings.Join(slices.Compact(names), ", "))
	}
	return sum
}

func (d *Driver) each(f func(task.NodeStats)) {
	var s task.Stats
	for _, r := range d.all() {
		r.Stats(&s)
		for _, n := range s.Nodes {
			f(n)
		}
	}
}
