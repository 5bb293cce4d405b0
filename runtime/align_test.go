package runtime_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

const (
	skewPartitions = 4
	skewKeys       = 7
	skewBase       = int64(1_700_000_000_000)
)

var (
	skewIn     = stream.NewTopic[string, string]("skew")
	skewStore  = state.NewWindowed[string, int64]("skew-windows")
	skewCounts = stream.NewTopic[string, int64]("skew-counts")
)

// skewed counts records by value in windows of ten seconds with a minute of grace, behind a repartition.
func skewed(t *testing.T, before func(stream.Stream[string, string]) stream.Stream[string, string],
	emit stream.Emit) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	in := b.Stream(skewIn)
	if before != nil {
		in = before(in)
	}
	in.SelectKey(func(_, v string) string { return v }).
		Repartition("by-value").
		GroupByKey().
		Windowed(stream.Tumbling(10*time.Second, time.Minute)).
		Emit(emit).
		Count(skewStore).
		ToStream(func(k string, w stream.Span) string { return fmt.Sprintf("%s@%d", k, w.Start) }).
		To(skewCounts)
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// fillSkew writes a record a second into each partition, and returns the counts of windows that they lead to.
func (h *harness) fillSkew(partitions, records int, at func(p, i int) int64) map[string]int64 {
	h.t.Helper()
	want := map[string]int64{}
	for p := range partitions {
		var batch []*kgo.Record
		for i := range records {
			key, ts := fmt.Sprintf("k%d", i%skewKeys), at(p, i)
			want[skewWindow(key, ts)]++
			batch = append(batch, &kgo.Record{
				Topic: "skew", Partition: int32(p), Key: fmt.Appendf(nil, "p%d", p), Value: []byte(key),
				Timestamp: time.UnixMilli(ts),
			})
		}
		h.produce(batch...)
	}
	return want
}

// skewWindow is the key of a window's count.
func skewWindow(key string, ts int64) string { return fmt.Sprintf("%s@%d", key, ts-ts%10_000) }

// lastCounts are the last counts of each key.
func (h *harness) lastCounts(topic string) map[string]int64 {
	h.t.Helper()
	last := map[string]int64{}
	for _, r := range h.read(topic) {
		n, err := serde.For[int64]().Decode(r.Value)
		require.NoError(h.t, err)
		last[string(r.Key)] = n
	}
	return last
}

// closedBy are the windows that are closed when the time is at most.
func closedBy(want map[string]int64, most int64) map[string]int64 {
	closed := map[string]int64{}
	for window, n := range want {
		var key string
		var start int64
		_, err := fmt.Sscanf(strings.ReplaceAll(window, "@", " "), "%s %d", &key, &start)
		if err == nil && start+10_000+60_000 <= most {
			closed[window] = n
		}
	}
	return closed
}

func newSkewHarness(t *testing.T, opts ...brokertest.Option) *harness {
	h := newHarness(t, opts...)
	h.client = manual(t, h)
	h.create(skewPartitions, "skew")
	h.create(skewPartitions, "skew-counts")
	return h
}

// drops are the records that nodes have left out, by reason.
func drops(app *running) map[string]int64 {
	all := map[string]int64{}
	for _, n := range app.Stats().Nodes {
		for why, count := range n.Dropped {
			all[why] += count
		}
	}
	return all
}

func eachSecond(_, i int) int64 { return skewBase + int64(i)*1000 }

// A backlog gives the windows that live traffic would have given, whichever task is faster.
func TestABacklogBehindARepartitionLosesNothing(t *testing.T) {
	for workers := 1; workers <= 2; workers++ {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			h := newSkewHarness(t)
			want := h.fillSkew(skewPartitions, 1000, eachSecond)
			cfg := h.config()
			cfg.Workers = workers
			app := h.start(skewed(t, nil, stream.OnCommit), cfg).caughtUp()
			app.stop()
			require.Empty(t, drops(app))
			require.Equal(t, want, h.lastCounts("skew-counts"))
		})
	}
}

