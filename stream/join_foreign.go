package stream

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// JoinForeign joins each row with the row of the other table that it names: fk answers false where it names none. The
// name is durable: it is that of two internal topics, and of the store of which rows name which. The result is kept as
// that of [Builder.LazyTable] is; [Table.Emit] and [Table.Values] are settings of it.
func (t Table[K, V]) JoinForeign[FK comparable, FV, R any](
	o Table[FK, FV], fk func(K, V) (FK, bool), name string, f func(V, FV) R,
) Table[K, R] {
	t.n.needs("JoinForeign", fk == nil, f == nil)
	return joinForeign(t, "JoinForeign", o, pairOfTwo(fk), name, false,
		func(_ *topology.Call, _ K, v V, fv *FV) (R, error) { return f(v, *fv), nil })
}

// LeftJoinForeign joins each row with the row of the other table that it names, or with nil where there is none or it
// names none. The pointer is valid during the call. See [Table.JoinForeign].
func (t Table[K, V]) LeftJoinForeign[FK comparable, FV, R any](
	o Table[FK, FV], fk func(K, V) (FK, bool), name string, f func(V, *FV) R,
) Table[K, R] {
	t.n.needs("LeftJoinForeign", fk == nil, f == nil)
	return joinForeign(t, "LeftJoinForeign", o, pairOfTwo(fk), name, true, ofValues[K](f))
}

func joinForeign[K, V, FK, FV, R any](
	t Table[K, V], method string, o Table[FK, FV], fk func(*topology.Call, K, V) (FK, bool, error),
	name string, left bool, f func(*topology.Call, K, V, *FV) (R, error),
) Table[K, R] {
	site, b := caller(), t.n.builder()
	name = b.durableName(site, method, name)
	mustBeKept(t.n, t.view != nil, method, site)
	mustBeKept(o.n, o.view != nil, method, site)
	keys, values := serdesOr(t.keys, t.values)
	foreignKeys, foreignValues := serdesOr(o.keys, o.values)
	t.n.needOld()
	o.n.needOld()
	result := &node{}
	part := func(suffix string, n *topology.Node, parents ...*node) *node {
		n.Kind, n.Site = topology.KindProcessor, site
		p := b.addPart(result, suffix, "foreign-"+name+"-"+suffix, n, parents...)
		p.op = method
		return p
	}

	own := op.ForeignLeft[K, V, FK]{
		Name: name, Foreign: fk, Left: left, Keys: keys, Values: values, ForeignKeys: foreignKeys,
	}
	subscribe := part("subscribe", &topology.Node{Make: op.Subscribe(own), Pure: true}, t.n).moves(method)
	registration := b.newInner(site, method, name+"-subscription-registration")
	repartition(registration, foreignKeys, serde.Serde[op.Subscription](op.Subscriptions{}), subscribe)
	registration.source.partOf(result, "registration")

	st := state.NewKV[[]byte, op.Subscription](name + "-subscription-store").Keys(serde.Bytes{}).Values(op.Subscriptions{})
	c := op.ForeignConfig[K, FK, FV]{Store: st, Keys: keys, ForeignKeys: foreignKeys, Table: o.view}
	reads := union([]state.Store{st}, o.reads)
	subscribed := part("subscribed", &topology.Node{
		Stores: reads, ByKey: true, Beside: []*topology.Node{o.n.Node}, Make: op.Subscribed(c),
	}, registration.source)
	b.own(subscribed, st)
	registration.sink.relaxed = left
	changed := part("changed", &topology.Node{
		Stores: reads, ByKey: true, Beside: []*topology.Node{registration.source.Node}, Make: op.TellSubscribers(c),
	}, o.n)

	response := b.newInner(site, method, name+"-subscription-response")
	responses := serde.Serde[op.Response[FV]](op.Responses[FV]{Rows: foreignValues})
	response.connect(topology.NewSink("", site, topology.SinkConfig[K, op.Response[FV]]{
		Topic: response.topic(), Keys: keys, Values: responses,
		PartitionOf: func(r *topology.Record[K, op.Response[FV]], _ int32) int32 { return r.Value.Partition },
	}), topology.NewSource("", site, topology.SourceConfig[K, op.Response[FV]]{
		Topics: []topology.TopicName{response.topic()}, Keys: keys, Values: responses,
	}), subscribed, changed)
	response.source.Placed = true
	response.source.partOf(result, "response")
	joined := part("join", &topology.Node{
		Stores: t.reads, ByKey: true, Beside: []*topology.Node{t.n.Node}, Make: op.JoinResponse(own, t.view, f),
	}, response.source)
	return foreignTable[K, R](result, joined, site, method, name, keys)
}

// foreignTable is the table of the results of a join, kept in a store of its own where somebody needs them.
func foreignTable[K, R any](
	result, joined *node, site, method, name string, keys serde.Serde[K],
) Table[K, R] {
	st := state.NewKV[K, R](name + "-result").Keys(keys)
	t := lazyTableOf(result, joined, site, method, "foreign-table-"+name, &st)
	result.recode = func(values serde.Serde[R]) Table[K, R] {
		if len(result.Stores) > 0 {
			result.b.fail(caller(), "Values: the rows of %s (%s) are read by another operator already: set their serde "+
				"before it", method, site)
		}
		st = st.Values(values)
		return stored(result, st)
	}
	return t
}
