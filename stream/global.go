package stream

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// GlobalTable is a table that every process has all of: streams look rows up in it by any key, wherever their own
// keys lie. It is a small value.
type GlobalTable[K, V any] struct {
	n  *node
	st state.KV[K, V]
}

// Named names the operator that fills the table, in metrics, drawings and error texts.
func (t GlobalTable[K, V]) Named[N ~string](name N) GlobalTable[K, V] {
	t.n.named(string(name))
	return t
}

// GlobalTable reads all partitions of a topic as a table, kept in a store that every task of the process reads. It is
// read to its end before the first record is processed, and followed from then on without regard to the times of
// records elsewhere: a join sees what has arrived. A null value deletes a row; a record without a key is dropped and
// counted. The topic itself is what the store is restored from.
func (b *Builder) GlobalTable[K, V any](t Topic[K, V], st state.KV[K, V]) GlobalTable[K, V] {
	site := caller()
	source := globalSource(b, site, "GlobalTable", t, st)
	keys, values := t.Serdes()
	st = st.Inherit(keys, values)
	mustLive(b, site, "GlobalTable", st)
	n := b.add("global-table", "global-table-"+st.Name(), &topology.Node{
		Kind: topology.KindProcessor, Site: site, Stores: []state.Store{st}, Global: true,
		Make: op.Table(st, op.Rows{Pace: new(op.OnUpdate), Old: new(bool)}),
	}, source)
	return GlobalTable[K, V]{n, st}
}

// Filler is a processor that fills global stores: nothing comes out of it.
type Filler[K, V any] = topology.Processor[K, V, struct{}, struct{}]

// GlobalStore fills a store that every task of the process reads, store.Read(context.Globals()), by a processor of the
// program's own: p makes one for each process, and it opens the store like any other. The processor sees all records
// of the topic since the store began, but for those that compaction took away: those before a restart again only where
// the store on disk was lost.
func (b *Builder) GlobalStore[K, V any, P Filler[K, V]](t Topic[K, V], p func() P, st state.Store) {
	site := caller()
	source := globalSource(b, site, "GlobalStore", t, st)
	n := topology.NewProcessor("", site, []state.Store{st}, topology.MakerOf[K, V, struct{}, struct{}](p))
	n.Global = true
	b.add("global-store", "global-store-"+st.Name(), n, source)
}

// JoinGlobal joins each record with the table's row under the key that key names; records without such a key or row go
// nowhere. The result keeps the stream's key and time. Changes of the table join nothing by themselves.
func (s Stream[K, V]) JoinGlobal[GK, GV, R any](
	t GlobalTable[GK, GV], key func(K, V) (GK, bool), f func(V, GV) R,
) Stream[K, R] {
	s.n.needs("JoinGlobal", key == nil, f == nil)
	return joinGlobal(s, "JoinGlobal", t, pairOfTwo(key), false,
		func(_ *topology.Call, _ K, v V, g *GV) (R, error) { return f(v, *g), nil })
}

// LeftJoinGlobal joins each record with the table's row under the key that key names, or with nil. The pointer is valid
// during the call.
func (s Stream[K, V]) LeftJoinGlobal[GK, GV, R any](
	t GlobalTable[GK, GV], key func(K, V) (GK, bool), f func(V, *GV) R,
) Stream[K, R] {
	s.n.needs("LeftJoinGlobal", key == nil, f == nil)
	return joinGlobal(s, "LeftJoinGlobal", t, pairOfTwo(key), true, ofValues[K](f))
}

func joinGlobal[K, V, GK, GV, R any](
	s Stream[K, V], method string, t GlobalTable[GK, GV], key func(*topology.Call, K, V) (GK, bool, error), left bool,
	f func(*topology.Call, K, V, *GV) (R, error),
) Stream[K, R] {
	n := s.n.builder().add("join-global", "", &topology.Node{
		Kind: topology.KindProcessor, Site: caller(), ChangesValue: true,
		Make: op.JoinGlobal(op.GlobalLookup[K, V, GK, GV]{Store: t.st, Key: key, Null: serde.NullOf[GK]()}, left, f),
	}, s.n)
	n.relaxed = left
	n.sameBuilder(t.n, method)
	return Stream[K, R]{n: n, keys: s.keys}
}
