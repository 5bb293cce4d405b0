package oracle

import (
	"thalweg/state"
	"thalweg/stream"
)

func (b *builder) joinStreams() {
	l, r := b.joined(0), b.joined(1)
	grace := int64(0)
	if b.n.Grace != nil {
		grace = *b.n.Grace
	}
	within := stream.Around(0, ms(grace)).Before(ms(b.n.Before)).After(ms(b.n.After))
	if b.n.Ms > 0 { // no scenario of Kafka Streams
		within = within.BoundedByLeft(untilLength)
	}
	f := joiner(b.n.Joiner)
	name := "auto-" + b.n.ID
	var out streamOf
	switch b.n.Type {
	case "inner":
		out = l.Try().Join(r, within, name, keyed(f))
	case "left":
		out = l.Try().LeftJoin(r, within, name, leftKeyed(f))
	default:
		out = l.Try().OuterJoin(r, within, name, func(_ *stream.Call, k str, l, r *str) (str, error) {
			return f(k, deref(l), deref(r)), nil
		})
	}
	b.put(flow{out, false})
}

func (b *builder) joinStreamTable() {
	f := joiner(b.n.Joiner)
	s := b.joined(0)
	t := b.table(1)
	switch {
	case b.n.Grace != nil:
		b.joinAsOf(s, t)
	case b.n.Type == "left":
		b.put(flow{s.Try().LeftJoinTable(t, leftKeyed(f)), false})
	default:
		b.put(flow{s.Try().JoinTable(t, keyed(f)), false})
	}
}

// global names a global table's store. A processor that connects to it is refused, as by Kafka Streams.
func (b *builder) global() state.KV[str, str] {
	st := b.kv()
	if b.n.Store == nil {
		return st
	}
	b.stores[st.Name()] = func(r *run) []row { return rowsOf(r, st, same) }
	return st
}

func (b *builder) joinGlobal() {
	f, key := joiner(b.n.Joiner), keyFunc(b.n.Key)
	s, t := b.stream(0), b.in(1).(stream.GlobalTable[str, str])
	by := func(k, v str) (str, bool) { return key(k, v), true }
	if b.n.Type == "left" {
		join := func(l str, r *str) str { return f(nil, l, deref(r)) }
		b.put(flow{s.LeftJoinGlobal(t, by, join), s.moved})
		return
	}
	b.put(flow{s.JoinGlobal(t, by, func(l, r str) str { return f(nil, l, r) }), s.moved})
}

func (b *builder) joinAsOf(s streamOf, t tableOf) {
	f := joiner(b.n.Joiner)
	row, name := stream.AtOrBefore(ms(*b.n.Grace)), "auto-"+b.n.ID
	if b.n.Type == "left" {
		b.put(flow{s.Try().LeftJoinAsOf(t, row, name, leftKeyed(f)), false})
		return
	}
	b.put(flow{s.Try().JoinAsOf(t, row, name, keyed(f)), false})
}

// keyed is a joiner of an inner join.
func keyed(f func(k, l, r str) str) func(c *stream.Call, k, l, r str) (str, error) {
	return func(_ *stream.Call, k, l, r str) (str, error) { return f(k, l, r), nil }
}

// leftKeyed is a joiner of a left join.
func leftKeyed(f func(k, l, r str) str) func(c *stream.Call, k, l str, r *str) (str, error) {
	return func(_ *stream.Call, k, l str, r *str) (str, error) { return f(k, l, deref(r)), nil }
}

func (b *builder) joinForeign() {
	f, fk := joiner(b.n.Joiner), keyFunc(b.n.FK)
	foreign := func(k, v str) (str, bool) {
		key := fk(k, v)
		return key, key != nil
	}
	l, r, name := b.table(0), b.table(1), "auto-"+b.n.ID
	var t tableOf
	if b.n.Type == "left" {
		t = l.LeftJoinForeign(r, foreign, name, func(l str, r *str) str { return f(nil, l, deref(r)) }).Emit(b.emit)
	} else {
		t = l.JoinForeign(r, foreign, name, func(l, r str) str { return f(nil, l, r) }).Emit(b.emit)
	}
	b.put(b.materialized(t))
}

func (b *builder) suppression() stream.Suppression {
	name := "auto-" + b.n.ID
	if b.n.Until == "windowClose" {
		return stream.UntilWindowCloses(name)
	}
	p := stream.UntilTimeLimit(ms(b.n.Ms), name)
	if b.n.MaxRecords > 0 {
		p = p.RecordsMax(b.n.MaxRecords)
	}
	return p
}

func (b *builder) cogroup() {
	var c stream.Cogrouped[str, str]
	for i := range b.n.In {
		add := aggregator(b.n.Adders[i])
		in := b.in(i).(*group)
		side := b.n
		b.n.ID = side.ID + string(rune('a'+i)) // each input has a repartition of its own
		g := b.grouped(in).Emit(b.emit)
		b.n = side
		if i == 0 {
			c = g.Cogroup(add)
		} else {
			c = c.With(g, add)
		}
	}
	w := b.n.Window
	switch {
	case w == nil:
		b.put(c.Aggregate(b.kv(), initial(b.n.Init)))
	case w.Type == "session":
		m := reducer(b.n.Merger)
		b.put(c.Sessions(stream.SessionGap(ms(w.Gap), ms(w.Grace))).Aggregate(sessionStore(b, same), initial(b.n.Init),
			func(_ str, a, o str) str { return m(a, o) }))
	default:
		b.put(c.Windowed(w.dsl()).Aggregate(windowStore(b, same), initial(b.n.Init)))
	}
}
