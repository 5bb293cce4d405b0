package runtime_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
	"thalweg/stream"
	"thalweg/topology"
)

// Run ends in time, whatever the program's functions do, and says which one has not come back. What it makes is
// discarded. Its state stays locked, and its tasks go elsewhere.
func TestCloseDoesNotWaitForACall(t *testing.T) {
	t.Parallel()
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			entered, release := make(chan struct{}), make(chan struct{})
			var hung atomic.Bool
			topo := wordsUnless(t, byWord, func(line string) error {
				if line == "hang" && !hung.Swap(true) {
					close(entered)
					<-release
				}
				return nil
			})
			cfg, log := h.config(), new(text)
			cfg.Guarantee, cfg.Logger = guarantee, slog.New(slog.NewTextHandler(log, nil))
			cfg.CloseTimeout = 500 * time.Millisecond // the state engine closes in that time, too
			app := h.start(topo, cfg).settled()
			h.feed(50)
			h.await()
			h.produce(line("hang"))
			h.want["hang"]++
			<-entered
			err := app.Close(h.ctx)
			require.ErrorContains(t, err, "Config.CloseTimeout (500ms) is over, and worker 0 is processing task 0_")
			require.ErrorIs(t, err, runtime.ErrTimeout)
			require.ErrorContains(t, err, ", at node split (")
			require.ErrorContains(t, err, "/runtime/harness_test.go:")
			require.ErrorContains(t, err, "), topic lines partition ")
			require.ErrorContains(t, err, "until then the state directory state/wordcount stays locked")
			require.Equal(t, err.Error(), app.fails().Error())
			require.Equal(t, runtime.Failed, app.State())
			require.ErrorContains(t, h.start(topo, cfg).fails(), "directory state/wordcount: in use by")
			require.ErrorIs(t, h.start(topo, cfg).fails(), runtime.ErrStateInUse)

			elsewhere := h.config()
			elsewhere.Guarantee = guarantee
			other := h.start(topo, elsewhere)
			h.feed(50)
			h.await()

			close(release)
			require.Eventually(t, func() bool {
				return strings.Contains(log.String(), "its results are discarded")
			}, patience, poll)
			cfg.CloseTimeout = patience
			again := h.start(topo, cfg).settled()
			h.feed(50)
			h.await()
			again.stop()
			other.stop()
			h.exact()
		})
	}
}

// A hook that does not return keeps nobody from leaving.
func TestRunDoesNotWaitForAHook(t *testing.T) {
	h := newHarness(t)
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	cfg := h.config()
	cfg.CloseTimeout = 50 * time.Millisecond
	cfg.Hooks.StateChanged = func(_, to runtime.State) {
		if to == runtime.Running {
			close(entered)
			<-release
		}
	}
	app := h.start(words(t, byWord), cfg).settled()
	<-entered
	_ = app.Close(h.ctx) // on a machine that stands still the last commit is late, too
	require.ErrorContains(t, app.fails(), "a hook of Config.Hooks has not come back")
}

// A global table that takes its time to fill does not put off the end.
func TestCloseDoesNotWaitForAGlobalTable(t *testing.T) {
	h := newHarness(t)
	h.create(1, "slow-prices")
	const records = 2000 // 10 s of calls
	some := make([]*kgo.Record, records)
	for i := range some {
		some[i] = h.price(fmt.Sprint("item", i), 1)
		some[i].Topic = "slow-prices"
	}
	h.produce(some...)
	var calls atomic.Int64
	prices := stream.NewTopic[string, int64]("slow-prices").Timestamps(
		func(_ topology.Record[string, int64], _ int64) int64 {
			calls.Add(1)
			slow()
			return 1
		})
	b := stream.NewBuilder()
	b.Stream(lines).
		LeftJoinGlobal(b.GlobalTable(prices, priceRows), func(_, item string) (string, bool) { return item, true },
			func(_ string, _ *int64) int64 { return 1 }).
		To(totals)
	topo, err := b.Build()
	require.NoError(t, err)
	app := h.start(topo, h.config())
	require.Eventually(t, func() bool { return calls.Load() > 0 }, patience, poll)
	app.stop()
	require.Less(t, calls.Load(), int64(records))
}
