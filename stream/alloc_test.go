package stream_test

import (
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// sunk is an outlet that keeps nothing.
type sunk struct{}

func (sunk) Partitions() int32 { return 4 }

func (sunk) Append(int32, int64, []byte, []byte, []topology.Header) error { return nil }

// task builds a topology whose outputs go nowhere.
func task(t testing.TB, b *stream.Builder) (*topology.Graph, *state.Tx) {
	t.Helper()
	topo, err := b.Build()
	require.NoError(t, err)
	tx := state.NewTx(state.Config{})
	g, err := topology.Build(&topology.Env{
		ApplicationID: "app", Tx: tx, Outlet: func(string) (topology.Outlet, error) { return sunk{}, nil },
	}, topo.Subtopologies()...)
	require.NoError(t, err)
	return g, tx
}

func TestStatelessChainAllocatesNothing(t *testing.T) {
	halves := func(yield func(string) bool) { _ = yield("left") && yield("right") }
	b := stream.NewBuilder()
	b.Stream(in).
		FlatMapValues(func(string) iter.Seq[string] { return halves }).
		SelectKey(func(_, v string) string { return v }).
		Filter(func(_, v string) bool { return v != "" }).
		To(out)
	g, _ := task(t, b)
	r := &topology.SourceRecord{Topic: "in", Record: batch.Record{Key: []byte("k"), Value: []byte("some words")}}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if err := g.Sources["in"][0].Receive(r); err != nil {
			t.Fatal(err)
		}
	}))
}

// Full functions cost no memory either, whether they look at the record or not, and whether the task goes on after
// failures or not.
func TestTryAllocatesNothing(t *testing.T) {
	halves := func(yield func(string) bool) { _ = yield("left") && yield("right") }
	looks := func(c *stream.Call) error {
		if c.Topic() == "" || c.Offset() < 0 || c.Partition() != 0 || c.Timestamp() != 0 || c.Headers() != nil {
			return errBad
		}
		return nil
	}
	for _, guarded := range []bool{false, true} {
		b := stream.NewBuilder()
		s := b.Stream(in).Try().
			FlatMapValues(func(c *stream.Call, _, _ string) (iter.Seq[string], error) { return halves, looks(c) }).Try().
			SelectKey(func(c *stream.Call, _, v string) (string, error) { return v, looks(c) }).Try().
			Filter(func(c *stream.Call, _, v string) (bool, error) { return v != "", looks(c) }).Try().
			MapValues(func(c *stream.Call, _, v string) (string, error) { return v, looks(c) }).KeepsPartition()
		s.To(out)
		rows := b.Table(others, state.NewKV[string, string]("rows"))
		s.Try().LeftJoinTable(rows, func(c *stream.Call, _, l string, _ *string) (string, error) { return l, looks(c) }).
			To(out)
		table := s.GroupByKey().Emit(stream.OnUpdate).Try().Aggregate(state.NewKV[string, int64]("sizes"),
			func() int64 { return 0 },
			func(c *stream.Call, _, v string, n int64) (int64, error) { return n + int64(len(v)), looks(c) })
		table.Try().MapValues(func(c *stream.Call, _ string, n int64) (int64, error) { return n, looks(c) }).Try().
			Filter(func(c *stream.Call, _ string, n int64) (bool, error) { return n > 0, looks(c) }).ToStream().To(sums)
		g, _ := task(t, b)
		env := g.Instances[0].Env
		if env.Guarded = guarded; guarded {
			g = rebuilt(t, b, env)
		}
		r := &topology.SourceRecord{Topic: "in", Record: batch.Record{Key: []byte("k"), Value: []byte("some words")}}
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			env.Source = r
			if err := g.Sources["in"][0].Receive(r); err != nil {
				t.Fatal(err)
			}
		}), "guarded: %t", guarded)
	}
}

// rebuilt is a topology in an environment that another graph was built in.
func rebuilt(t testing.TB, b *stream.Builder, env *topology.Env) *topology.Graph {
	t.Helper()
	topo, err := b.Build()
	require.NoError(t, err)
	g, err := topology.Build(env, topo.Subtopologies()...)
	require.NoError(t, err)
	return g
}

