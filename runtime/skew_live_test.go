package runtime_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
)

const (
	skewSpan  = 10_000 // of a window, with its grace behind it
	skewGrace = 60_000
	// skewStep is the virtual time between two records of a partition. Everything is processed and committed in it, and
	// cuts have shown that it is.
	skewStep = 5 * time.Second
)

// inVirtualTime runs a test of applications that have no network and no disk.
func inVirtualTime(t *testing.T, test func(t *testing.T, h *harness)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour) // from 2000: records have a later date
		h := newSkewHarness(t)
		h.ctx = t.Context()
		test(t, h)
	})
}

// elapse lets virtual time pass.
func elapse(d time.Duration) { time.Sleep(d) }

// live is what should come of records that come while an application runs.
type live struct {
	h    *harness
	want map[string]int64
	late int64
	time int64 // behind the repartition, once all is processed
}

func newLive(h *harness) *live { return &live{h: h, want: map[string]int64{}} }

// put writes a record into a partition that has been read to its end.
func (l *live) put(p int, at int64) {
	l.h.produce(&kgo.Record{Topic: "skew", Partition: int32(p), Value: []byte("k"), Timestamp: time.UnixMilli(at)})
	if at-at%skewSpan+skewSpan+skewGrace <= l.time {
		l.late++
		return
	}
	l.want[skewWindow("k", at)]++
}

// pass lets the application process everything. The time is that of the newest record then.
func (l *live) pass(newest int64) {
	time.Sleep(skewStep)
	l.time = max(l.time, newest)
}

// check stops the application, and compares.
func (l *live) check(app *running) {
	l.h.t.Helper()
	app.caughtUp().stop()
	want := map[string]int64{}
	if l.late > 0 {
		want["late"] = l.late
	}
	require.Equal(l.h.t, want, drops(app))
	require.Equal(l.h.t, l.want, l.h.lastCounts("skew-counts"))
}

// Of what comes live exactly that is late which comes into a partition that was read to its end, when the others have
// gone on by more than the grace: here the clock of a partition goes at half the speed of the others.
func TestALiveClockThatIsSlow(t *testing.T) {
	for workers := 1; workers <= 2; workers++ {
		inVirtualTime(t, func(t *testing.T, h *harness) {
			cfg := h.config()
			cfg.Workers = workers
			app := h.start(skewed(t, nil, stream.OnCommit), cfg).settled()
			l := newLive(h)
			for i := range 300 {
				l.put(1, eachSecond(1, i)-int64(i)*500)
				for _, p := range []int{0, 2, 3} {
					l.put(p, eachSecond(p, i))
				}
				l.pass(eachSecond(0, i))
			}
			require.InDelta(t, 150, l.late, 30, "nobody is late before the grace is over")
			l.check(app)
		})
	}
}

// A partition whose clock is two hours behind is late from its second record on. While the application is away a
// backlog builds up: of that the rule says the same, since the time had gone on before.
func TestALiveClockTwoHoursBehind(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, h *harness) {
		const behind = 7_200_000
		topo := skewed(t, nil, stream.OnCommit)
		l := newLive(h)
		for p := range skewPartitions { // a backlog
			for i := range 20 {
				at := eachSecond(p, i)
				if p == 1 {
					at -= behind
				}
				l.put(p, at)
			}
		}
		cfg := h.config()
		app := h.start(topo, cfg).settled()
		l.pass(eachSecond(0, 19))
		for i := 20; i < 100; i++ {
			if i == 50 {
				app.caughtUp().stop()
				require.Equal(t, map[string]int64{"late": l.late}, drops(app))
				l.late = 0
			}
			l.put(1, eachSecond(1, i)-behind)
			for _, p := range []int{0, 2, 3} {
				l.put(p, eachSecond(p, i))
			}
			if i == 80 {
				app = h.start(topo, cfg).settled()
			}
			if i < 50 || i >= 80 {
				l.pass(eachSecond(0, i))
			}
		}
		require.EqualValues(t, 50, l.late, "all records of the partition after the first part")
		l.check(app)
	})
}