// All windows close that would, though no record comes any more, each once and with all of its records.
func TestWindowsCloseBehindARepartition(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		h := newSkewHarness(t)
		want := closedBy(h.fillSkew(skewPartitions, 500, eachSecond), eachSecond(0, 499))
		cfg := h.config()
		cfg.Guarantee = guarantee
		app := h.start(skewed(t, nil, stream.OnClose), cfg)
		require.Eventually(t, func() bool { return len(h.read("skew-counts")) >= len(want) }, patience, poll)
		app.stop()
		require.Empty(t, drops(app))
		require.Equal(t, want, h.lastCounts("skew-counts"))
		require.Len(t, h.read("skew-counts"), len(want))
	}
}

// A partition whose clock is two hours behind is no later than the others while all of it is a backlog. What comes live
// and is behind the others when its partition has been read is late.
func TestAPartitionWhoseClockIsBehind(t *testing.T) {
	const hours2 = 7_200_000
	h := newSkewHarness(t)
	at := func(p, i int) int64 {
		if p == 1 {
			return eachSecond(p, i) - hours2
		}
		return eachSecond(p, i)
	}
	want := h.fillSkew(skewPartitions, 300, at)
	app := h.start(skewed(t, nil, stream.OnClose), h.config())
	closed := closedBy(want, eachSecond(0, 299))
	require.Eventually(t, func() bool { return len(h.read("skew-counts")) >= len(closed) }, patience, poll)
	require.Empty(t, drops(app))
	require.Equal(t, closed, h.lastCounts("skew-counts"))
	h.produce(&kgo.Record{Topic: "skew", Partition: 1, Value: []byte("k0"), Timestamp: time.UnixMilli(at(1, 301))})
	app.caughtUp().stop()
	require.Equal(t, map[string]int64{"late": 1}, drops(app))
}

// Time goes on though a filter drops all records of a partition, or all records of all but one.
func TestAFilterBeforeARepartition(t *testing.T) {
	for _, dropped := range []string{"p0", "p0p1p2"} {
		h := newSkewHarness(t)
		h.fillSkew(skewPartitions, 300, eachSecond)
		want := map[string]int64{}
		for i := range 300 {
			n := int64(skewPartitions - len(dropped)/2)
			want[skewWindow(fmt.Sprintf("k%d", i%skewKeys), eachSecond(0, i))] += n
		}
		want = closedBy(want, eachSecond(0, 299))
		topo := skewed(t, func(s stream.Stream[string, string]) stream.Stream[string, string] {
			return s.Filter(func(k, _ string) bool { return !strings.Contains(dropped, k) })
		}, stream.OnClose)
		app := h.start(topo, h.config())
		require.Eventually(t, func() bool { return len(h.read("skew-counts")) >= len(want) }, patience, poll)
		app.stop()
		require.Empty(t, drops(app))
		require.Equal(t, want, h.lastCounts("skew-counts"))
	}
}

// Behind two repartitions, and behind windows that emit when they close, nothing is late either.
func TestTwoRepartitions(t *testing.T) {
	for _, windows := range []bool{false, true} {
		h := newSkewHarness(t)
		want := h.fillSkew(skewPartitions, 500, eachSecond)
		topo := skewed(t, func(s stream.Stream[string, string]) stream.Stream[string, string] {
			s = s.SelectKey(func(k, v string) string { return k + v }).Repartition("first")
			if !windows {
				return s
			}
			return s.GroupByKey().
				Windowed(stream.Tumbling(5*time.Second, time.Second)).
				Emit(stream.OnClose).
				Reduce(state.NewWindowed[string, string]("inner"), func(v, _ string) string { return v }).
				ToStream(func(k string, _ stream.Span) string { return k })
		}, stream.OnClose)
		app := h.start(topo, h.config())
		until := 499
		if windows { // the last ones of each partition wait for its next record
			until = 480
		}
		want = closedBy(want, eachSecond(0, until))
		require.Eventually(t, func() bool { return len(h.read("skew-counts")) >= len(want) }, patience, poll)
		app.stop()
		require.Empty(t, drops(app))
		got := h.lastCounts("skew-counts")
		for window, n := range want {
			require.Equal(t, n, got[window], window)
		}
	}
}

