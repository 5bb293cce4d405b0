package stream

import "thalweg/topology"

// innerTopic is a topic of the application's own. One operator writes and reads it; the result is what it reads.
type innerTopic struct {
	b                  *Builder
	site, method, name string
	sink, source       *node
	keyed              []*node // those that encode its keys
}

// newInner checks the name of a topic of the application's own. What is wrong is reported once: the topic gets another
// name, with which the topology has nothing to complain about.
func (b *Builder) newInner(site, method, name string) *innerTopic {
	err := topology.CheckName(name)
	at, known := b.repartitions[name]
	switch {
	case err != nil:
		b.fail(site, "%s: %w", method, err)
		name = b.refused()
	case known:
		b.fail(site, "%s: %q is there already (%s): give each a name of its own, or use the stream that the first one "+
			"returned", method, name, at)
		name = b.refused()
	}
	b.repartitions[name] = site
	return &innerTopic{b: b, site: site, method: method, name: name, source: &node{}}
}

func (t *innerTopic) topic() topology.TopicName {
	return topology.TopicName{Name: t.name, Repartition: true}
}

// byKey adds the node that gives the records the keys under which they go through the topic.
func (t *innerTopic) byKey(parent *node, kind string, m topology.Make) *node {
	n := t.b.addPart(t.source, "key", "repartition-"+t.name+"-key", &topology.Node{
		Kind: topology.KindProcessor, Site: t.site, Make: m, Pure: true,
	}, parent).moves(t.method)
	n.kind = kind
	return n
}

// connect adds the nodes that write and read the topic.
func (t *innerTopic) connect(sink, source *topology.Node, parents ...*node) {
	t.sink = t.b.addPart(t.source, "sink", "repartition-"+t.name+"-sink", sink, parents...)
	t.b.put(t.source, "repartition", "repartition-"+t.name+"-source", source)
	t.source.inner, t.keyed = t, append(t.keyed, t.sink, t.source)
	t.sink.op, t.source.op = t.method, t.method
}
