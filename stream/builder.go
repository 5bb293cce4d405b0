package stream

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"thalweg/internal/invariant"
	"thalweg/internal/plan"
	"thalweg/state"
	"thalweg/topology"
)

// Topology is what Build returns.
type Topology = topology.Topology

// Builder gathers the operators of an application. It is used by one goroutine.
type Builder struct {
	graph   *topology.Builder // has the nodes, in the order in which they were made
	nodes   []*node
	sources map[string][]*node
	taps    []*tap
	emit    Emit
	rules   []plan.Rule
	errs    []error

	children     map[siblings]int         // nodes so far
	given        map[string]*node         // by the name that the program gave it
	owned        map[string]string        // store → where the operator that writes it was made
	repartitions map[string]string        // topic → where the operator that writes it was made
	wrapped      map[*topology.Node]*node // of the graph
	placeholders map[string]bool          // names in the place of those that were refused
}

// NewBuilder returns an empty builder.
func NewBuilder() *Builder {
	b := &Builder{
		sources: map[string][]*node{}, children: map[siblings]int{}, given: map[string]*node{},
		owned: map[string]string{}, repartitions: map[string]string{}, wrapped: map[*topology.Node]*node{},
		placeholders: map[string]bool{},
	}
	b.graph = topology.NewBuilderFor(b.finish)
	return b
}

// Emit sets when operators emit for which the program sets nothing else; otherwise [OnCommit]. It holds for operators
// that were made before, too.
func (b *Builder) Emit(e Emit) *Builder {
	e.mustNotClose(b, caller(), "Builder.Emit")
	b.emit = e
	return b
}

// Build checks what was built and returns it as a topology. It reports every mistake, each once and with the line that
// made it.
func (b *Builder) Build() (*Topology, error) { return b.mustBeNew().graph.Build() }

// mustBeNew refuses a builder that NewBuilder did not return.
func (b *Builder) mustBeNew() *Builder {
	if b == nil || b.graph == nil {
		invariant.Misuse("%s: this builder is a zero value: use what NewBuilder returned", caller())
	}
	return b
}

// finish makes the topology. The errors are the graph's.
func (b *Builder) finish(errs []error) (*Topology, error) {
	nodes, more := b.made()
	errs = slices.Concat(more, errs)
	if len(nodes) == 0 && len(errs) == 0 {
		return nil, errors.New("stream: the builder is empty: begin with Stream or Table")
	}
	nodes, _ = plan.Optimize(nodes, b.rules...)
	t, err := topology.New(nodes)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return t, nil
}

// made are copies of the nodes as the settings have them, with the mistakes that the DSL knows of.
func (b *Builder) made() ([]*topology.Node, []error) {
	for _, t := range b.taps {
		t.mustBeUsed(b)
	}
	b.nameNodes()
	b.setPaces()
	b.dropNullKeys()
	return topology.Clone(b.graph.Nodes()), slices.Concat(b.errs, b.checkSerdes())
}

// fail records a mistake in the call that site made.
func (b *Builder) fail(site, format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf("%s: %w", site, fmt.Errorf(format, args...)))
}

// refused is a name in the place of one that was refused: there is nothing wrong with it, so that no other check
// reports the same mistake again.
func (b *Builder) refused() string {
	name := "refused-" + strconv.Itoa(len(b.placeholders)+1)
	b.placeholders[name] = true
	return name
}

// topicName checks the name of a topic that a call reads or writes.
func (b *Builder) topicName(site, method, name string) string {
	if err := topology.CheckTopicName(name); err != nil {
		b.fail(site, "%s: topic: %w", method, err)
		return b.refused()
	}
	return name
}

// durableName checks a name from which those of stores and topics are made.
func (b *Builder) durableName(site, method, name string) string {
	if err := topology.CheckName(name); err != nil {
		b.fail(site, "%s: %w", method, err)
		return b.refused()
	}
	return name
}

// own records that an operator is the one that writes a store.
func (b *Builder) own(n *node, st state.Store) {
	if o, ok := b.owned[st.Name()]; ok {
		b.fail(n.Site, "store %q is written by another operator already (%s): give each a name of its own", st.Name(), o)
		n.Stores = slices.DeleteFunc(slices.Clone(n.Stores), func(o state.Store) bool { return o.Name() == st.Name() })
		return
	}
	b.owned[st.Name()] = n.Site
}

// dropNullKeys lets the sinks of repartitions leave out what has no key, except where a join downstream takes it, and
// except those of the subscriptions of left joins by a foreign key: a row need not name one.
func (b *Builder) dropNullKeys() {
	readers := map[topology.TopicName][]*topology.Node{}
	relaxed := map[*topology.Node]bool{}
	for _, n := range b.nodes {
		relaxed[n.Node] = n.relaxed
		for _, t := range n.Topics {
			readers[t] = append(readers[t], n.Node)
		}
	}
	seen := map[*topology.Node]bool{}
	var reaches func(n *topology.Node) bool
	reaches = func(n *topology.Node) bool {
		if relaxed[n] && n.Kind != topology.KindSink {
			return true
		}
		if seen[n] {
			return false
		}
		seen[n] = true
		next := n.Children()
		if n.Kind == topology.KindSink && n.Sink.Repartition {
			next = readers[n.Sink]
		}
		for _, c := range next {
			if reaches(c) {
				return true
			}
		}
		return false
	}
	for _, n := range b.nodes {
		if n.Kind == topology.KindSink && n.Sink.Repartition {
			clear(seen)
			n.DropNullKeys = !n.relaxed && !reaches(n.Node)
		}
	}
}
