package stream_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// partial is a topic of partial counts.
var partial = stream.NewTopic[string, int64]("app-words-repartition")

func grouped(rules ...stream.Rule) *stream.Builder {
	b := stream.NewBuilder()
	b.Stream(in).GroupBy("words", func(k, _ string) string { return k }).Count(byWord).ToStream().To(counts)
	if len(rules) > 0 {
		b.OptimizeWith(rules...)
	}
	return b
}

func TestCountsAreCombinedBeforeARepartition(t *testing.T) {
	d := drive(t, grouped(stream.CombineCounts))
	d.manual = true
	for i, key := range []string{"a", "b", "", "a", "c", "a", ""} {
		put(d, in, key, "", int64(10-i))
	}
	del(d, in, "a", 99) // no value: not counted
	require.Empty(t, got(d, partial), "they wait for the commit")
	d.commit()
	put(d, in, "e", "", 1) // the partial counts are processed with it
	require.Equal(t, []string{"a=3@10", "b=1@9", "=2@8", "c=1@6"}, got(d, partial))
	d.commit()
	require.ElementsMatch(t, []string{"a=3@10", "b=1@9", "=2@8", "c=1@6"}, got(d, counts))
	require.EqualValues(t, 1, d.dropped(topology.NullValue))

	put(d, in, "b", "", 3)
	d.commit()
	put(d, in, "d", "", 4)
	d.commit()
	require.ElementsMatch(t, []string{"b=2@9", "e=1@1"}, got(d, counts), "rows keep the latest time")
}

func TestRecordsWithoutAKeyAreNotCombined(t *testing.T) {
	b := stream.NewBuilder().OptimizeWith(stream.CombineCounts)
	pin := stream.NewTopic[string, *string]("in")
	b.Stream(pin).GroupBy("words", func(_ string, v *string) *string { return v }).Count(state.NewKV[*string, int64]("n"))
	d := drive(t, b)
	del(d, pin, "k", 1)
	require.EqualValues(t, 1, d.dropped(topology.NullKey))
	require.Empty(t, d.outputs)
}

// TestCombinedCountsAreThoseOfEachRecord counts what comes in every way: few keys and many, keys that are too long to
// be held back, more keys than are held back at a time, and so many that combining rests.
func TestCombinedCountsAreThoseOfEachRecord(t *testing.T) {
	const seed = 7
	for name, keys := range map[string]int{"few": 50, "many": 60_000, "all": 1 << 40} {
		rng := rand.New(rand.NewPCG(seed, 1))
		d := drive(t, grouped(stream.CombineCounts))
		d.manual = true
		want := map[string]int64{}
		const records = 150_000
		for i := range records {
			key := fmt.Sprint(rng.IntN(keys))
			if rng.IntN(500) == 0 {
				key = strings.Repeat("long", 100)
			}
			want[key]++
			put(d, in, key, "", int64(i))
			if rng.IntN(20_000) == 0 {
				d.commit()
			}
		}
		d.commit()
		put(d, in, "", "", records)
		d.commit()
		last := map[string]int64{}
		for _, r := range d.outputs["counts"] {
			n, err := (serde.Int64{}).Decode(r.value)
			require.NoError(t, err)
			last[string(r.key)] = n
		}
		delete(last, "")
		require.Equal(t, want, last, "%s keys, seed %d", name, seed)
		written := len(d.outputs["app-words-repartition"])
		if name == "few" {
			require.Less(t, written, records/20)
		}
	}
}

func TestCountsAreCombinedOnlyWhereNothingElseIsAsked(t *testing.T) {
	key := func(k, _ string) string { return k }
	for name, build := range map[string]func(b *stream.Builder){
		"each update is emitted, says the group": func(b *stream.Builder) {
			b.Stream(in).GroupBy("words", key).Emit(stream.OnUpdate).Count(byWord)
		},
		"each update is emitted, says the table": func(b *stream.Builder) {
			b.Stream(in).GroupBy("words", key).Count(byWord).Emit(stream.OnUpdate)
		},
		"each update is emitted, says the builder": func(b *stream.Builder) {
			b.Stream(in).GroupBy("words", key).Count(byWord)
			b.Emit(stream.OnUpdate)
		},
		"rows have a time to live": func(b *stream.Builder) {
			b.Stream(in).GroupBy("words", key).Count(byWord.TTL(ms))
		},
		"another operator reads the topic": func(b *stream.Builder) {
			g := b.Stream(in).GroupBy("words", key)
			g.Count(byWord)
			g.Reduce(state.NewKV[string, string]("last"), func(_, v string) string { return v })
		},
		"no topic lies before it": func(b *stream.Builder) { b.Stream(in).GroupByKey().Count(byWord) },
	} {
		b := stream.NewBuilder()
		build(b)
		text, err := b.Explain()
		require.NoError(t, err, name)
		require.NotContains(t, text, "combine", name)
	}
	b := grouped()
	text, err := b.Explain()
	require.NoError(t, err)
	require.Regexp(t, `(?s)Steps\ncombine counts: "words" \(.*combine_test.go:\d+\) holds partial counts for `+
		`count-by-word \(.*combine_test.go:\d+\)\n.*sub-topology 0 combines what it writes to words`, text)
	names := repartitions(t, b)
	require.Equal(t, names, repartitions(t, b.OptimizeWith(stream.CombineCounts)))
	require.True(t, slices.Contains(names, "words"))
}
