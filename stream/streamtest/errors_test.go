package streamtest_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

func TestInputThatIsNotRead(t *testing.T) {
	d := streamtest.New(t, failOnBad(t), streamtest.Config{})
	require.NotNil(t, d.Input(texts))
	f := &failing{}
	require.PanicsWithValue(t, "streamtest: input: the topology does not read topic dead; it reads texts", func() {
		streamtest.New(f, failOnBad(t), streamtest.Config{}).Input(dead)
	})
}

func TestOutputThatIsNotWritten(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(texts).Repartition("again").To(out)
	b.Table(dead, state.NewKV[string, string]("rows"))
	topo, err := b.Build()
	require.NoError(t, err)
	d := streamtest.New(&failing{}, topo, streamtest.Config{
		Errors: topology.Errors{Process: topology.DeadLetter, DeadLetters: "letters"},
	})
	other := stream.NewTopic[string, string]
	for _, name := range []string{"out", "letters", "test-again-repartition", "test-rows-changelog"} {
		require.Zero(t, d.Output(other(name)).Len(), name)
	}
	for _, name := range []string{"uot", "texts"} {
		require.PanicsWithValue(t, "streamtest: output: the topology does not write topic "+name+
			"; it writes out, test-again-repartition", func() { d.Output(other(name)) })
	}
	b = stream.NewBuilder()
	b.Stream(texts).ToDynamic(func(k, _ string) string { return k })
	topo, err = b.Build()
	require.NoError(t, err)
	require.Zero(t, streamtest.New(t, topo, streamtest.Config{}).Output(other("any")).Len())
}

func TestNodeThatIsNotThere(t *testing.T) {
	require.PanicsWithValue(t, "streamtest: the topology has no node soruce-texts; it has source-texts, "+
		"source-texts.peek, source-texts.peek.sink-dead", func() {
		b := stream.NewBuilder()
		b.Stream(texts).Peek(func(string, string) {}).To(dead)
		topo, err := b.Build()
		require.NoError(t, err)
		d := streamtest.New(&failing{}, topo, streamtest.Config{})
		require.Zero(t, d.Node("source-texts").Processed)
		d.Node("soruce-texts")
	})
}

func TestErrorsThatMakeNoSenseAreRefused(t *testing.T) {
	require.PanicsWithValue(t, `streamtest: policy Errors.Process is "dead letter" and no topic is set: name it in `+
		"Errors.DeadLetters", func() {
		streamtest.New(&failing{}, failOnBad(t), streamtest.Config{Errors: topology.Errors{Process: topology.DeadLetter}})
	})
	f := &failing{}
	loop := topology.Errors{Process: topology.DeadLetter, DeadLetters: "texts"}
	func() {
		defer func() {
			require.Regexp(t, `^streamtest: Errors.DeadLetters is "texts", which the application reads itself `+
				`\(.*_test\.go:\d+\): .*: name another topic`, recover())
		}()
		streamtest.New(f, failOnBad(t), streamtest.Config{Errors: loop})
	}()
}

// A value that a test read is the test's own: the next record does not change it.
func TestGetReturnsACopy(t *testing.T) {
	seen := state.NewKV[string, []string]("seen")
	b := stream.NewBuilder()
	b.Stream(texts).GroupByKey().Aggregate(seen, func() []string { return make([]string, 1, 8) },
		func(_ string, v string, seen []string) []string {
			seen[0] = v
			return append(seen, v)
		})
	topo, err := b.Build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{})
	in := d.Input(texts)
	in.Send("k", "a", 1)
	one, ok := d.Get(seen, "k")
	require.True(t, ok)
	rows, entries := streamtest.Rows(d, seen), d.Range(seen, "a", "z")
	in.Send("k", "b", 2)
	require.Equal(t, []string{"a", "a"}, one)
	require.Equal(t, one, rows["k"].Value)
	require.Equal(t, one, entries[0].Value)
	two, _ := d.Get(seen, "k")
	require.Equal(t, []string{"b", "a", "b"}, two)
}

