package runtime_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/topology"
)

const leftOut = "is in the topology again after it was left out for a while"

// copied builds lines → copies, without a store.
func copied(t *testing.T) *topology.Topology {
	t.Helper()
	b := topology.NewBuilder()
	b.Source("lines", lineTopic).Sink("copies", topology.NewTopic[string, string]("copies"))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// lineWith is the only line of a log that has a text.
func lineWith(t *testing.T, log fmt.Stringer, text string) (found string) {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, text) {
			require.Empty(t, found, "a second line: %s", line)
			found = line
		}
	}
	require.NotEmpty(t, found, "no line with %q", text)
	return found
}

// A store that comes back says what it lacks, once, whether its whole branch was gone or another store had its place.
func TestAStoreThatWasLeftOutSaysWhatItLacks(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		for name, meanwhile := range map[string]*topology.Topology{
			"branch": copied(t), "name": words(t, state.NewKV[string, int64]("another")),
		} {
			t.Run(guarantee.String()+"/"+name, func(t *testing.T) {
				h := newHarness(t)
				h.create(4, "copies")
				cfg := h.config()
				cfg.Guarantee = guarantee
				h.counted(cfg, 100)
				from, written := h.ends("lines"), h.ends(byWordChangelog)

				log := loggedTo(&cfg)
				app := h.start(meanwhile, cfg)
				h.feed(100)
				app.caughtUp().stop()
				h.start(meanwhile, cfg).settled().stop()
				require.NotContains(t, log.String(), leftOut)

				h.start(words(t, byWord), cfg).settled().stop()
				line := lineWith(t, log, leftOut)
				require.Contains(t, line, "WARN")
				require.Contains(t, line, "store by-word")
				for p, to := range h.ends("lines") {
					require.Contains(t, line, fmt.Sprintf("task 0_%d: topic lines partition %d from offset %d to %d", p, p,
						from[p], to))
					require.Contains(t, line, fmt.Sprintf("task 1_%d: offset %d", p, written[p]))
				}
				h.start(words(t, byWord), cfg).settled().stop()
				lineWith(t, log, leftOut)

				h.follow(cfg, errors.New(line), empty)
				app = h.start(words(t, byWord), cfg).settled()
				require.Empty(t, app.rows())
				app.stop()
				lineWith(t, log, leftOut)
			})
		}
	}
}

// Each part of an input is named once, by the process that first has the task with the store again.
func TestAStoreThatWasLeftOutIsNotNamedAgainAfterARebalance(t *testing.T) {
	h := newHarness(t)
	h.create(4, "copies")
	cfg := h.config()
	h.counted(cfg, 40)
	app := h.start(copied(t), cfg)
	h.feed(40)
	app.caughtUp().stop()

	other := cfg
	other.State.FS = vfs.NewMem()
	log, others := loggedTo(&cfg), loggedTo(&other)
	first, second := h.start(words(t, byWord), cfg), h.start(words(t, byWord), other)
	first.settled()
	second.settled()
	h.feed(40)
	first.caughtUp().stop()
	second.caughtUp().stop()
	for p := range h.ends("lines") {
		text := fmt.Sprintf("topic lines partition %d from offset", p)
		require.Equal(t, 1, strings.Count(log.String()+others.String(), text), text)
	}
}

// A store that lacks nothing is not named: one that is new, one that only restarts, and one whose inputs did not move
// meanwhile but over the end of a transaction.
func TestAStoreThatLacksNothingIsNotNamed(t *testing.T) {
	h := newHarness(t)
	h.create(4, "copies")
	cfg := h.config()
	log := loggedTo(&cfg)
	app := h.start(copied(t), cfg)
	h.feed(20)
	app.caughtUp().stop()
	h.counted(cfg, 20)
	h.counted(cfg, 20)
	other := cfg
	other.State.FS = vfs.NewMem()
	h.start(words(t, byWord), other).settled().stop()
	require.NotContains(t, log.String(), leftOut)

	before := h.ends("lines")
	h.start(copied(t), cfg).settled().stop()
	client := brokertest.Client(t, h.broker, kgo.TransactionalID("writer"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, client.BeginTransaction())
	for p := range before {
		require.NoError(t, client.ProduceSync(h.ctx, &kgo.Record{Topic: "lines", Partition: p, Value: []byte("aborted")}).
			FirstErr())
	}
	require.NoError(t, client.EndTransaction(h.ctx, kgo.TryAbort))
	h.start(copied(t), cfg).caughtUp().stop()
	h.counted(cfg, 20)
	require.NotContains(t, log.String(), leftOut)
}
