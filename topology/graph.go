package topology

import (
	"errors"
	"slices"

	"thalweg/state"
)

// Topology is a checked graph, ready to run. It is immutable.
type Topology struct {
	nodes   []*Node // topological order
	subs    []*Subtopology
	globals []*Subtopology

	warnings []string
}

// Subtopology is a connected part of the graph: what one task per partition runs. Topics are its borders.
type Subtopology struct {
	ID      int
	Global  bool        // one task in each process runs it, over all partitions: see [Topology.Globals]
	Nodes   []*Node     // topological order
	Inputs  []TopicName // what its sources read, each once
	Outputs []TopicName // what its sinks write, where that is fixed
	Stores  []state.Store
	// Copartitioned are groups of inputs that must have equal partition counts.
	Copartitioned [][]TopicName
}

// Tasks is how many tasks the sub-topology has: one for each partition of its largest input. partitions tells how many
// a topic of that name has.
func (s *Subtopology) Tasks(applicationID string, partitions func(topic string) int32) (n int32) {
	for _, in := range s.Inputs {
		n = max(n, partitions(in.In(applicationID)))
	}
	return n
}

// RestoredFrom is the source whose topic restores a store, in place of a changelog. ok is false where none does.
func (s *Subtopology) RestoredFrom(store string) (source *Node, ok bool) {
	for _, n := range s.Nodes {
		if n.RowsFromTopic == store && len(n.Topics) > 0 {
			return n, true
		}
	}
	return nil, false
}

// New checks the nodes and puts them in order. All that is wrong is reported at once, the stores among it that a
// processor opens without being connected to them: see [Processor].
func New(nodes []*Node) (*Topology, error) {
	t := &Topology{nodes: slices.Clone(nodes)}
	errs := check(nodes)
	if err := t.order(); err != nil {
		errs = append(errs, err)
	} else {
		t.split()
		errs = append(errs, t.checkTopics()...)
		meetings, warnings := t.checkMeetings()
		errs, t.warnings = append(errs, meetings...), warnings
		errs = append(errs, t.rehearse()...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// Nodes are all nodes in topological order.
func (t *Topology) Nodes() []*Node { return t.nodes }

// Subtopologies are the parts of the graph that tasks share out by partition, numbered as listed.
func (t *Topology) Subtopologies() []*Subtopology { return t.subs }

// Globals are the parts of the graph that fill global stores, numbered by themselves.
func (t *Topology) Globals() []*Subtopology { return t.globals }

// Warnings say what may be wrong with the program. Each is one line that begins with the place in the program. An
// application logs them.
func (t *Topology) Warnings() []string { return t.warnings }

// GlobalStores are the stores of the globals.
func (t *Topology) GlobalStores() (stores []state.Store) {
	for _, s := range t.globals {
		stores = append(stores, s.Stores...)
	}
	return stores
}

// order sorts the nodes so that parents come first, and otherwise as they were made.
func (t *Topology) order() error {
	waiting := make(map[*Node]int, len(t.nodes))
	for _, n := range t.nodes {
		waiting[n] = len(n.parents)
	}
	sorted := make([]*Node, 0, len(t.nodes))
	for len(sorted) < len(t.nodes) {
		before := len(sorted)
		for _, n := range t.nodes {
			if waiting[n] != 0 {
				continue
			}
			waiting[n] = -1
			n.id = len(sorted)
			n.behind = slices.ContainsFunc(n.Topics, func(t TopicName) bool { return t.Repartition }) ||
				slices.ContainsFunc(n.parents, func(p *Node) bool { return p.behind })
			sorted = append(sorted, n)
			for _, c := range n.children {
				waiting[c]--
			}
		}
		if len(sorted) == before {
			return errors.New("topology: the nodes form a cycle: only a topic can lead back")
		}
	}
	t.nodes = sorted
	return nil
}

// split finds the connected parts: by edges, by shared stores, by sources of the same topic.
func (t *Topology) split() {
	part := make([]int, len(t.nodes)) // union-find over node ids
	for i := range part {
		part[i] = i
	}
	root := func(i int) int {
		for part[i] != i {
			part[i] = part[part[i]]
			i = part[i]
		}
		return i
	}
	join := func(a, b int) { // the lower id stays root, so that parts are numbered in order of their first node
		a, b = root(a), root(b)
		part[max(a, b)] = min(a, b)
	}
	byStore, byTopic := map[string]int{}, map[TopicName]int{}
	for _, n := range t.nodes {
		for _, c := range n.children {
			join(n.id, c.id)
		}
		for _, s := range n.Stores {
			joinFirst(byStore, s.Name(), n.id, join)
		}
		if n.Global {
			continue // each global store follows its topic by itself
		}
		for _, topic := range n.Topics {
			joinFirst(byTopic, topic, n.id, join)
		}
	}
	byRoot := map[int]*Subtopology{}
	for _, n := range t.nodes {
		r := root(n.id)
		if byRoot[r] == nil {
			list := &t.subs
			if n.Global {
				list = &t.globals
			}
			byRoot[r] = &Subtopology{ID: len(*list), Global: n.Global}
			*list = append(*list, byRoot[r])
		}
		byRoot[r].add(n)
	}
	for _, s := range t.subs {
		s.copartition()
	}
}

func joinFirst[K comparable](first map[K]int, key K, id int, join func(a, b int)) {
	if other, ok := first[key]; ok {
		join(other, id)
		return
	}
	first[key] = id
}

func (s *Subtopology) add(n *Node) {
	s.Nodes = append(s.Nodes, n)
	for _, topic := range n.Topics {
		if !slices.Contains(s.Inputs, topic) {
			s.Inputs = append(s.Inputs, topic)
		}
	}
	if n.Kind == KindSink && n.Sink.Name != "" && !slices.Contains(s.Outputs, n.Sink) {
		s.Outputs = append(s.Outputs, n.Sink)
	}
	for _, st := range n.Stores {
		at := slices.IndexFunc(s.Stores, func(o state.Store) bool { return o.Name() == st.Name() })
		if at < 0 {
			s.Stores = append(s.Stores, st)
			continue
		}
		s.Stores[at] = state.Fuller(s.Stores[at], st)
	}
}

// copartition groups the inputs that meet in a node which needs equal keys in equal partitions.
func (s *Subtopology) copartition() {
	reach := map[*Node][]TopicName{}
	for _, n := range s.Nodes {
		set := slices.Clone(n.Topics)
		for _, p := range slices.Concat(n.parents, n.Beside) {
			for _, t := range reach[p] {
				if !slices.Contains(set, t) {
					set = append(set, t)
				}
			}
		}
		reach[n] = set
		known := func(o []TopicName) bool { return covers(o, set) }
		if n.ByKey && len(set) > 1 && !slices.ContainsFunc(s.Copartitioned, known) {
			s.Copartitioned = slices.DeleteFunc(s.Copartitioned, func(o []TopicName) bool { return covers(set, o) })
			s.Copartitioned = append(s.Copartitioned, set)
		}
	}
}

// covers tells whether every topic of part is one of all.
func covers(all, part []TopicName) bool {
	return !slices.ContainsFunc(part, func(t TopicName) bool { return !slices.Contains(all, t) })
}
