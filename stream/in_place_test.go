package stream_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
)

// tally is an aggregate that functions may change in place.
type tally struct{ N int }

// tallies are functions that change their aggregate, or leave it and return another.
type tallies struct{ inPlace bool }

func (f tallies) plus(a *tally, n int) *tally {
	if f.inPlace {
		a.N += n
		return a
	}
	return &tally{a.N + n}
}

func (f tallies) one(_, _ string, a *tally) *tally        { return f.plus(a, 1) }
func (f tallies) two(a, b *tally) *tally                  { return f.plus(a, b.N) }
func (f tallies) less(a, b *tally) *tally                 { return f.plus(a, -b.N) }
func (f tallies) merge(_ string, a, b *tally) *tally      { return f.plus(a, b.N) }
func (f tallies) add(_ string, v *tally, a *tally) *tally { return f.plus(a, v.N) }
func (f tallies) sub(_ string, v *tally, a *tally) *tally { return f.plus(a, -v.N) }

func noTally() *tally { return &tally{} }

// regrouped sums up the rows of a table: it needs the old ones.
func regrouped(t stream.Table[string, *tally]) stream.Table[string, *tally] {
	return t.GroupBy("regrouped", func(_ string, v *tally) (string, *tally) { return "all", v }).Emit(stream.OnUpdate).
		Aggregate(state.NewKV[string, *tally]("sum"), noTally, tallies{}.add, tallies{}.sub)
}

func regroupedWindows(t stream.WindowTable[string, *tally]) stream.Table[string, *tally] {
	return t.GroupBy("regrouped", func(_ string, _ stream.Span, v *tally) (string, *tally) { return "all", v }).
		Emit(stream.OnUpdate).Aggregate(state.NewKV[string, *tally]("sum"), noTally, tallies{}.add, tallies{}.sub)
}

func TestOldRowsOutliveFunctionsThatChangeAggregates(t *testing.T) {
	type made = stream.Table[string, *tally]
	kv := state.NewKV[string, *tally]("kv")
	windows := state.NewWindowed[string, *tally]("windows")
	sessions := state.NewSession[string, *tally]("sessions")
	tumbling, hopping := stream.Tumbling(10*ms, 0), stream.Hopping(10*ms, 5*ms, 50*ms)
	sliding := stream.Sliding(5*ms, 50*ms)
	gap := stream.SessionGap(2*ms, 50*ms)
	group := func(b *stream.Builder) stream.Grouped[string, string] {
		return b.Stream(in).GroupByKey().Emit(stream.OnUpdate)
	}
	ones := func(b *stream.Builder) stream.Grouped[string, *tally] {
		return b.Stream(in).MapValues(func(string) *tally { return &tally{1} }).GroupByKey().Emit(stream.OnUpdate)
	}
	byGroup := func(b *stream.Builder) stream.GroupedTable[string, *tally] {
		return group(b).Aggregate(kv, noTally, tallies{}.one).
			GroupBy("grouped", func(k string, v *tally) (string, *tally) { return k[:1], v }).Emit(stream.OnUpdate)
	}
	cogroup := func(b *stream.Builder, f tallies) stream.Cogrouped[string, *tally] {
		return group(b).Cogroup(f.one).Emit(stream.OnUpdate)
	}
	grouped := state.NewKV[string, *tally]("of-groups")
	for name, build := range map[string]func(*stream.Builder, tallies) made{
		"aggregate": func(b *stream.Builder, f tallies) made { return regrouped(group(b).Aggregate(kv, noTally, f.one)) },
		"reduce":    func(b *stream.Builder, f tallies) made { return regrouped(ones(b).Reduce(kv, f.two)) },
		"aggregate of a table": func(b *stream.Builder, f tallies) made {
			return regrouped(byGroup(b).Aggregate(grouped, noTally, f.add, f.sub))
		},
		"reduce of a table": func(b *stream.Builder, f tallies) made {
			return regrouped(byGroup(b).Reduce(grouped, f.two, f.less))
		},
		"tumbling": func(b *stream.Builder, f tallies) made {
			return regroupedWindows(group(b).Windowed(tumbling).Aggregate(windows, noTally, f.one))
		},
		"hopping": func(b *stream.Builder, f tallies) made {
			return regroupedWindows(ones(b).Windowed(hopping).Reduce(windows, f.two))
		},
		"sliding": func(b *stream.Builder, f tallies) made {
			return regroupedWindows(group(b).Windowed(sliding).Aggregate(windows, noTally, f.one))
		},
		"sliding reduce": func(b *stream.Builder, f tallies) made {
			return regroupedWindows(ones(b).Windowed(sliding).Reduce(windows, f.two))
		},
		"sessions": func(b *stream.Builder, f tallies) made {
			return regroupedWindows(group(b).Sessions(gap).Aggregate(sessions, noTally, f.one, f.merge))
		},
		"session reduce": func(b *stream.Builder, f tallies) made {
			return regroupedWindows(ones(b).Sessions(gap).Reduce(sessions, f.two))
		},
		"cogroup": func(b *stream.Builder, f tallies) made { return regrouped(cogroup(b, f).Aggregate(kv, noTally)) },
		"windowed cogroup": func(b *stream.Builder, f tallies) made {
			return regroupedWindows(cogroup(b, f).Windowed(hopping).Aggregate(windows, noTally))
		},
		"session cogroup": func(b *stream.Builder, f tallies) made {
			return regroupedWindows(cogroup(b, f).Sessions(gap).Aggregate(sessions, noTally, f.merge))
		},
	} {
		t.Run(name, func(t *testing.T) {
			sums := func(f tallies) []string {
				b := stream.NewBuilder()
				build(b, f).ToStream().MapValues(func(v *tally) int64 { return int64(v.N) }).To(counts)
				d := drive(t, b)
				for i, key := range []string{"x", "x", "y", "x", "x", "y"} {
					put(d, in, key, "", int64(20+3*i%7))
				}
				return got(d, counts)
			}
			want := sums(tallies{})
			require.GreaterOrEqual(t, len(want), 6)
			require.Equal(t, want, sums(tallies{inPlace: true}))
		})
	}
}
