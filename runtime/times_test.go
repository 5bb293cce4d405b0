package runtime_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/internal/progress"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

const (
	timedWindows = 60 // two times each: beside an offset there is room for forty windows
	timedSize    = 10 * time.Second
)

// timedBy counts lines in windows, by as many operators of one sub-topology, and names each window that one of them
// emits.
func timedBy(t *testing.T, operators int) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	for i := range operators {
		store := state.NewWindowed[string, int64](fmt.Sprintf("windows-of-one-of-many-timed-operators-%03d", i))
		b.Stream(stream.NewTopic[string, string]("events")).GroupByKey().
			Windowed(stream.Tumbling(timedSize, 0)).
			Count(store).
			ToStream(func(_ string, w stream.Span) string { return fmt.Sprint(w.Start) }).
			To(stream.NewTopic[string, int64]("counted"))
	}
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

func (h *harness) timed() *harness {
	h.create(1, "events")
	h.create(1, "counted")
	return h
}

// event adds a record and tells how often its window has been counted when it is processed.
func (h *harness) event(r *running, at time.Duration) (counted int) {
	h.t.Helper()
	h.produce(&kgo.Record{
		Topic: "events", Key: []byte("k"), Value: []byte("v"), Timestamp: time.UnixMilli(at.Milliseconds()),
	})
	r.caughtUp()
	window := fmt.Sprint(at.Truncate(timedSize).Milliseconds())
	for _, out := range h.read("counted") {
		if string(out.Key) == window {
			counted++
		}
	}
	return counted
}

// times are those in the progress topic, by name, and the number of records with one.
func (h *harness) times() (times map[string]int64, records int) {
	h.t.Helper()
	times = map[string]int64{}
	for _, r := range h.read("wordcount-progress") {
		key, err := progress.DecodeKey(r.Key)
		require.NoError(h.t, err)
		if key.Kind != progress.Time {
			continue
		}
		records++
		require.EqualValues(h.t, 0, key.Partition)
		if delete(times, key.Name); len(r.Value) > 0 {
			value, err := progress.DecodeValue(r.Value)
			require.NoError(h.t, err)
			times[key.Name] = value.Time
		}
	}
	return times, records
}

func (h *harness) metadata() string {
	h.t.Helper()
	offsets, err := h.admin.FetchOffsetsForTopics(h.ctx, "wordcount", "events")
	require.NoError(h.t, err)
	o, ok := offsets.Lookup("events", 0)
	require.True(h.t, ok)
	return o.Metadata
}

func bothGuarantees(t *testing.T, f func(t *testing.T, guarantee runtime.Guarantee)) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) { f(t, guarantee) })
	}
}

// There is no limit to how many operators of a sub-topology know a time, and what is late stays late.
func TestTimesOfManyOperators(t *testing.T) {
	bothGuarantees(t, func(t *testing.T, guarantee runtime.Guarantee) {
		h := newHarness(t).timed()
		topo := timedBy(t, timedWindows)
		cfg := h.config()
		cfg.Guarantee = guarantee
		app := h.start(topo, cfg).settled()
		require.Equal(t, timedWindows, h.event(app, 95*time.Second))
		times, records := h.times()
		require.Len(t, times, 2*timedWindows)
		require.Equal(t, 2*timedWindows, records)
		require.Less(t, len(h.metadata()), 100)
		require.Zero(t, h.event(app, time.Second), "it is late")
		_, records = h.times()
		require.Equal(t, 2*timedWindows, records, "no time has changed")
		app.stop()

		cfg.State.FS = vfs.NewMem() // on another machine
		app = h.start(topo, cfg).settled()
		require.Zero(t, h.event(app, 2*time.Second), "it stays late")
		require.Equal(t, 2*timedWindows, h.event(app, 96*time.Second))
		require.Equal(t, timedWindows, h.event(app, 105*time.Second))
		_, records = h.times()
		require.Equal(t, 5*timedWindows, records, "two records have moved the time, one of them the newest window")
		app.stop()
	})
}

// An application of an earlier build has its times beside its offsets. They count, and not what the progress topic may
// have from before.
func TestTimesOfAnEarlierBuild(t *testing.T) {
	h := newHarness(t).timed()
	topo := timedBy(t, 1)
	cfg := h.config()
	app := h.start(topo, cfg).settled()
	require.Equal(t, 1, h.event(app, 95*time.Second))
	app.stop()
	times, _ := h.times()
	require.Len(t, times, 2)

	offsets, err := h.admin.FetchOffsetsForTopics(h.ctx, "wordcount", "events")
	require.NoError(t, err)
	o, _ := offsets.Lookup("events", 0)
	old := maps.Clone(times)
	old[""], old["/next"] = 7, o.At
	o.Metadata = markedAs(old)
	by := kadm.Offsets{}
	by.Add(o.Offset)
	require.NoError(t, h.admin.CommitAllOffsets(h.ctx, "wordcount", by))
	names := slices.Sorted(maps.Keys(times))
	for i, name := range names {
		r := &kgo.Record{
			Topic: "wordcount-progress", Key: progress.AppendKey(nil, progress.Key{Kind: progress.Time, Name: name}),
		}
		if i > 0 { // one is gone, and the other is older
			r.Value = progress.AppendValue(nil, progress.Value{Time: 1})
		}
		h.produce(r)
	}

	app = h.start(topo, cfg).settled()
	require.Zero(t, h.event(app, time.Second), "it stays late")
	after, _ := h.times()
	require.Equal(t, times, after, "they have moved")
	require.Less(t, len(h.metadata()), 100)
	app.stop()
	app = h.start(topo, cfg).settled()
	require.Zero(t, h.event(app, 2*time.Second), "it stays late")
	require.Equal(t, 2, h.event(app, 96*time.Second))
	app.stop()
}

