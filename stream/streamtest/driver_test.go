package streamtest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// T-13: null values are not counted, and the timestamp of a count is the highest of its records.
func TestT13CountLeavesOutNullValues(t *testing.T) {
	in := stream.NewTopic[string, string]("topic")
	store := state.NewKV[string, int64]("count")
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Count(store)
	topo, err := b.Build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{})
	input := d.Input(in)
	for _, r := range []struct {
		key string
		ts  int64
	}{{"1", 5}, {"2", 1}, {"1", 3}, {"1", 10}, {"3", 8}, {"3", 9}} {
		input.Send(r.key, "value", r.ts)
	}
	input.SendNull("3", 9)
	require.Equal(t, map[string]streamtest.Row[int64]{
		"1": {Value: 3, Timestamp: 10}, "2": {Value: 1, Timestamp: 1}, "3": {Value: 2, Timestamp: 9},
	}, streamtest.Rows(d, store))
	require.EqualValues(t, 1, d.Dropped(topology.NullValue))
	require.EqualValues(t, 1, d.DroppedTotal())
}

var (
	texts = stream.NewTopic[string, string]("texts")
	out   = stream.NewTopic[string, string]("out")
	dead  = stream.NewTopic[string, string]("dead")
)

func failOnBad(t *testing.T) *topology.Topology {
	b := stream.NewBuilder()
	b.Stream(texts).MapValues(func(v string) string {
		if v == "bad" {
			panic(errors.New("bad value"))
		}
		return v + "!"
	}).To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

func TestFailureStopsTheApplication(t *testing.T) {
	d := streamtest.New(t, failOnBad(t), streamtest.Config{
		Errors: topology.Errors{Process: topology.DeadLetterAndFail, DeadLetters: "dead"},
	})
	in := d.Input(texts)
	in.Send("k", "good", 1)
	err := in.TrySend("k", "bad", 2)
	require.ErrorContains(t, err, "bad value")
	require.ErrorContains(t, err, "topic texts partition 0 offset 1")
	require.ErrorContains(t, in.TrySend("k", "good", 3), "the application has stopped")
	require.ErrorContains(t, d.TryRun(), "the application has stopped")
	require.ErrorContains(t, d.TryCommit(), "the application has stopped")
	require.ErrorContains(t, d.TryAdvanceWallClock(time.Second), "the application has stopped")
	require.Equal(t, []string{"k=good!@1"}, d.Output(out).ReadStrings())
	letter := d.Output(dead).Read()
	require.Equal(t, "bad", letter.Value)
	require.Equal(t, "1", header(letter.Headers, "__streams.errors.offset"))
}

func header(hs []topology.Header, key string) string {
	for _, h := range hs {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func TestFailureIsSkipped(t *testing.T) {
	d := streamtest.New(t, failOnBad(t), streamtest.Config{
		Errors: topology.Errors{Process: topology.DeadLetter, DeadLetters: "dead"},
	})
	in := d.Input(texts)
	in.SendRecord(topology.Record[string, string]{
		Key: "k", Value: "bad", Timestamp: 2, Headers: []topology.Header{{Key: "h", Value: []byte("1")}},
	})
	in.Send("k", "good", 3)
	require.Equal(t, []string{"k=good!@3"}, d.Output(out).ReadStrings())
	letter := d.Output(dead).Read()
	require.Equal(t, "bad value", header(letter.Headers, "__streams.errors.message"))
	require.Equal(t, "1", header(letter.Headers, "h"))
	require.EqualValues(t, 1, d.Dropped(topology.Skipped))
}

// ticker forwards the wall clock each 10 ms.
type ticker struct {
	c *topology.Context[string, string]
}

func (p *ticker) Init(c *topology.Context[string, string]) error {
	p.c = c
	_, err := c.Schedule(10*time.Millisecond, topology.WallClock, func(now int64) error {
		return c.Forward(topology.Record[string, string]{Key: "tick", Value: fmt.Sprint(now), Timestamp: now})
	})
	return err
}

func (p *ticker) Process(topology.Record[string, string]) error { return nil }

func TestWallClock(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(texts).Process(func() topology.Processor[string, string, string, string] { return &ticker{} }).To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{WallClock: time.UnixMilli(1000)})
	d.AdvanceWallClock(9 * time.Millisecond)
	require.Zero(t, d.Output(out).Len())
	d.AdvanceWallClock(time.Millisecond)
	d.AdvanceWallClock(35 * time.Millisecond)
	require.Equal(t, []string{"tick=1010@1010", "tick=1045@1045"}, d.Output(out).ReadStrings())
	require.Equal(t, time.UnixMilli(1045), d.WallClock())
}

func TestTopicsThatTheTopologyReadsAreFedBack(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(texts).
		Filter(func(_, v string) bool { return len(v) < 4 }).
		MapValues(func(v string) string { return v + "x" }).
		To(texts)
	topo, err := b.Build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{})
	d.Input(texts).Send("k", "a", 1)
	require.Equal(t, []string{"a", "ax", "axx", "axxx"}, d.Output(texts).ReadValues())
}

func TestInputForms(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(texts).To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{Partitions: 3})
	in := d.Input(texts)
	in.SendKeyless("a", 1)
	in.SendKeyless("b", 2)
	in.Send("k", "c", 5)
	in.Append(2, topology.Record[string, string]{Key: "p", Value: "d", Timestamp: 9})
	require.Len(t, d.Written("texts"), 4)
	require.Len(t, d.Written("out"), 3)
	d.Run()
	require.Equal(t, []string{"~=a@1", "~=b@2", "k=c@5", "p=d@9"}, d.Output(out).ReadStrings())
	require.EqualValues(t, 1, d.Written("texts")[1].Partition, "records without a key take turns")
	require.EqualValues(t, 2, d.Written("texts")[3].Partition)
	require.Equal(t, []string{"out", "texts"}, d.Topics())
}

// TestCommitsAndRestartsChangeNothing runs the same words with random commits, aborts and restarts.
func TestCommitsAndRestartsChangeNothing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	want := map[string]int64{}
	var sent []string
	for range 200 {
		line := ""
		for range rnd.IntN(5) {
			w := fmt.Sprintf("w%d", rnd.IntN(20))
			want[w]++
			line += w + " "
		}
		sent = append(sent, line)
	}
	for _, partitions := range []int32{1, 3} {
		d := streamtest.New(t, wordCount(t), streamtest.Config{
			Partitions: partitions, CommitEvery: -1, CheckpointCommits: 3,
		})
		in := d.Input(lines)
		for i, line := range sent {
			in.Send(fmt.Sprint(i), line, int64(i))
			switch rnd.IntN(10) {
			case 0, 1:
				d.Commit()
			case 2:
				d.Discard()
			case 3:
				d.Restart(streamtest.LoseState)
			case 4:
				d.Restart(streamtest.KeepState)
			}
		}
		d.Commit()
		require.Equal(t, want, streamtest.Latest(d.Output(counts)), "seed %d", seed)
		for w, n := range want {
			got, ok := d.Get(byWord, w)
			require.True(t, ok)
			require.Equal(t, n, got)
		}
	}
}
