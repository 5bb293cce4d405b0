package stream_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
)

// refused builds and returns the one thing that is wrong, which names a line of this file.
func refused(t *testing.T, make func(*stream.Builder, texts)) string {
	t.Helper()
	b := stream.NewBuilder()
	make(b, b.Stream(in))
	_, err := b.Build()
	require.Error(t, err)
	require.Len(t, strings.Split(err.Error(), "\n"), 1, err)
	require.Regexp(t, `^\S*/stream/whole_test\.go:\d+: `, err.Error())
	return err.Error()
}

// Times are counted in milliseconds: what is more precise would be cut off without a word.
func TestDurationsMustBeWholeMilliseconds(t *testing.T) {
	const odd = 1500 * time.Microsecond
	for i, make := range []func(*stream.Builder, texts){
		func(_ *build, s texts) { s.GroupByKey().Windowed(stream.Tumbling(odd, 0)).Count(perMinute) },
		func(_ *build, s texts) { s.GroupByKey().Windowed(stream.Hopping(time.Second, odd, 0)).Count(perMinute) },
		func(_ *build, s texts) { s.GroupByKey().Windowed(stream.Tumbling(time.Minute, odd)).Count(perMinute) },
		func(_ *build, s texts) { s.GroupByKey().Windowed(minute().Offset(odd)).Count(perMinute) },
		func(_ *build, s texts) { s.GroupByKey().Windowed(stream.Sliding(odd, 0)).Count(perMinute) },
		func(_ *build, s texts) { s.GroupByKey().Windowed(stream.Days(1, time.UTC, odd)).Count(perMinute) },
		func(_ *build, s texts) {
			s.GroupByKey().Windowed(minute()).Emit(stream.OnClose).CloseWhenIdle(odd).Count(perMinute)
		},
		func(_ *build, s texts) {
			s.GroupByKey().Sessions(stream.SessionGap(odd, 0)).Count(state.NewSession[str, int64]("s"))
		},
		func(_ *build, s texts) { s.Join(s, stream.Around(odd, 0), "j", concat) },
		func(_ *build, s texts) { s.Join(s, around().Before(-odd), "j", concat) },
		func(_ *build, s texts) { s.Join(s, stream.Around(time.Minute, odd), "j", concat) },
		func(_ *build, s texts) { s.Batch(2, odd, "b", gather) },
		func(_ *build, s texts) { s.Deduplicate(stream.DuplicatesWithin(odd), "d", byValue) },
		func(b *build, _ texts) { b.Table(in, rows).Suppress(stream.UntilTimeLimit(odd, "s")) },
		func(b *build, s texts) {
			past := b.VersionedTable(right, state.NewVersioned[str, str]("v", time.Hour))
			s.JoinAsOf(past, stream.AtOrBefore(odd), "j", concat)
		},
		func(b *build, _ texts) { b.Table(in, rows.TTL(odd)) },
		func(b *build, _ texts) { b.VersionedTable(right, state.NewVersioned[str, str]("v", odd)) },
	} {
		require.Contains(t, refused(t, make), "1.5ms: times are counted in milliseconds: use a whole number of them", i)
	}
	b := stream.NewBuilder() // longer than any time is no mistake
	b.Stream(in).GroupByKey().Windowed(stream.Tumbling(time.Minute, math.MaxInt64)).Count(perMinute)
	_, err := b.Build()
	require.NoError(t, err)
}

func TestUnknownEmitPolicy(t *testing.T) {
	for i, make := range []func(*stream.Builder, texts){
		func(b *build, _ texts) { b.Emit(77) },
		func(_ *build, s texts) { s.GroupByKey().Emit(77).Count(countsOf("c")) },
		func(b *build, _ texts) { b.Table(in, rows).Emit(77) },
		func(b *build, _ texts) { b.Table(in, rows).GroupBy("g", swap).Emit(77).Count(countsOf("c")) },
		func(_ *build, s texts) { s.GroupByKey().Windowed(minute()).Emit(77).Count(perMinute) },
		func(_ *build, s texts) {
			s.GroupByKey().Sessions(stream.SessionGap(1e9, 0)).Emit(77).Count(state.NewSession[str, int64]("s"))
		},
		func(_ *build, s texts) { s.GroupByKey().Cogroup(add3).Emit(77).Aggregate(rowsOf("r"), empty) },
		func(_ *build, s texts) {
			s.GroupByKey().Cogroup(add3).Windowed(minute()).Emit(77).Aggregate(state.NewWindowed[str, str]("w"), empty)
		},
	} {
		require.Contains(t, refused(t, make), ": unknown emit policy 77: use OnCommit, OnUpdate or OnClose", i)
	}
}

func TestUnknownReset(t *testing.T) {
	for _, reset := range []stream.Reset{{Policy: 77}, stream.Back(-time.Second)} {
		text := refused(t, func(b *build, _ texts) { b.Stream(topicOf("right").Reset(reset)) })
		require.Contains(t, text, "unknown reset {Policy:")
		require.Contains(t, text, "make it with Earliest, Latest, Refuse or Back")
	}
}

// A record is read and written once for each of its windows.
func TestHoppingWindowsOverlapTooOften(t *testing.T) {
	hopping := func(size time.Duration) func(*stream.Builder, texts) {
		return func(_ *build, s texts) {
			s.GroupByKey().Windowed(stream.Hopping(size, time.Second, 0)).Count(perMinute)
		}
	}
	require.Contains(t, refused(t, hopping(10_000*time.Second+time.Millisecond)),
		"windows of 2h46m40.001s begin each 1s: a record would be in 10001 of them, 10000 at most are possible")
	b := stream.NewBuilder()
	hopping(10_000*time.Second)(b, b.Stream(in))
	_, err := b.Build()
	require.NoError(t, err)
}
