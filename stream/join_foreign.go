package stream

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// JoinForeign joins each row with the row of the other table that it names: fk answers false where it names none. The
// name is that of two internal topics and of the store of who is interested in whom, which are durable. The result is
// kept as that of [Builder.LazyTable] is.
func (t Table[K, V]) JoinForeign[FK comparable, FV, R any](
	o Table[FK, FV], fk func(K, V) (FK, bool), name string, f func(V, FV) R, emit ...Emit,
) Table[K, R] {
	return joinForeign(t, "JoinForeign", o, pairOfTwo(fk), name, false, emit,
		func(_ *topology.Call, _ K, v V, fv *FV) (R, error) { return f(v, *fv), nil })
}

// LeftJoinForeign joins each row with the row of the other table that it names, or with nil where there is none or it
// names none. The pointer is valid during the call.
func (t Table[K, V]) LeftJoinForeign[FK comparable, FV, R any](
	o Table[FK, FV], fk func(K, V) (FK, bool), name string, f func(V, *FV) R, emit ...Emit,
) Table[K, R] {
	return joinForeign(t, "LeftJoinForeign", o, pairOfTwo(fk), name, true, emit, ofValues[K](f))
}

func joinForeign[K, V, FK, FV, R any](
	t Table[K, V], method string, o Table[FK, FV], fk func(*topology.Call, K, V) (FK, bool, error),
	name string, left bool, emit []Emit, f func(*topology.Call, K, V, *FV) (R, error),
) Table[K, R] {
	site, b := caller(), t.n.b
	mustBeKept(t.n, t.view != nil, method, site)
	mustBeKept(o.n, o.view != nil, method, site)
	keys, values := serdesOr(t.keys, t.values)
	foreignKeys, foreignValues := serdesOr(o.keys, o.values)
	t.n.needOld()
	o.n.needOld()

	own := op.ForeignLeft[K, V, FK]{
		Name: name, Foreign: fk, Left: left, Keys: keys, Values: values, ForeignKeys: foreignKeys,
	}
	subscribe := t.n.then("foreign-subscribe", op.Subscribe(own)).moves(method)
	registration := topology.TopicName{Name: name + "-subscription-registration", Repartition: true}
	subscribe = repartition(subscribe, method, registration.Name, registration, foreignKeys,
		serde.Serde[op.Subscription](op.Subscriptions{}))

	st := state.NewKV[[]byte, op.Subscription](name + "-subscription-store").Keys(serde.Bytes{}).Values(op.Subscriptions{})
	b.own(st, site)
	c := op.ForeignConfig[K, FK, FV]{Store: st, Keys: keys, ForeignKeys: foreignKeys, Table: o.view}
	reads := union([]state.Store{st}, o.reads)
	subscribed := b.add("foreign-subscribed", "", &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: reads, ByKey: true, Beside: []*topology.Node{o.n.Node},
		Make: op.Subscribed(c),
	}, subscribe)
	subscribed.relaxed = left
	changed := b.add("foreign-changed", "", &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: reads, ByKey: true, Beside: []*topology.Node{subscribe.Node},
		Make: op.TellSubscribers(c),
	}, o.n)

	answer := topology.TopicName{Name: name + "-subscription-response", Repartition: true}
	responses := serde.Serde[op.Response[FV]](op.Responses[FV]{Rows: foreignValues})
	b.add("repartition", b.free("repartition-"+answer.Name+"-sink"), topology.NewSink("", site,
		topology.SinkConfig[K, op.Response[FV]]{
			Topic: answer, Keys: keys, Values: responses,
			PartitionOf: func(r *topology.Record[K, op.Response[FV]], _ int32) int32 { return r.Value.Partition },
		}), subscribed, changed)
	back := b.add("repartition", b.free("repartition-"+answer.Name+"-source"), topology.NewSource("", site,
		topology.SourceConfig[K, op.Response[FV]]{Topics: []topology.TopicName{answer}, Keys: keys, Values: responses}))
	joined := b.add("foreign-join", "", &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: t.reads, ByKey: true, Beside: []*topology.Node{t.n.Node},
		Make: op.JoinResponse(own, t.view, f),
	}, back)
	return lazyTable(joined, site, method, "foreign-table-"+name, state.NewKV[K, R](name+"-result").Keys(keys), emit)
}
