package streamtest_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

// Every mistake of a program is told of at once, each with its line and what to write instead.
func TestBuildRefusesAllAtOnce(t *testing.T) {
	b := stream.NewBuilder()
	s, o := b.Stream(texts), b.Stream(out)
	g := s.GroupByKey()
	table := b.Table(dead, state.NewKV[string, string]("rows"))
	dash := func(l, r string) string { return l + r }
	count := func(name string) state.Windowed[string, int64] { return state.NewWindowed[string, int64](name) }
	want := map[int]string{}
	next := func(text string) {
		_, _, line, _ := runtime.Caller(1)
		want[line+1] = text
	}
	next("windows of 0s: they need a millisecond at least")
	g.Windowed(stream.Tumbling(0, 0)).Count(count("a"))
	next("windows of 1s begin each 2s: what lies between would be lost")
	g.Windowed(stream.Hopping(time.Second, 2*time.Second, 0)).Count(count("b"))
	next("a grace of -1s: it must not be negative")
	g.Windowed(stream.Tumbling(time.Second, -time.Second)).Count(count("c"))
	next("keep as much at least, or leave Retain out")
	g.Windowed(stream.Tumbling(time.Second, time.Second)).Count(count("d").Retain(time.Second))
	next(`put Repartition("a name") between them`)
	s.SelectKey(func(_, v string) string { return v }).Join(o, stream.Around(time.Second, 0), "j1", dash)
	five := s.Repartition("five", 5)
	next(`repartition "six" has 6 partitions, but "five" (`)
	six := o.Repartition("six", 6)
	five.Join(six, stream.Around(time.Second, 0), "j2", dash)
	next("make it with VersionedTable")
	s.JoinAsOf(table, time.Second, "j3", dash)
	g.Count(state.NewKV[string, int64]("twice"))
	next(`store "twice" is written by another operator already`)
	g.Count(state.NewKV[string, int64]("twice"))
	next("a buffer of -1 records: it must not be negative")
	s.Join(o, stream.Around(time.Second, 0).RecordsMax(-1), "j4", dash)
	next("-1 calls at the same time: it takes 1 to")
	s.MapAsync(-1, func(context.Context, string, string) (string, error) { return "", nil })
	_, err := b.Build()
	require.Error(t, err)
	for line, text := range want {
		at := fmt.Sprintf("refuse_test.go:%d: ", line)
		found := false
		for told := range strings.Lines(err.Error()) {
			found = found || strings.Contains(told, at) && strings.Contains(told, text)
		}
		require.True(t, found, "%s%s: not in\n%v", at, text, err)
	}
}

// A buffer that is full stops the application, and what it did since the last commit is not seen.
func TestFullBuffersStop(t *testing.T) {
	d := run(t, streamtest.Config{}, func(b *stream.Builder) {
		b.Stream(texts).Join(b.Stream(dead), stream.Around(100*ms, 0).RecordsMax(3), "j",
			func(l, r string) string { return l + r }).To(out)
	})
	in := d.Input(texts)
	for ts := range int64(3) {
		in.Send("a", "x", ts)
	}
	err := in.TrySend("a", "x", 3)
	require.ErrorContains(t, err, "join: the buffer is full: it has 3 records")
	require.ErrorContains(t, err, "topic texts partition 0 offset 3")

	// What is too old makes room: a segment at a time.
	d = run(t, streamtest.Config{}, func(b *stream.Builder) {
		b.Stream(texts).Join(b.Stream(dead), stream.Around(100*ms, 0).RecordsMax(3), "j",
			func(l, r string) string { return l + r }).To(out)
	})
	for ts := range int64(50) {
		d.Input(texts).Send("a", "x", ts*700)
	}

	held := func(p stream.Suppression) *streamtest.Driver {
		return run(t, streamtest.Config{}, func(b *stream.Builder) {
			b.Table(texts, state.NewKV[string, string]("rows")).Suppress(p).ToStream().To(out)
		})
	}
	limit := stream.UntilTimeLimit(time.Hour, "held").RecordsMax(2)
	d = held(limit)
	feed(d, "a:1@1 b:1@2 c:1@3")
	require.Equal(t, "a=1@1", shown(d.Output(out)), "the oldest row goes early")
	d = held(limit.StopWhenFull())
	feed(d, "a:1@1 b:1@2")
	require.ErrorContains(t, d.Input(texts).TrySend("c", "1", 3), "suppress: the buffer is full")
}