// An application that fails and starts again at any time, and a process that comes and goes, lose nothing.
func TestRestartsBehindARepartition(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		h := newSkewHarness(t)
		want := h.fillSkew(skewPartitions, 1000, eachSecond)
		var seen atomic.Int64
		var failAt atomic.Int64
		topo := func() *topology.Topology {
			return skewed(t, func(s stream.Stream[string, string]) stream.Stream[string, string] {
				return s.Peek(func(string, string) {
					if at := failAt.Load(); at > 0 && seen.Add(1) == at {
						panic("as the test wants")
					}
				})
			}, stream.OnCommit)
		}
		cfg := h.config()
		cfg.Guarantee, cfg.CommitInterval = guarantee, 10*time.Millisecond
		for _, at := range []int64{1, 700, 1500, 100} {
			seen.Store(0)
			failAt.Store(at)
			if at == 1500 { // the stores are lost, whose events are years old
				cfg.State.FS = vfs.NewMem()
			}
			require.ErrorContains(t, h.start(topo(), cfg).fails(), "as the test wants")
		}
		failAt.Store(0)
		cfg.State.FS = vfs.NewMem()
		app := h.start(topo(), cfg).caughtUp()
		app.stop()
		require.Empty(t, drops(app))
		got := h.lastCounts("skew-counts")
		if guarantee == runtime.ExactlyOnce {
			require.Equal(t, want, got)
			continue
		}
		for window, n := range want {
			require.GreaterOrEqual(t, got[window], n, window)
		}
	}
}

// Processes that come and go lose nothing.
func TestProcessesBehindARepartition(t *testing.T) {
	h := newSkewHarness(t)
	want := h.fillSkew(skewPartitions, 10_000, eachSecond)
	var seen atomic.Int64
	process := func() *running {
		cfg := h.config()
		cfg.CommitInterval = 10 * time.Millisecond
		return h.start(skewed(t, func(s stream.Stream[string, string]) stream.Stream[string, string] {
			return s.Peek(func(string, string) { seen.Add(1) })
		}, stream.OnCommit), cfg)
	}
	at := func(n int64) {
		require.Eventually(t, func() bool { return seen.Load() >= n }, patience, time.Millisecond)
	}
	first := process()
	at(5000)
	second := process()
	at(20_000)
	first.stop()
	at(30_000)
	third := process()
	second.stop()
	third.caughtUp().stop()
	for _, app := range []*running{first, second, third} {
		require.Empty(t, drops(app))
	}
	require.Equal(t, want, h.lastCounts("skew-counts"))
}

// Nobody waits for ever for a task that makes no progress.
func TestATaskWithoutProgressIsLeftBehind(t *testing.T) {
	h := newSkewHarness(t)
	want := map[string]int64{}
	for i := range 300 {
		want[skewWindow(fmt.Sprintf("k%d", i%skewKeys), eachSecond(0, i))] += skewPartitions - 1
	}
	h.fillSkew(skewPartitions, 300, eachSecond)
	stuck := make(chan struct{})
	topo := skewed(t, func(s stream.Stream[string, string]) stream.Stream[string, string] {
		return s.Peek(func(k, _ string) {
			if k == "p3" {
				<-stuck
			}
		})
	}, stream.OnClose)
	cfg := h.config()
	cfg.Workers, cfg.Alignment.Timeout = 8, time.Second
	log := loggedTo(&cfg)
	app := h.start(topo, cfg)
	want = closedBy(want, eachSecond(0, 299))
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "makes no progress") }, patience, poll)
	require.Contains(t, log.String(), "task=0_3")
	close(stuck)
	app.caughtUp().stop()
	require.NotEmpty(t, want)
}

func manual(t *testing.T, h *harness) *kgo.Client {
	client := brokertest.Client(t, h.broker, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return client
}
