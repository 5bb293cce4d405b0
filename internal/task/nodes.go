package task

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"thalweg/topology"
)

// nodes are those of the task's sub-topology: a graph, which is made when the stores are restored, and anew after a
// Discard. What the nodes have counted goes on.
type nodes struct {
	id        ID
	env       *topology.Env
	graph     *topology.Graph                // nil: it is not made, or closed
	seen      atomic.Pointer[topology.Graph] // the graph, once it is made: any goroutine
	settling  []*topology.Instance           // those that may hold records back, parents first
	committed []counters                     // per node; nil: nothing ran yet
	sealed    []counters                     // of the commit under way
}

// counters are what a node has counted.
type counters struct {
	processed int64
	dropped   [topology.Reasons]int64
	lateMax   int64
}

// build makes the graph. Counters are those of the last commit.
func (n *nodes) build(subs []*topology.Subtopology) (err error) {
	if n.graph, err = topology.Build(n.env, subs...); err != nil {
		return fmt.Errorf("task %s: %w", n.id, err)
	}
	n.seen.Store(n.graph)
	n.settling = n.settling[:0]
	for _, in := range n.graph.Instances {
		if in.Settle != nil {
			n.settling = append(n.settling, in)
		}
	}
	for i, c := range n.committed {
		in := n.graph.Instances[i]
		in.Processed, in.Dropped, in.LateMax = c.processed, c.dropped, c.lateMax
	}
	return nil
}

// settle brings out what nodes hold back, and tells whether there was something.
func (n *nodes) settle() (some bool, err error) {
	for _, in := range n.settling {
		held, err := in.Settle()
		if err != nil {
			return some, err
		}
		some = some || held
	}
	return some, nil
}

// timeMoved tells the nodes that the stream time has gone on without a record.
func (n *nodes) timeMoved() error {
	for _, in := range n.graph.Instances {
		if in.TimeMoved == nil {
			continue
		}
		in.Resume()
		if err := n.callTimeMoved(in); err != nil {
			return err
		}
	}
	return nil
}

func (n *nodes) callTimeMoved(in *topology.Instance) (err error) {
	if !n.env.Guarded { // a panic is caught by the step
		return in.TimeMoved()
	}
	defer func() {
		if v := recover(); v != nil {
			in.Resume()
			err = in.Handle(topology.PhaseProcess, n.env.StreamTime, n.env.Recovered(v))
		}
	}()
	return in.TimeMoved()
}

// seal notes what the nodes have counted, for the next commit.
func (n *nodes) seal() { n.sealed = n.count(n.sealed) }

// advance tells that what was sealed is committed.
func (n *nodes) advance() { n.committed, n.sealed = n.sealed, n.committed }

// count returns what the nodes have counted, in the memory of an older count.
func (n *nodes) count(older []counters) []counters {
	counts := slices.Grow(older[:0], len(n.graph.Instances))
	for _, in := range n.graph.Instances {
		counts = append(counts, counters{in.Processed, in.Dropped, in.LateMax})
	}
	return counts
}

// stats adds the figures of the nodes to others.
func (n *nodes) stats(s []NodeStats) []NodeStats {
	if n.graph == nil {
		return s
	}
	for _, in := range n.graph.Instances {
		s = append(s, NodeStats{in.Node.Name, in.Processed, in.Dropped, in.LateMax, in.Timed(), in.Time()})
	}
	return s
}

// setCommitted replaces what was counted with what was up to the last commit.
func (n *nodes) setCommitted(s []NodeStats) {
	for i := range s {
		c := counters{}
		if n.committed != nil {
			c = n.committed[i]
		}
		s[i].Processed, s[i].Dropped, s[i].LateMax = c.processed, c.dropped, c.lateMax
	}
}

// close calls each node's Close once, parents first.
func (n *nodes) close() error {
	if n.graph == nil {
		return nil
	}
	var errs []error
	for _, in := range n.graph.Instances {
		if in.Close == nil {
			continue
		}
		if err := n.closeNode(in); err != nil {
			errs = append(errs, fmt.Errorf("task %s: node %s: close: %w", n.id, in.Node.Name, err))
		}
	}
	n.graph, n.settling = nil, nil
	return errors.Join(errs...)
}

func (n *nodes) closeNode(in *topology.Instance) (err error) {
	defer func() {
		if v := recover(); v != nil {
			in.Resume()
			err = n.env.Recovered(v)
		}
	}()
	f := in.Close
	in.Close = nil
	return f()
}
