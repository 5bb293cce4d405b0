package runtime_test

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/internal/progress"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

var dawn = time.Date(2020, 1, 1, 0, 10, 0, 0, time.UTC)

// at produces an event to the topic old.
func (h *harness) at(after time.Duration) {
	h.t.Helper()
	h.produce(&kgo.Record{Topic: "old", Key: []byte("k"), Value: []byte("v"), Timestamp: dawn.Add(after)})
}

// purgedStores are a topology for each kind of store from whose changelog the application deletes: the store is "rows".
func purgedStores(t *testing.T) map[string]*topology.Topology {
	t.Helper()
	old := stream.NewTopic[string, string]("old")
	all := map[string]*topology.Topology{}
	for kind, build := range map[string]func(b *stream.Builder){
		"window": func(b *stream.Builder) {
			b.Stream(old).GroupByKey().Windowed(stream.Tumbling(time.Hour, 24*time.Hour)).
				Count(state.NewWindowed[string, int64]("rows"))
		},
		"session": func(b *stream.Builder) {
			b.Stream(old).GroupByKey().Sessions(stream.SessionGap(time.Hour, 24*time.Hour)).
				Count(state.NewSession[string, int64]("rows"))
		},
		"join": func(b *stream.Builder) {
			b.Stream(old).Join(b.Stream(stream.NewTopic[string, string]("more")), stream.Around(24*time.Hour, 0), "rows",
				func(a, b string) string { return a + b }).To(stream.NewTopic[string, string]("joined"))
		},
	} {
		b := stream.NewBuilder()
		build(b)
		topo, err := b.Build()
		require.NoError(t, err)
		all[kind] = topo
	}
	return all
}

// A changelog that something else than the application has cut is refused though its rows expire, without a copy and
// with one that is older. What is accepted is remembered.
func TestCutChangelogsOfStoresThatExpireAreRefused(t *testing.T) {
	for kind, topo := range purgedStores(t) {
		t.Run(kind, func(t *testing.T) {
			changelog := "wordcount-rows-changelog"
			if kind == "join" {
				changelog = "wordcount-rows-this-join-store-changelog"
			}
			h := newHarness(t)
			h.create(1, "old")
			h.create(1, "more")
			cfg := h.config()
			run := func(cfg runtime.Config) {
				h.at(0)
				h.start(topo, cfg).caughtUp().stop()
			}
			run(cfg)
			newer := cfg
			newer.State.FS = vfs.NewMem()
			for range 3 {
				run(newer)
			}
			end := h.ends(changelog)[0]
			h.deleteBefore(changelog, map[int32]int64{0: end - 1}) // what lies there is the end of a transaction
			require.ErrorContains(t, h.start(topo, cfg).fails(), "topic "+changelog+", which was cut and begins at ")

			log := loggedTo(&newer)
			run(newer)
			require.Contains(t, log.String(), "The local copy is complete")

			none := cfg
			none.State.FS = vfs.NewMem()
			require.ErrorContains(t, h.start(topo, none).fails(), "topic "+changelog+", was cut: it begins at ")
			h.follow(cfg, h.start(topo, cfg).fails(), whatIsLeft)
			run(cfg)
			none.State.FS = vfs.NewMem()
			run(none)
		})
	}
}

// clocked is hourly with a store that leaves its changelog's retention to the broker's clock, too.
func clocked(t *testing.T) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	b.Stream(stream.NewTopic[string, string]("old")).GroupByKey().
		Windowed(stream.Tumbling(time.Hour, 24*time.Hour)).
		Count(state.NewWindowed[string, int64]("windows").Topic(map[string]string{"retention.ms": "900000000"}))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// Where the broker's clock deletes, nobody knows whether something else has.
func TestAChangelogThatExpiresByAClockIsRestored(t *testing.T) {
	h := newHarness(t)
	h.create(1, "old")
	cfg := h.config()
	h.at(0)
	h.at(time.Hour)
	h.start(clocked(t), cfg).caughtUp().stop()
	h.deleteBefore("wordcount-windows-changelog", map[int32]int64{0: 1})
	cfg.State.FS = vfs.NewMem()
	log := loggedTo(&cfg)
	h.start(clocked(t), cfg).caughtUp().stop()
	require.Contains(t, log.String(), "begins at 1. The broker deletes from it by itself (retention.ms=900000000)")
}