// What piles up in one partition while the others go on is not late, though its task is away for long: its partition
// had not been read to its end.
func TestALiveTaskThatIsAway(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, h *harness) {
		gate := make(chan struct{}, 1)
		gate <- struct{}{}
		topo := skewed(t, func(s stream.Stream[string, string]) stream.Stream[string, string] {
			return s.Peek(func(k, _ string) {
				if k == "slow" {
					<-gate
					gate <- struct{}{}
				}
			})
		}, stream.OnCommit)
		cfg := h.config()
		cfg.Workers, cfg.StallTimeout = 8, time.Hour
		cfg.Alignment = runtime.Alignment{Timeout: time.Hour}
		app := h.start(topo, cfg).settled()
		l := newLive(h)
		put := func(i int) {
			for p := range skewPartitions {
				key := "fast"
				if p == 1 {
					key = "slow"
				}
				at := eachSecond(p, i)
				h.produce(&kgo.Record{
					Topic: "skew", Partition: int32(p), Key: []byte(key), Value: []byte("k"), Timestamp: time.UnixMilli(at),
				})
				l.want[skewWindow("k", at)]++
			}
			l.pass(eachSecond(0, i))
		}
		for i := range 300 {
			switch i {
			case 50:
				<-gate // the task stands
			case 250:
				gate <- struct{}{}
			}
			put(i)
			if i == 100 {
				require.Equal(t, map[string]int{"0_1 skew-1 " + time.UnixMilli(eachSecond(1, 49)).String(): 1}, heldBack(app))
			}
		}
		l.check(app)
	})
}

// heldBack are the inputs that hold tasks back, and how many they hold.
func heldBack(app *running) map[string]int {
	by := map[string]int{}
	for _, w := range app.Stats().Workers {
		for _, task := range w.Tasks {
			if h := task.HeldBack; h != nil {
				by[fmt.Sprintf("%v %s-%d %v", h.Task, h.Topic, h.Partition, h.Time)]++
			}
		}
	}
	return by
}

// A repartition is not idle while a task before it has records: windows do not close for want of records meanwhile.
func TestALiveWindowThatClosesWhenIdle(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, h *harness) {
		stuck := make(chan struct{})
		b := stream.NewBuilder()
		b.Stream(skewIn).
			Peek(func(k, _ string) {
				if k == "stuck" {
					<-stuck
				}
			}).
			SelectKey(func(_, v string) string { return v }).
			Repartition("by-value").
			GroupByKey().
			Windowed(stream.Tumbling(10*time.Second, 0)).
			Emit(stream.OnClose).
			CloseWhenIdle(10 * time.Second).
			Count(skewStore).
			ToStream(func(k string, w stream.Span) string { return fmt.Sprintf("%s@%d", k, w.Start) }).
			To(skewCounts)
		topo, err := b.Build()
		require.NoError(t, err)
		cfg := h.config()
		cfg.Workers, cfg.StallTimeout, cfg.Alignment = 8, time.Hour, runtime.Alignment{Timeout: time.Hour}
		app := h.start(topo, cfg).settled()
		l := newLive(h)
		for p := range skewPartitions {
			l.put(p, eachSecond(p, 0))
		}
		time.Sleep(6 * time.Second)
		h.produce(&kgo.Record{
			Topic: "skew", Partition: 3, Key: []byte("stuck"), Value: []byte("k"), Timestamp: time.UnixMilli(skewBase + 1),
		})
		l.want[skewWindow("k", skewBase+1)]++
		time.Sleep(time.Minute)
		require.Empty(t, h.read("skew-counts"))
		close(stuck)
		time.Sleep(5 * time.Second)
		require.Empty(t, h.read("skew-counts"))
		time.Sleep(15 * time.Second)
		require.NotEmpty(t, h.read("skew-counts"))
		l.check(app)
	})
}

// A task with a MaxIdle waits for a repartition that is empty while a task before it has records.
func TestALiveTaskThatWaitsForARepartition(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, h *harness) {
		h.create(skewPartitions, "skew-too")
		h.create(1, "skew-both")
		stuck := make(chan struct{})
		b := stream.NewBuilder()
		b.Stream(skewIn).Repartition("one").
			Merge(b.Stream(stream.NewTopic[string, string]("skew-too")).
				Peek(func(string, string) { <-stuck }).
				Repartition("two")).
			GroupByKey().
			Reduce(state.NewKV[string, string]("both"), func(a, b string) string { return a + b }).
			ToStream().
			To(stream.NewTopic[string, string]("skew-both"))
		topo, err := b.Build()
		require.NoError(t, err)
		cfg := h.config()
		cfg.Workers, cfg.StallTimeout, cfg.Alignment = 8, time.Hour, runtime.Alignment{Timeout: time.Hour}
		cfg.MaxIdle = 5 * time.Second
		app := h.start(topo, cfg).settled()
		put := func(topic, value string, at int64) {
			h.produce(&kgo.Record{
				Topic: topic, Partition: 2, Key: []byte("k"), Value: []byte(value), Timestamp: time.UnixMilli(at),
			})
		}
		put("skew-too", "a", skewBase)
		time.Sleep(time.Second)
		put("skew", "b", skewBase+1)
		time.Sleep(time.Minute)
		require.Empty(t, h.read("skew-both"), "it waits")
		close(stuck)
		time.Sleep(time.Second)
		put("skew", "c", skewBase+2)
		time.Sleep(20 * time.Second)
		both := h.read("skew-both")
		require.NotEmpty(t, both)
		require.Equal(t, "abc", string(both[len(both)-1].Value))
		app.stop()
	})
}