// markedAs is the metadata of an offset with times beside it.
func markedAs(marks map[string]int64) string {
	b := binary.BigEndian.AppendUint64([]byte{2}, uint64(95_000))
	b = binary.BigEndian.AppendUint32(b, uint32(len(marks)))
	for _, name := range slices.Sorted(maps.Keys(marks)) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
		b = binary.BigEndian.AppendUint64(append(b, name...), uint64(marks[name]))
	}
	return base64.StdEncoding.EncodeToString(b)
}

// Where the progress topic was deleted, which other messages advise, the log says what it has meant.
func TestTimesThatWereDeleted(t *testing.T) {
	h := newHarness(t).timed()
	topo := timedBy(t, 1)
	cfg := h.config()
	app := h.start(topo, cfg).settled()
	require.Equal(t, 1, h.event(app, 95*time.Second))
	app.stop()
	h.remove("wordcount-progress")
	log := new(lastLog)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	app = h.start(topo, cfg).settled()
	require.Equal(t, 1, h.event(app, 105*time.Second))
	times, _ := h.times()
	require.Len(t, times, 2)
	app.stop()
	log.mu.Lock()
	defer log.mu.Unlock()
	require.Equal(t, 1, strings.Count(string(log.buf), "the progress topic lacks the times"))
}

// Times of a transaction that is open count when it is committed, and not when it is aborted: a task waits for that.
func TestTimesOfAnOpenTransaction(t *testing.T) {
	for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		t.Run(fmt.Sprintf("commit=%v", end), func(t *testing.T) {
			h := newHarness(t).timed()
			topo := timedBy(t, 1)
			cfg := h.config()
			app := h.start(topo, cfg).settled()
			require.Equal(t, 1, h.event(app, 95*time.Second))
			app.stop()
			times, _ := h.times()
			other := brokertest.Client(t, h.broker, kgo.TransactionalID("other"))
			require.NoError(t, other.BeginTransaction())
			for name := range times {
				require.NoError(t, other.ProduceSync(h.ctx, &kgo.Record{
					Topic: "wordcount-progress",
					Key:   progress.AppendKey(nil, progress.Key{Kind: progress.Time, Name: name}),
					Value: progress.AppendValue(nil, progress.Value{Time: 1_000_000}),
				}).FirstErr())
			}
			app = h.start(topo, cfg)
			require.Eventually(t, func() bool {
				groups, err := h.admin.DescribeGroups(h.ctx, "wordcount")
				return err == nil && groups["wordcount"].State == "Stable"
			}, patience, poll)
			require.NoError(t, other.EndTransaction(h.ctx, end))
			want := 1
			if end == kgo.TryCommit {
				want = 0 // it is late
			}
			require.Equal(t, want, h.event(app.settled(), 105*time.Second))
			app.stop()
		})
	}
}

// A process that was stopped, and whose task another has since, writes no time: it might be behind that of its
// successor, and be the last one.
func TestTimesOfAZombie(t *testing.T) {
	bothGuarantees(t, func(t *testing.T, guarantee runtime.Guarantee) {
		h := newHarness(t).timed()
		topo := timedBy(t, 1)
		clock := newHandClock()
		var rewinds atomic.Int64
		log := new(lastLog)
		cfg := h.config()
		cfg.Guarantee, cfg.Logger = guarantee, slog.New(slog.NewTextHandler(log, nil))
		var answered func()
		cfg.Clock = clock.now
		cfg.ClientOptions, answered = h.silent()
		cfg.Hooks.Rewound = func(int, error) { rewinds.Add(1) }
		h.start(topo, cfg).settled()
		answered()
		h.expel()
		other := h.config()
		other.Guarantee, other.State.FS = guarantee, vfs.NewMem()
		successor := h.start(topo, other).settled()
		h.event(successor, 95*time.Second)
		times, records := h.times()
		require.Len(t, times, 2)

		// The zombie processes the record, too, and begins to commit it when its clock goes on. Now and then it has heard
		// before that it is one.
		require.Eventually(t, func() bool {
			clock.advance(time.Second)
			log.mu.Lock()
			defer log.mu.Unlock()
			return rewinds.Load() > 0 || strings.Contains(string(log.buf), "lost the membership")
		}, patience, poll)
		after, more := h.times()
		require.Equal(t, times, after)
		require.Equal(t, records, more)
		successor.stop()
	})
}