// purged feeds hourly until it has deleted from its changelog, which begins at start then.
func (h *harness) purged(app *running) (start int64) {
	h.t.Helper()
	const changelog = "wordcount-windows-changelog"
	h.at(0)
	app.caughtUp()
	require.NoError(h.t, app.Checkpoint(h.ctx))
	h.at(60 * time.Hour)
	h.at(60 * time.Hour)
	app.caughtUp()
	require.NoError(h.t, app.Checkpoint(h.ctx))
	require.Eventually(h.t, func() bool {
		offsets, err := h.admin.ListStartOffsets(h.ctx, changelog)
		require.NoError(h.t, err)
		o, _ := offsets.Lookup(changelog, 0)
		start = o.Offset
		return start > 0
	}, patience, poll)
	return start
}

// A process that has read the progress topic before another one deleted from the changelog goes on with the task.
func TestAPurgeByAnotherProcessIsNoCut(t *testing.T) {
	h := newHarness(t)
	h.create(1, "old")
	cfg := h.config()
	second := cfg
	cfg.Topics.PurgeInterval = 2 * time.Millisecond
	second.State.FS = vfs.NewMem()
	log := loggedTo(&second)
	app := h.start(hourly(t), cfg).settled()
	idle := h.start(hourly(t), second).settled()
	h.purged(app)
	app.stop()
	h.at(60 * time.Hour)
	h.want = map[string]int64{"k": 3}
	h.await()
	idle.stop()
	require.NotContains(t, log.String(), "was cut")
}

// The offset up to which the application has deleted is durable, and a cut beyond it is seen. Builds that did not note
// it are believed, once.
func TestPurgesAreNoted(t *testing.T) {
	h := newHarness(t)
	h.create(1, "old")
	cfg := h.config()
	cfg.Topics.PurgeInterval = 2 * time.Millisecond
	app := h.start(hourly(t), cfg).settled()
	start := h.purged(app)
	app.stop()
	key := progress.Key{Kind: progress.Start, Name: "wordcount-windows-changelog", Partition: 0}
	known, _ := h.noted("wordcount")
	require.Equal(t, start, known[key].Offset)

	h.produce(&kgo.Record{Topic: "wordcount-progress", Key: progress.AppendKey(nil, key)}) // as an older build has it
	cfg.State.FS = vfs.NewMem()
	log := loggedTo(&cfg)
	h.start(hourly(t), cfg).caughtUp().stop()
	require.Contains(t, log.String(), "they are taken for expired")
	cfg.State.FS = vfs.NewMem()
	log = loggedTo(&cfg)
	h.start(hourly(t), cfg).caughtUp().stop()
	require.NotContains(t, log.String(), "they are taken for expired")

	h.deleteBefore("wordcount-windows-changelog", map[int32]int64{0: start + 1})
	cfg.State.FS = vfs.NewMem()
	require.ErrorContains(t, h.start(hourly(t), cfg).fails(), "knows only that it lacks what was before")
}

// A changelog that was cut to its end is complete in a copy that lacks the marker of the last transaction alone.
func TestChangelogCutToItsEndUnderACompleteCopy(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.counted(cfg, 100)
	h.cut(byWordChangelog, h.ends(byWordChangelog))
	for range 2 {
		log := loggedTo(&cfg)
		app := h.start(words(t, byWord), cfg).settled()
		require.Equal(t, h.want, app.rows())
		app.stop()
		require.Contains(t, log.String(), "The local copy is complete")
	}
	h.counted(cfg, 100)
	h.exact()
	require.Equal(t, h.want, func() map[string]int64 {
		app := h.start(words(t, byWord), cfg).settled()
		defer app.stop()
		return app.rows()
	}())
}

// Rows of a volatile store that a crash has taken do not come back, and the log says so.
func TestAVolatileStoreThatLostItsRowsIsNamed(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	topo := countInto(t, "lines", "", byWord.Volatile())
	log := loggedTo(&cfg)
	require.Equal(t, keyCounts(1), h.count(topo, cfg))
	require.NotContains(t, log.String(), "has no rows here")
	require.Equal(t, keyCounts(2), h.count(topo, cfg))

	cfg.State.FS = vfs.NewMem()
	log = loggedTo(&cfg)
	require.Equal(t, keyCounts(1), h.count(topo, cfg))
	require.Contains(t, log.String(), "volatile store by-word has no rows here")
}