func TestErrorsNameTheInputRecord(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(texts).GroupBy("by-value", func(_, v string) string { return v }).Count(state.NewKV[string, int64]("n")).
		ToStream().ForEach(func(v string, n int64) {
		if n == 2 {
			panic("twice: " + v)
		}
	})
	topo, err := b.Build()
	require.NoError(t, err)
	for _, partitions := range []int32{1, 2} {
		d := streamtest.New(t, topo, streamtest.Config{Partitions: partitions})
		in := d.Input(texts)
		in.Send("k", "v", 1)
		err := in.TrySend("l", "v", 2)
		require.ErrorContains(t, err, "what follows from input record l=v@2 of topic texts: process: node")
		require.ErrorContains(t, err, "twice: v")
	}
	d := streamtest.New(t, failOnBad(t), streamtest.Config{})
	in := d.Input(texts)
	in.Append(0, topology.Record[string, string]{Key: "k", Value: "good", Timestamp: 1})
	in.Append(0, topology.Record[string, string]{Key: "k", Value: "bad", Timestamp: 2})
	require.ErrorContains(t, d.TryRun(), "input record k=bad@2: process: node")
}

// unsteady fails until its service is back.
func unsteady(t *testing.T, back func() bool) *topology.Topology {
	b := stream.NewBuilder()
	b.Stream(texts).MapValues(func(v string) string {
		if v == "bad" && !back() {
			panic(errors.New("the service is away"))
		}
		return v + "!"
	}).To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

func TestRetriesFollowTheClock(t *testing.T) {
	away := true
	calls := 0
	topo := unsteady(t, func() bool { calls++; return !away })
	for _, every := range []int{1, 3, -1} {
		away, calls = true, 0
		d := streamtest.New(t, topo, streamtest.Config{
			Partitions: 2, CommitEvery: every, WallClock: time.UnixMilli(10_000),
			Errors: topology.Errors{Process: topology.Retry{First: time.Second, Attempts: 20}},
		})
		in := d.Input(texts)
		send := func(partition int32, value string, timestamp int64) {
			in.Append(partition, topology.Record[string, string]{Key: "k", Value: value, Timestamp: timestamp})
			d.Run()
		}
		send(0, "before", 1)
		send(0, "bad", 2)
		send(0, "behind", 3)
		send(1, "other", 4)
		require.Equal(t, 1, calls)
		at, ok := d.NextRetry()
		require.True(t, ok)
		require.Equal(t, time.UnixMilli(11_000), at)
		d.Commit()
		require.Equal(t, []string{"before!", "other!"}, d.Output(out).ReadValues())
		d.AdvanceWallClock(999 * time.Millisecond)
		require.Equal(t, 1, calls)
		d.AdvanceWallClock(10 * time.Second) // after 1, 3 and 7 seconds
		require.Equal(t, 4, calls)
		send(1, "more", 5)
		away = false
		d.AdvanceWallClock(time.Minute)
		require.Equal(t, 5, calls)
		_, ok = d.NextRetry()
		require.False(t, ok)
		d.Commit()
		require.Equal(t, []string{"before!", "other!", "more!", "bad!", "behind!"}, d.Output(out).ReadValues())
	}
}

func TestRetriesGiveUp(t *testing.T) {
	topo := unsteady(t, func() bool { return false })
	d := streamtest.New(t, topo, streamtest.Config{Errors: topology.Errors{Process: topology.Retry{Attempts: 3}}})
	in := d.Input(texts)
	in.Send("k", "bad", 1) // no failure yet
	err := d.TryAdvanceWallClock(time.Second)
	require.ErrorContains(t, err, "input record k=bad@1: process: node")
	require.ErrorContains(t, err, "offset 0, after 3 attempts: panic: the service is away")
	require.Equal(t, time.UnixMilli(300), d.WallClock())

	d = streamtest.New(t, topo, streamtest.Config{Errors: topology.Errors{
		Process: topology.Retry{Attempts: 3, Then: topology.DeadLetter}, DeadLetters: "dead",
	}})
	in = d.Input(texts)
	in.Send("k", "bad", 1)
	in.Send("k", "good", 2)
	require.Zero(t, d.Output(out).Len())
	d.AdvanceWallClock(time.Second)
	require.Equal(t, []string{"good!"}, d.Output(out).ReadValues())
	require.Equal(t, "3", header(d.Output(dead).Read().Headers, "__streams.errors.attempts"))
	require.EqualValues(t, 1, d.Dropped(topology.Skipped))
}

// Calls that fail while a commit waits for them are retried with their records.
func TestAsyncCallsAreRetried(t *testing.T) {
	s := newService()
	d := asyncDriver(t, s, 8, streamtest.Config{
		CommitEvery: -1, Errors: topology.Errors{Process: topology.Retry{Attempts: 3, Then: topology.Skip}},
	})
	in := d.Input(texts)
	for i, v := range []string{"1", "bad", "2"} {
		in.Send("a", v, int64(i))
	}
	d.Commit()
	require.Equal(t, []string{"a/1"}, valuesOf(d))
	d.AdvanceWallClock(time.Second)
	d.Commit()
	d.AdvanceWallClock(time.Second)
	d.Commit()
	require.Equal(t, []string{"a/1", "a/2"}, valuesOf(d))
	require.EqualValues(t, 1, d.Dropped(topology.Skipped))
}

// What a table emits with the commit has no source record: all inputs of its task wait, and their records are
// processed again, until the commit succeeds.
func TestCommitsAreRetried(t *testing.T) {
	away, calls := true, 0
	b := stream.NewBuilder()
	b.Stream(texts).GroupByKey().Count(state.NewKV[string, int64]("n")).ToStream().
		MapValues(func(n int64) string {
			if calls++; away {
				panic(errors.New("the service is away"))
			}
			return strings.Repeat("x", int(n))
		}).To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	for _, partitions := range []int32{1, 2} {
		away, calls = true, 0
		d := streamtest.New(t, topo, streamtest.Config{
			Partitions: partitions, CommitEvery: -1, EmitOnCommit: true,
			Errors: topology.Errors{Process: topology.Retry{First: time.Second}},
		})
		in := d.Input(texts)
		in.Send("k", "a", 1)
		in.Send("k", "b", 2)
		d.Commit()
		require.Equal(t, 1, calls)
		d.AdvanceWallClock(3 * time.Second)
		d.Commit()
		in.Send("k", "c", 3)
		require.Equal(t, 2, calls)
		away = false
		d.AdvanceWallClock(time.Minute)
		d.Commit()
		require.Equal(t, []string{"k=xxx@3"}, d.Output(out).ReadStrings())
	}
}

// clock schedules at once.
type clock struct {
	topology.Processor[string, string, string, string]
	interval time.Duration
	kind     topology.TimeKind
}

func (c clock) Init(at *topology.Context[string, string]) error {
	_, err := at.Schedule(c.interval, c.kind, func(int64) error { return nil })
	return err
}

func TestSchedulesThatMakeNoSense(t *testing.T) {
	for want, c := range map[string]clock{
		"interval 1.5ms: times are counted in milliseconds":    {interval: 1500 * time.Microsecond},
		"unknown kind of time 77: use StreamTime or WallClock": {interval: time.Second, kind: 77},
	} {
		b := stream.NewBuilder()
		b.Stream(texts).Process(func() clock { return c })
		topo, err := b.Build()
		require.NoError(t, err)
		func() {
			defer func() { require.Contains(t, recover(), want) }()
			streamtest.New(&failing{}, topo, streamtest.Config{})
		}()
	}
}
