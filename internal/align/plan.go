package align

import (
	"maps"
	"slices"

	"thalweg/topology"
)

// Upstream is an input whose records go into a repartition topic, by as much older than their task's time at most.
type Upstream struct {
	Topic       string
	DelayMillis int64
}

// Reader is a sub-topology whose operators align: several tasks write what it reads.
type Reader struct {
	Sub          int
	Repartitions []string        // of its inputs
	Held         map[string]bool // other inputs, of which it takes nothing that is later than its time
	upstream     []Upstream
}

// Plan is what an application's cuts are made of, which follows from its topology.
type Plan struct {
	readers    []Reader
	from       map[string][]Upstream // of each repartition topic
	levels     [][]string            // the inputs upstream of readers, by how many repartitions are before them
	last       []string              // repartition topics that nothing upstream of a reader reads
	aligns     map[string]bool       // repartition topics that a reader reads
	delays     map[string]int64      // the longest of what goes into a repartition topic
	partitions map[string]int32
}

// New makes the plan of a topology. partitions are the counts of inputs, by durable name. It is nil where nothing is to
// be aligned.
func New(subs []*topology.Subtopology, applicationID string, partitions func(topic string) int32) *Plan {
	p := &Plan{from: map[string][]Upstream{}, aligns: map[string]bool{}, delays: map[string]int64{},
		partitions: map[string]int32{}}
	writers := map[string]map[int]int32{} // of a repartition topic: the tasks of each sub-topology
	for _, s := range subs {
		for _, n := range s.Nodes {
			if n.Kind != topology.KindSink || !n.Sink.Repartition {
				continue
			}
			name := n.Sink.In(applicationID)
			p.from[name] = merge(p.from[name], sourcesOf(n, applicationID))
			if writers[name] == nil {
				writers[name] = map[int]int32{}
			}
			writers[name][s.ID] = s.Tasks(applicationID, partitions)
		}
		for _, in := range s.Inputs {
			p.partitions[in.In(applicationID)] = partitions(in.In(applicationID))
		}
	}
	for topic, upstream := range p.from {
		for _, u := range upstream {
			p.delays[topic] = max(p.delays[topic], u.DelayMillis)
		}
	}
	for _, s := range subs {
		p.addReader(s, applicationID, writers)
	}
	if len(p.readers) == 0 {
		return nil
	}
	p.arrange()
	for i := range p.readers {
		p.hold(&p.readers[i])
	}
	return p
}

// Readers are the sub-topologies that align.
func (p *Plan) Readers() []Reader { return p.readers }

// Reader is a sub-topology's; nil: it does not align.
func (p *Plan) Reader(sub int) *Reader {
	if p == nil {
		return nil
	}
	for i := range p.readers {
		if p.readers[i].Sub == sub {
			return &p.readers[i]
		}
	}
	return nil
}

func (p *Plan) addReader(s *topology.Subtopology, applicationID string, writers map[string]map[int]int32) {
	r := Reader{Sub: s.ID, Held: map[string]bool{}}
	tasks := map[int]int32{}
	for _, in := range s.Inputs {
		name := in.In(applicationID)
		if in.Repartition && len(p.from[name]) > 0 {
			r.Repartitions = append(r.Repartitions, name)
			r.upstream = merge(r.upstream, p.from[name])
			maps.Copy(tasks, writers[name])
		} else {
			r.Held[name] = true
		}
	}
	n := int32(0)
	for _, count := range tasks {
		n += count
	}
	if n < 2 { // one task writes in its own order
		return
	}
	for _, name := range r.Repartitions {
		p.aligns[name] = true
	}
	p.readers = append(p.readers, r)
}

// sourcesOf are the inputs of the nodes before a sink, with the longest delay on the way.
func sourcesOf(sink *topology.Node, applicationID string) (all []Upstream) {
	longest := map[*topology.Node]int64{}
	var visit func(n *topology.Node, delay int64)
	visit = func(n *topology.Node, delay int64) {
		delay += n.DelayMillis
		if old, ok := longest[n]; ok && old >= delay {
			return
		}
		longest[n] = delay
		for _, topic := range n.Topics {
			all = merge(all, []Upstream{{topic.In(applicationID), delay}})
		}
		for _, parent := range n.Parents() {
			visit(parent, delay)
		}
	}
	visit(sink, 0)
	return all
}

// merge adds inputs to others. Of one that is in both the longer delay counts.
func merge(all, more []Upstream) []Upstream {
	for _, u := range more {
		if i := slices.IndexFunc(all, func(o Upstream) bool { return o.Topic == u.Topic }); i >= 0 {
			all[i].DelayMillis = max(all[i].DelayMillis, u.DelayMillis)
		} else {
			all = append(all, u)
		}
	}
	return all
}

// arrange puts the inputs upstream of readers in order.
func (p *Plan) arrange() {
	level := map[string]int{}
	var levelOf func(topic string) int
	levelOf = func(topic string) int {
		at, ok := level[topic]
		if !ok {
			for _, u := range p.from[topic] {
				at = max(at, levelOf(u.Topic)+1)
			}
			level[topic] = at
		}
		return at
	}
	needed := map[string]bool{}
	for _, r := range p.readers {
		for _, u := range p.upstreamOf(r.Repartitions) {
			needed[u] = true
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(needed)) {
		at := levelOf(topic)
		for len(p.levels) <= at {
			p.levels = append(p.levels, nil)
		}
		p.levels[at] = append(p.levels[at], topic)
	}
	for _, topic := range slices.Sorted(maps.Keys(p.aligns)) {
		if !needed[topic] {
			p.last = append(p.last, topic)
		}
	}
}

// upstreamOf are all inputs upstream of topics, through other repartitions, too.
func (p *Plan) upstreamOf(topics []string) []string {
	found := map[string]bool{}
	var visit func(topic string)
	visit = func(topic string) {
		for _, u := range p.from[topic] {
			if !found[u.Topic] {
				found[u.Topic] = true
				visit(u.Topic)
			}
		}
	}
	for _, topic := range topics {
		visit(topic)
	}
	return slices.Sorted(maps.Keys(found))
}

// hold takes out of the held inputs those that others wait for which they wait for themselves: nobody would go on.
func (p *Plan) hold(r *Reader) {
	for _, topic := range slices.Sorted(maps.Keys(r.Held)) {
		reached := map[string]bool{}
		var visit func(topic string)
		visit = func(held string) {
			for i := range p.readers {
				if o := &p.readers[i]; o.Held[held] {
					for _, u := range p.upstreamOf(o.Repartitions) {
						if !reached[u] {
							reached[u] = true
							visit(u)
						}
					}
				}
			}
		}
		if visit(topic); reached[topic] {
			delete(r.Held, topic)
		}
	}
}

func (p *Plan) partitionsOf(topics []string) (tps []Partition) {
	for _, topic := range topics {
		for n := range p.partitions[topic] {
			tps = append(tps, Partition{topic, n})
		}
	}
	return tps
}

// Goal is a cut as the task of a partition has it. A repartition that does not have the partition holds nothing back.
func (r *Reader) Goal(c *Cut, partition int32) Goal {
	g := Goal{Time: c.Time, Exhausted: c.Exhausted}
	for _, topic := range r.Repartitions {
		if end, ok := c.Ends[Partition{topic, partition}]; ok {
			g.Ends = append(g.Ends, end)
		}
	}
	return g
}
