package stream

import (
	"math"

	"thalweg/topology"
)

// This file has what the settings of an operator do, for all types of the DSL that have them: see
// docs/adr/0005-one-shape-for-settings.md. They change the operator that made a value, and Build reads them.

// partitioned is Partitions for each type that has it.
func (n *node) partitioned(count int) {
	b, site := n.builder(), caller()
	switch {
	case n.inner == nil:
		b.fail(site, "Partitions: it is a setting of Repartition and GroupBy, but %s (%s) has no topic of its own", n.op,
			n.Site)
	case count < 1 || count > math.MaxInt32:
		b.fail(site, "Partitions: %d partitions: it takes one or more, and %d at most", count, math.MaxInt32)
	default:
		n.inner.sink.Sink.Partitions = int32(count)
		n.inner.source.Topics[0].Partitions = int32(count)
	}
}

// emitting is Emit for tables.
func (n *node) emitting(e Emit) {
	b, site := n.builder(), caller()
	switch {
	case !n.emits:
		b.fail(site, "Emit: %s (%s) has no emit policy: set it on the group or the table that keeps the rows, or "+
			"Materialize this table", n.op, n.Site)
	case e >= OnClose:
		e.mustNotClose(b, site, "Emit")
	default:
		n.emit = e
	}
}

// encodeKeys makes a serde the one of the keys in the node's own topic, if it has one.
func (n *node) encodeKeys(keys any) {
	if n.mustHaveSerde("Keys", keys) && n.inner != nil {
		for _, o := range n.inner.keyed {
			o.Keys = keys
		}
	}
}

// encodeValues makes a serde the one of the values in the node's own topic, if it has one.
func (n *node) encodeValues(values any) {
	if n.mustHaveSerde("Values", values) && n.inner != nil {
		n.inner.sink.Values, n.inner.source.Values = values, values
	}
}

func (n *node) mustHaveSerde(method string, serde any) bool {
	b := n.builder()
	if serde == nil {
		b.fail(caller(), "%s: the serde is nil: pass one", method)
	}
	return serde != nil
}

// setPaces decides when nodes that keep rows emit.
func (b *Builder) setPaces() {
	for _, n := range b.nodes {
		if !n.emits {
			continue
		}
		emit := n.emit
		if emit == byDefault {
			emit = b.emit
		}
		n.pace = emit.pace()
		if n.Combined = n.combined; emit == OnUpdate {
			n.Combined = nil // each record has a result of its own
		}
	}
}

// checkSerdes reports serdes of topics that can never work, once for each topic that a call reads or writes.
func (b *Builder) checkSerdes() (errs []error) {
	for _, n := range b.nodes {
		what := ""
		switch {
		case n.Kind == topology.KindSource && b.placeholders[n.Topics[0].Name], b.placeholders[n.Sink.Name]:
			continue
		case n.Kind == topology.KindSource && n.inner != nil:
			what = n.op + " " + n.Topics[0].Name
		case n.Kind == topology.KindSource:
			what = n.op + ": topic " + n.Topics[0].Name
		case n.Kind == topology.KindSink && n.Sink.Name == "":
			what = n.op
		case n.Kind == topology.KindSink && !n.Sink.Repartition:
			what = n.op + ": topic " + n.Sink.Name
		default:
			continue
		}
		errs = append(errs, checkCodec(n.Site, what, n.Keys, n.Values, n.Kind == topology.KindSink || n.inner != nil)...)
	}
	return errs
}
