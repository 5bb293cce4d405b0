package streamtest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// All mistakes of a program are reported at once, each with its line and what to write instead.
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
	five := s.Repartition("five").Partitions(5)
	next(`repartition "six" has 6 partitions, but "five" (`)
	six := o.Repartition("six").Partitions(6)
	five.Join(six, stream.Around(time.Second, 0), "j2", dash)
	next("make it with VersionedTable")
	s.JoinAsOf(table, stream.AtOrBefore(time.Second), "j3", dash)
	next("JoinAsOf: a buffer of -1 records: it must not be negative")
	s.JoinAsOf(b.VersionedTable(out, state.NewVersioned[string, string]("past", time.Hour)),
		stream.AtOrBefore(time.Second).RecordsMax(-1), "j5", dash)
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

// opening opens stores, and needs that somebody counts.
type opening struct {
	stores []state.KV[string, string]
	seen   *openings
}

type openings struct{ line, closed int }

func (p *opening) Init(c *topology.Context[string, string]) error {
	var errs []error
	for _, st := range p.stores {
		_, _, p.seen.line, _ = runtime.Caller(0)
		_, err := st.Open(c) // line + 1
		errs = append(errs, err)
	}
	if _, err := c.Schedule(time.Second, topology.WallClock, nil); err != nil {
		return err
	}
	if err := c.Forward(topology.Record[string, string]{Key: "k"}); err != nil {
		return err
	}
	return errors.Join(errs...)
}

func (p *opening) Process(topology.Record[string, string]) error { return nil }

func (p *opening) Close() error { p.seen.closed++; return nil }

// A store that a processor opens without being connected to it is reported when the topology is built: all at once,
// with the lines that made the nodes and that opened the stores.
func TestUnconnectedStoresAreRefused(t *testing.T) {
	kept, other, global := state.NewKV[string, string]("kept"), state.NewKV[string, string]("other"),
		state.NewKV[string, string]("global")
	var seen openings
	one := func(stores ...state.KV[string, string]) func() topology.Processor[string, string, string, string] {
		return func() topology.Processor[string, string, string, string] { return &opening{stores, &seen} }
	}
	b := stream.NewBuilder()
	s := b.Stream(texts)
	b.GlobalTable(dead, global)
	_, _, line, _ := runtime.Caller(0)
	s.Process(one(kept, other), kept).To(out)           // line + 1
	s.ProcessValues(one(kept, global, kept), other)     // line + 2
	s.Process(one(state.NewKV[string, string]("none"))) // line + 3
	same := &opening{seen: &seen}
	s.Process(func() topology.Processor[string, string, string, string] { return same })               // line + 5
	s.Process(func() topology.Processor[string, string, string, string] { return nil })                // line + 6
	s.Process(func() topology.Processor[string, string, string, string] { return &opening{} }).To(out) // a panic in Close
	_, err := b.Build()
	require.Error(t, err)
	told := err.Error()
	at := func(line int) string { return fmt.Sprintf("refuse_test.go:%d", line) }
	for i, want := range [][]string{
		{at(line+1) + `: node source-texts.process opens store "other" (`, at(seen.line + 1), `), which is not connected ` +
			`to it but to source-texts.process-values (`, at(line + 2), `): add it to the stores that the call names`},
		{at(line+2) + `: node source-texts.process-values opens store "kept" (`,
			`connected to it but to source-texts.process (`, at(line + 1)},
		{at(line+2) + `: node source-texts.process-values opens store "global" (`, `: the store is global (`,
			`read it with Read(`},
		{at(line+3) + `: node source-texts.process-2 opens store "none" (`, `not connected to it: add it to the stores`},
		{at(line+5) + `: node source-texts.process-3: `, `returned the same one twice`},
		{at(line+6) + `: node source-texts.process-4: `, `returned nil`},
	} {
		lines := strings.Split(told, "\n")
		require.Len(t, lines, 6, told)
		for _, text := range want {
			require.Contains(t, lines[i], text)
		}
	}
	require.Zero(t, seen.closed, "what could not begin is not closed")

	b = stream.NewBuilder()
	b.Stream(texts).Process(one(kept), kept)
	topo, err := b.Build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{})
	require.Equal(t, 1, seen.closed, "the one that was tried")
	d.Close()
	require.Equal(t, 2, seen.closed)
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

	d = run(t, streamtest.Config{}, func(b *stream.Builder) {
		b.Stream(texts).JoinAsOf(b.VersionedTable(dead, state.NewVersioned[string, string]("past", time.Hour)),
			stream.AtOrBefore(10*ms).RecordsMax(2), "w", func(l, r string) string { return l + r }).To(out)
	})
	feed(d, "a:1@1 b:1@2 c:1@11 d:1@12 restart")
	require.NoError(t, d.Input(texts).TrySend("e", "1", 0), "what is late does not wait")
	require.ErrorContains(t, d.Input(texts).TrySend("e", "1", 12), "join as of: the buffer is full: 3 records wait")

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