func TestCountAllocatesNothing(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Count(byWord).ToStream().To(counts)
	g, _ := task(t, b)
	r := &topology.SourceRecord{Topic: "in", Record: batch.Record{Key: []byte("some word"), Value: []byte("")}}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if err := g.Sources["in"][0].Receive(r); err != nil {
			t.Fatal(err)
		}
	}))
}

func TestCombinedCountAllocatesNothing(t *testing.T) {
	b := stream.NewBuilder().Optimize()
	b.Stream(in).GroupBy("words", func(_, v string) string { return v }).Count(byWord).ToStream().To(counts)
	g, _ := task(t, b)
	r := &topology.SourceRecord{Topic: "in", Record: batch.Record{Key: []byte("k"), Value: []byte("some word")}}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if err := g.Sources["in"][0].Receive(r); err != nil {
			t.Fatal(err)
		}
	}))
}

// Each record reaches windows, sessions and joins at another time, so that rows are made: a few allocations for many of
// them, none for each.
func TestTimedOperatorsAllocateLittle(t *testing.T) {
	const perRun = 2000 // records, of 100 keys
	spans := stream.NewTopic[stream.WindowedKey[string], int64]("spans")
	for name, build := range map[string]func(b *stream.Builder){
		"window": func(b *stream.Builder) {
			b.Stream(in).GroupByKey().Windowed(stream.Tumbling(time.Second, time.Second)).
				Count(state.NewWindowed[string, int64]("windows")).ToStream(stream.WindowKey).To(spans)
		},
		"days": func(b *stream.Builder) {
			b.Stream(in).GroupByKey().Windowed(stream.Days(1, location("Asia/Kathmandu"), time.Second)).
				Emit(stream.OnClose).Count(state.NewWindowed[string, int64]("days")).ToStream(stream.WindowKey).To(spans)
		},
		"session": func(b *stream.Builder) {
			b.Stream(in).GroupByKey().Sessions(stream.SessionGap(time.Second, time.Second)).
				Count(state.NewSession[string, int64]("sessions")).ToStream(stream.WindowKey).To(spans)
		},
		"join": func(b *stream.Builder) {
			right := b.Stream(stream.NewTopic[string, string]("right"))
			b.Stream(in).Join(right, stream.Around(time.Second, time.Second), "join",
				func(l, _ string) string { return l }).To(out)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := stream.NewBuilder()
			build(b)
			g, tx := task(t, b)
			r := &topology.SourceRecord{Topic: "in", Record: batch.Record{Key: []byte("k00"), Value: []byte("value")}}
			run := func() {
				for range perRun {
					r.Timestamp++
					r.Key[1], r.Key[2] = byte('0'+r.Timestamp/10%10), byte('0'+r.Timestamp%10)
					if err := g.Sources["in"][0].Receive(r); err != nil {
						t.Fatal(err)
					}
				}
				require.NoError(t, tx.Flush())
				require.NoError(t, tx.Drain(func(state.Store, []byte, []byte, int64) error { return nil }))
				require.NoError(t, tx.Commit(nil))
			}
			run()
			require.Less(t, testing.AllocsPerRun(20, run), float64(perRun)/10)
		})
	}
}

func BenchmarkWordCount(b *testing.B) {
	bl := stream.NewBuilder()
	bl.Stream(in).FlatMapValues(func(l string) iter.Seq[string] { return strings.FieldsSeq(l) }).
		Map(func(_, w string) (string, string) { return w, "" }).To(out)
	bl.Stream(numbers).GroupByKey().Count(byWord).ToStream().To(counts)
	g, _ := task(b, bl)
	line := &topology.SourceRecord{Topic: "in", Record: batch.Record{Value: []byte("to be or not to be that is")}}
	word := &topology.SourceRecord{Topic: "numbers", Record: batch.Record{Key: []byte("word"), Value: make([]byte, 8)}}
	b.ReportAllocs()
	for b.Loop() {
		if err := g.Sources["in"][0].Receive(line); err != nil {
			b.Fatal(err)
		}
		for range 8 {
			if err := g.Sources["numbers"][0].Receive(word); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/8, "ns/word")
}
