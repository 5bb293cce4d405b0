package oracle

import (
	"cmp"
	stdcontext "context"
	"iter"
	"strings"
	"time"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
)

// onBeyond builds the ops that Kafka Streams does not have: random topologies have them, no corpus.
func (b *builder) onBeyond() bool {
	switch b.n.Op {
	case "mapAsync":
		x, f := b.stream(0), valueFunc(b.n.Fn)
		b.put(flow{x.MapAsync(3, func(_ stdcontext.Context, k, v str) (str, error) { return f(k, v), nil }), x.moved})
	case "deduplicate":
		x := b.keyed(b.stream(0))
		d := stream.DuplicatesWithin(time.Hour)
		if b.n.Ms > 0 {
			d = stream.DuplicatesWithin(ms(b.n.Ms)).Extend()
		}
		b.put(flow{x.Deduplicate(d, "auto-"+b.n.ID, keyFunc(b.n.Key)), false})
	case "topTable":
		gt := b.in(0).(stream.GroupedTable[str, str]).Emit(b.emit)
		st := state.NewKV[str, []str]("auto-" + b.n.ID).Values(serde.JSON[[]str]())
		b.put(gt.Top(st, 2, func(v, o str) int { return cmp.Compare(show(v), show(o)) }).MapValues(joined))
	case "batch":
		x := b.keyed(b.stream(0))
		b.put(flow{x.Batch(3, 0, "auto-"+b.n.ID, func(_ str, vs []str) str {
			return joined(vs)
		}), false})
	default:
		return false
	}
	return true
}

func joined(vs []str) str {
	shown := make([]string, len(vs))
	for i, v := range vs {
		shown[i] = show(v)
	}
	return ptr(strings.Join(shown, "+"))
}

// turns are windows of 7 and of 9 ms by turns, which overlap and leave times out.
type turns struct{}

func (turns) Assign(ts int64) iter.Seq[stream.Span] {
	return func(yield func(stream.Span) bool) {
		for start := max(ts-ts%12-12, 0); start <= ts; start += 12 {
			for _, w := range []stream.Span{{Start: start, End: start + 7}, {Start: start + 5, End: start + 14}} {
				if w.Start <= ts && ts < w.End && !yield(w) {
					return
				}
			}
		}
	}
}

func (turns) SizeMax() time.Duration { return ms(9) }

// untilLength bounds what a record meets by the length of its value.
func untilLength(v str) (from, to time.Time) {
	return from, time.UnixMilli(int64(5 + len(show(v))*20%90))
}
