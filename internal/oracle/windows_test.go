package oracle

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"thalweg/state"
	"thalweg/stream"
)

type windowTableOf = stream.WindowTable[str, str]

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// rendered is a windowed key as functions and topics see it.
func rendered(k str, w stream.Span) str { return ptr(fmt.Sprintf("%s@%d/%d", show(k), w.Start, w.End)) }

func (b *builder) windowTable(i int) windowTableOf {
	t, ok := b.in(i).(windowTableOf)
	if !ok {
		b.missing(fmt.Sprintf("on %T", b.in(i)))
	}
	return t
}

func (b *builder) closing() stream.Emit {
	if b.n.Emit == "close" {
		return stream.OnClose
	}
	return b.emit
}

func (w *window) dsl() stream.Window {
	grace := ms(w.Grace)
	switch w.Type {
	case "tumbling":
		return stream.Tumbling(ms(w.Size), grace)
	case "hopping":
		return stream.Hopping(ms(w.Size), ms(w.Advance), grace)
	case "sliding":
		return stream.Sliding(ms(w.Diff), grace)
	case "custom":
		return stream.Custom(turns{}, grace)
	case "unlimited":
		return stream.Unlimited(time.UnixMilli(w.Start))
	}
	panic(unknown("window", w.Type))
}

// end is where a stored window ends, as Kafka's stores say it.
func (w *window) end(start int64) int64 {
	switch w.Type {
	case "sliding":
		return start + w.Diff
	case "unlimited":
		return math.MaxInt64
	}
	return start + w.Size
}

// retained is how long the node's store keeps windows, as the scenario or the mode says; 0: as long as it needs them.
func (b *builder) retained() time.Duration {
	switch {
	case b.n.Store != nil && b.n.Store.RetentionMs > 0:
		return ms(b.n.Store.RetentionMs)
	case b.n.Window.Type == "unlimited":
		return 0
	}
	return b.windows
}

func windowStore[V any](b *builder, text func(V) str) state.Windowed[str, V] {
	name := "auto-" + b.n.ID
	if b.n.Store != nil {
		name = b.n.Store.Name
	}
	st := state.NewWindowed[str, V](name)
	if keep := b.retained(); keep > 0 {
		st = st.Retain(keep)
	}
	if b.n.Store == nil {
		return st
	}
	w := b.n.Window
	b.stores[st.Name()] = func(r *run) []row {
		rows := []row{}
		for _, e := range r.d.Windows(st) {
			start, end, ts := e.Start, w.end(e.Start), e.Timestamp
			rows = append(rows, row{Key: *e.Key, Start: &start, End: &end, Value: text(e.Value), TS: &ts})
		}
		sortRows(rows)
		return rows
	}
	return st
}

func sessionStore[V any](b *builder, text func(V) str) state.Session[str, V] {
	name := "auto-" + b.n.ID
	if b.n.Store != nil {
		name = b.n.Store.Name
	}
	st := state.NewSession[str, V](name)
	if keep := b.retained(); keep > 0 {
		st = st.Retain(keep)
	}
	if b.n.Store == nil {
		return st
	}
	b.stores[st.Name()] = func(r *run) []row {
		rows := []row{}
		for _, e := range r.d.Sessions(st) {
			start, end := e.Start, e.End
			rows = append(rows, row{Key: *e.Key, Start: &start, End: &end, Value: text(e.Value)})
		}
		sortRows(rows)
		return rows
	}
	return st
}

func sortRows(rows []row) {
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(*a.Start, *b.Start), cmp.Compare(*a.End, *b.End))
	})
}

func same(v str) str { return v }

func (b *builder) windowed() {
	w := b.n.Window
	g := b.grouped(b.in(0).(*group))
	if w.Type == "session" {
		s := g.Sessions(stream.SessionGap(ms(w.Gap), ms(w.Grace))).Emit(b.closing())
		switch b.n.Op {
		case "count":
			b.put(s.Count(sessionStore(b, decimal)).MapValues(decimal))
		case "reduce":
			b.put(s.Reduce(sessionStore(b, same), reducer(b.n.Adder)))
		default:
			m := reducer(b.n.Merger)
			b.put(s.Aggregate(sessionStore(b, same), initial(b.n.Init), aggregator(b.n.Adder),
				func(_ str, a, o str) str { return m(a, o) }))
		}
		return
	}
	s := g.Windowed(w.dsl()).Emit(b.closing())
	switch b.n.Op {
	case "count":
		b.put(s.Count(windowStore(b, decimal)).MapValues(decimal))
	case "reduce":
		b.put(s.Reduce(windowStore(b, same), reducer(b.n.Adder)))
	default:
		b.put(s.Aggregate(windowStore(b, same), initial(b.n.Init), aggregator(b.n.Adder)))
	}
}

// onWindows builds an operator of a table with windowed keys; false: it is another op's turn.
func (b *builder) onWindows() bool {
	if len(b.n.In) == 0 {
		return false
	}
	t, ok := b.in(0).(windowTableOf)
	if !ok {
		return false
	}
	if b.n.Store != nil {
		b.missing("of windows with a store")
	}
	switch b.n.Op {
	case "filter", "filterNot":
		f := predicate(b.n.Pred)
		pass := func(k str, w stream.Span, v str) bool { return f(rendered(k, w), v) }
		if b.n.Op == "filter" {
			b.put(t.Filter(pass))
		} else {
			b.put(t.FilterNot(pass))
		}
	case "mapValues":
		f := valueFunc(b.n.Fn)
		b.put(t.Try().MapValues(func(_ *stream.Call, k str, w stream.Span, v str) (str, error) {
			return f(rendered(k, w), v), nil
		}))
	case "toStream":
		s := t.ToStream(rendered)
		if b.n.Key != "" {
			s = s.SelectKey(keyFunc(b.n.Key))
		}
		b.put(flow{s, true})
	case "groupTable":
		f := pairFunc(b.n.Fn)
		name := b.n.Name
		if name == "" {
			name = "auto-" + b.n.ID
		}
		b.put(t.GroupBy(name, func(k str, w stream.Span, v str) (str, str) {
			k, v, ok := f(rendered(k, w), v)
			if !ok {
				return nil, nil
			}
			return k, v
		}))
	case "suppress":
		b.put(t.Suppress(b.suppression()))
	case "joinTables":
		f := joiner(b.n.Joiner)
		r := b.windowTable(1)
		switch b.n.Type {
		case "inner":
			b.put(t.Join(r, func(l, r str) str { return f(nil, l, r) }))
		case "left":
			b.put(t.LeftJoin(r, func(l str, r *str) str { return f(nil, l, deref(r)) }))
		default:
			b.put(t.OuterJoin(r, func(l, r *str) str { return f(nil, deref(l), deref(r)) }))
		}
	default:
		b.missing("of windows")
	}
	return true
}
