package oracle

import (
	"fmt"
	"iter"
	"strings"
	"time"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

type (
	streamOf = stream.Stream[str, str]
	tableOf  = stream.Table[str, str]
	topicOf  = stream.Topic[str, str]
)

// flow is a stream with what Kafka Streams knows of it: whether a key-based op has to repartition it first.
type flow struct {
	streamOf
	moved bool
}

// group is a grouped stream before its repartition, which is made for each aggregation.
type group struct {
	flow
	name  string
	ready *stream.Grouped[str, str] // made by an aggregation before, under a name
}

// builder turns nodes into calls of the DSL.
type builder struct {
	s      *scenario
	b      *stream.Builder
	env    map[string]any
	stores map[string]func(d *run) []row                      // how to read the named stores
	looks  map[string]func(*context) (func(k str) str, error) // how processors read them
	named  map[string]state.Store
	joins  map[string]streamOf // repartitions of streams that are joined, by the stream's node
	peek   func(node string, k, v str)

	refused func() // counts what a processor's store did not take
	n       node
	emit    stream.Emit
	windows time.Duration // see mode.keep
}

func topic(name string) topicOf { return stream.NewTopic[str, str](name) }

func newBuilder(s *scenario, dsl *stream.Builder) *builder {
	b := &builder{
		s: s, b: dsl, env: map[string]any{}, stores: map[string]func(*run) []row{},
		looks: map[string]func(*context) (func(str) str, error){}, named: map[string]state.Store{},
		joins: map[string]streamOf{},
		peek:  func(string, str, str) {}, emit: stream.OnUpdate,
	}
	if s.Config.Cache == "on" {
		b.emit = stream.OnCommit
	}
	return b
}

func (b *builder) build() (topo *topology.Topology, err error) {
	for _, b.n = range b.s.Nodes {
		b.add()
	}
	return b.b.Build()
}

func (b *builder) in(i int) any { return b.env[b.n.In[i]] }

func (b *builder) stream(i int) flow { return b.in(i).(flow) }

func (b *builder) table(i int) tableOf {
	t, ok := b.in(i).(tableOf)
	if !ok {
		b.missing(fmt.Sprintf("on %T", b.in(i)))
	}
	return t
}

// put names what the node made. A table that a scenario keeps in a versioned store is kept there behind its operator.
func (b *builder) put(x any) {
	t, ok := x.(tableOf)
	if ok && b.isVersioned() && b.n.Op != "table" && b.n.Op != "toTable" {
		x = t.MaterializeVersioned(b.versioned())
	}
	b.env[b.n.ID] = x
}

func (b *builder) missing(what string) {
	op := b.n.Op
	if w := b.n.Window; w != nil {
		op += "." + w.Type
	}
	if b.n.Emit != "" {
		op += "." + b.n.Emit
	}
	if what != "" {
		op += " " + what
	}
	panic(unknown("op", op))
}

// kv names the node's store; its rows are compared when the scenario names it.
func (b *builder) kv() state.KV[str, str] {
	if b.n.Store == nil || b.isVersioned() {
		return state.NewKV[str, str]("auto-" + b.n.ID)
	}
	st := state.NewKV[str, str](b.n.Store.Name)
	b.keep(st)
	return st
}

func (b *builder) keep(st state.KV[str, str]) {
	b.named[st.Name()] = st
	b.stores[st.Name()] = func(r *run) []row { return rowsOf(r, st, func(v str) str { return v }) }
	b.looks[st.Name()] = func(h *context) (func(str) str, error) {
		kv, err := st.Open(h)
		return func(k str) str {
			if k == nil {
				return nil
			}
			v, _, _, err := kv.Get(k)
			if err != nil {
				panic(err)
			}
			return v
		}, err
	}
}

func (b *builder) counts() state.KV[str, int64] {
	if b.n.Store == nil || b.isVersioned() {
		return state.NewKV[str, int64]("auto-" + b.n.ID)
	}
	st := state.NewKV[str, int64](b.n.Store.Name)
	b.named[st.Name()] = st
	b.stores[st.Name()] = func(r *run) []row { return rowsOf(r, st, func(n int64) str { return dec(n) }) }
	b.looks[st.Name()] = func(h *context) (func(str) str, error) {
		kv, err := st.Open(h)
		return func(k str) str {
			if k == nil {
				return nil
			}
			n, _, ok, err := kv.Get(k)
			if err != nil {
				panic(err)
			}
			if !ok {
				return nil
			}
			return dec(n)
		}, err
	}
	return st
}

// keyed is the stream as a key-based op needs it.
func (b *builder) keyed(f flow) streamOf {
	if !f.moved {
		return f.streamOf
	}
	return f.Repartition("auto-" + b.n.ID)
}

// joined is an input as a join needs it: all joins of a stream share the repartition that the first one makes.
func (b *builder) joined(i int) streamOf {
	id, f := b.n.In[i], b.stream(i)
	if !f.moved {
		return f.streamOf
	}
	s, ok := b.joins[id]
	if !ok {
		s = f.Repartition("auto-join-" + id)
		b.joins[id] = s
	}
	return s
}

func (b *builder) add() {
	if b.onWindows() || b.onBeyond() {
		return
	}
	switch b.n.Op {
	case "stream":
		b.source()
	case "table":
		b.tableSource()
	case "globalTable":
		b.put(b.b.GlobalTable(topic(b.n.Topic), b.global()))
	case "filter", "filterNot":
		b.filter()
	case "map", "mapValues", "flatMap", "flatMapValues", "selectKey":
		b.maps()
	case "peek", "foreach", "merge", "split", "repartition", "to":
		b.plumbing()
	case "process", "processValues":
		b.process()
	case "toTable":
		s := b.keyed(b.stream(0))
		if b.isVersioned() {
			b.put(s.ToVersionedTable(b.versioned()))
		} else {
			b.toTable(s)
		}
	case "toStream":
		b.toStream()
	case "transformValues":
		f := valueFunc(b.n.Fn)
		b.put(b.materialized(b.table(0).TransformValues(func(k str, v *str) str { return f(k, deref(v)) })))
	case "groupByKey":
		b.put(&group{flow: b.stream(0), name: b.n.Name})
	case "groupBy":
		key := keyFunc(b.n.Key)
		f := b.stream(0)
		b.put(&group{flow: flow{f.SelectKey(key), true}, name: b.n.Name})
	case "groupTable":
		f := pairFunc(b.n.Fn)
		name := b.n.Name
		if name == "" {
			name = "auto-" + b.n.ID
		}
		b.put(b.table(0).GroupBy(name, func(k, v str) (str, str) {
			k, v, ok := f(k, v)
			if !ok {
				return nil, nil
			}
			return k, v
		}))
	case "count", "reduce", "aggregate":
		b.aggregate()
	case "joinStreams":
		b.joinStreams()
	case "joinStreamTable":
		b.joinStreamTable()
	case "joinGlobal":
		b.joinGlobal()
	case "joinTables":
		b.joinTables()
	case "fkJoin":
		b.joinForeign()
	case "cogroup":
		b.cogroup()
	case "suppress":
		b.put(b.table(0).Suppress(b.suppression()))
	default:
		b.missing("")
	}
}

func (b *builder) source() {
	var topics []topicOf
	for _, name := range b.n.Topics {
		t := topic(name)
		switch b.n.Timestamps {
		case "value":
			t = t.Timestamps(func(r topology.Record[str, str], _ int64) int64 { return num(r.Value) })
		case "valueOrPartitionTime":
			t = t.Timestamps(func(r topology.Record[str, str], partitionTime int64) int64 {
				if ts := num(r.Value); ts >= 0 {
					return ts
				}
				return max(0, partitionTime)
			})
		}
		topics = append(topics, t)
	}
	if b.n.Timestamps == "value" || b.n.Timestamps == "valueOrPartitionTime" {
		s := b.b.Stream(topics[0])
		for _, t := range topics[1:] {
			s = s.Merge(b.b.Stream(t))
		}
		b.put(flow{s, false})
		return
	}
	b.put(flow{b.b.Stream(topics...), false})
}

func (b *builder) filter() {
	f := predicate(b.n.Pred)
	not := b.n.Op == "filterNot"
	switch x := b.in(0).(type) {
	case flow:
		if not {
			b.put(flow{x.FilterNot(f), x.moved})
		} else {
			b.put(flow{x.Filter(f), x.moved})
		}
	default:
		t := b.table(0)
		if not {
			t = t.FilterNot(f)
		} else {
			t = t.Filter(f)
		}
		b.put(b.materialized(t))
	}
}

// materialized keeps a table under the node's name, where it has one.
func (b *builder) materialized(t tableOf) tableOf {
	if b.n.Store == nil || b.isVersioned() {
		return t
	}
	return t.Materialize(b.kv()).Emit(b.emit)
}

func (b *builder) maps() {
	if b.n.Op == "mapValues" {
		f := valueFunc(b.n.Fn)
		full := func(_ *stream.Call, k, v str) (str, error) { return f(k, v), nil }
		if x, ok := b.in(0).(flow); ok {
			b.put(flow{x.Try().MapValues(full), x.moved})
			return
		}
		b.put(b.materialized(b.table(0).Try().MapValues(full)))
		return
	}
	x := b.stream(0)
	switch b.n.Op {
	case "map":
		f := pairFunc(b.n.Fn)
		b.put(flow{x.Map(func(k, v str) (str, str) {
			k, v, ok := f(k, v)
			if !ok {
				panic(failedOn("The provided KeyValueMapper returned null which is not allowed."))
			}
			return k, v
		}), true})
	case "flatMap":
		f := flatPairs(b.n.Fn)
		b.put(flow{x.FlatMap(func(k, v str) iter.Seq2[str, str] {
			return func(yield func(str, str) bool) {
				for _, p := range f(k, v) {
					if !yield(p.k, p.v) {
						return
					}
				}
			}
		}), true})
	case "flatMapValues":
		f := flatValues(b.n.Fn)
		b.put(flow{x.FlatMapValues(func(v str) iter.Seq[str] {
			return func(yield func(str) bool) {
				for _, o := range f(v) {
					if !yield(o) {
						return
					}
				}
			}
		}), x.moved})
	case "selectKey":
		b.put(flow{x.SelectKey(keyFunc(b.n.Key)), true})
	}
}

func (b *builder) plumbing() {
	x := b.stream(0)
	id := b.n.ID
	see := func(k, v str) { b.peek(id, k, v) }
	switch b.n.Op {
	case "peek":
		b.put(flow{x.Peek(see), x.moved})
	case "foreach":
		x.ForEach(see)
	case "merge":
		for i := range b.n.In[1:] { // one by one: a stream that comes again later counts again
			o := b.stream(i + 1)
			x = flow{x.Merge(o.streamOf), x.moved || o.moved}
		}
		b.put(x)
	case "split":
		var when []func(k, v str) bool
		for _, br := range b.n.Branches {
			when = append(when, predicate(br.Pred))
		}
		out := x.Split(when...)
		for i, br := range b.n.Branches {
			b.env[br.ID] = flow{out[i], x.moved}
		}
		if b.n.Default != "" {
			b.env[b.n.Default] = flow{out[len(when)], x.moved}
		}
	case "repartition":
		name := b.n.Name
		if name == "" {
			name = "auto-" + id
		}
		b.put(flow{x.Repartition(name), false})
	case "to":
		if b.n.TopicBy != "" {
			f := keyFunc(b.n.TopicBy)
			x.ToDynamic(func(k, v str) string { return topicNamed(show(f(k, v))) })
			return
		}
		x.To(topic(b.n.Topic))
	}
}

func (b *builder) toTable(s streamOf) {
	if b.n.Store != nil {
		b.put(s.ToTable(b.kv()).Emit(b.emit))
		return
	}
	b.put(s.ToLazyTable(b.kv()).Emit(b.emit))
}

func (b *builder) toStream() {
	t := b.table(0)
	s := t.ToStream()
	if b.n.Key != "" {
		b.put(flow{s.SelectKey(keyFunc(b.n.Key)), true})
		return
	}
	b.put(flow{s, false})
}

func (b *builder) process() {
	x := b.stream(0)
	parts := strings.Split(b.n.Proc, ":")
	made := proc{name: parts[0], args: parts[1:]}
	var stores []state.Store
	if parts[0] == "versioned" {
		st := b.versioned()
		made.history, made.refused = &st, b.refused
		stores = append(stores, st)
	}
	if ownsStore(b.n.Proc) {
		st := state.NewKV[str, str](b.n.Store.Name)
		made.store = &st
		stores = append(stores, st)
		b.stores[st.Name()] = func(r *run) []row {
			rows := rowsOf(r, st, func(v str) str { return v })
			for i := range rows {
				rows[i].TS = nil
			}
			return rows
		}
	}
	if b.n.Reads != "" {
		st, ok := b.named[b.n.Reads]
		if !ok {
			b.missing("reads " + b.n.Reads)
		}
		made.look = b.looks[b.n.Reads]
		stores = append(stores, st)
	}
	supply := func() topology.Processor[str, str, str, str] { p := made; return &p }
	if b.n.Op == "process" {
		b.put(flow{x.Process(supply, stores...), true})
	} else {
		b.put(flow{x.ProcessValues(supply, stores...), x.moved})
	}
}

// grouped makes the repartition that Kafka Streams makes for each aggregation of a group, or once for a named one.
func (b *builder) grouped(g *group) stream.Grouped[str, str] {
	if g.ready != nil {
		return *g.ready
	}
	s := g.streamOf
	if g.moved {
		name := g.name
		if name == "" {
			name = "auto-" + b.n.ID
		}
		s = s.Repartition(name)
	}
	out := s.GroupByKey()
	if g.name != "" {
		g.ready = &out
	}
	return out
}

func decimal(n int64) str { return dec(n) }

func (b *builder) aggregate() {
	if b.n.Window != nil {
		b.windowed()
		return
	}
	if gt, ok := b.in(0).(stream.GroupedTable[str, str]); ok {
		gt = gt.Emit(b.emit)
		switch b.n.Op {
		case "count":
			b.put(gt.Count(b.counts()).MapValues(decimal))
		case "reduce":
			b.put(gt.Reduce(b.kv(), reducer(b.n.Adder), reducer(b.n.Subtractor)))
		default:
			b.put(gt.Aggregate(b.kv(), initial(b.n.Init), aggregator(b.n.Adder), aggregator(b.n.Subtractor)))
		}
		return
	}
	g := b.grouped(b.in(0).(*group)).Emit(b.emit)
	switch b.n.Op {
	case "count":
		b.put(g.Count(b.counts()).MapValues(decimal))
	case "reduce":
		b.put(g.Reduce(b.kv(), reducer(b.n.Adder)))
	default:
		b.put(g.Aggregate(b.kv(), initial(b.n.Init), aggregator(b.n.Adder)))
	}
}

func deref(p *str) str {
	if p == nil {
		return nil
	}
	return *p
}

func (b *builder) joinTables() {
	f := joiner(b.n.Joiner)
	l, r := b.table(0), b.table(1)
	var t tableOf
	switch b.n.Type {
	case "inner":
		t = l.Join(r, func(l, r str) str { return f(nil, l, r) })
	case "left":
		t = l.LeftJoin(r, func(l str, r *str) str { return f(nil, l, deref(r)) })
	default:
		t = l.OuterJoin(r, func(l, r *str) str { return f(nil, deref(l), deref(r)) })
	}
	b.put(b.materialized(t))
}
