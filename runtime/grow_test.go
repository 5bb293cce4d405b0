package runtime_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
	"thalweg/topology"
)

// quick makes a configuration's clients look at the topics every few moments.
func quick(cfg runtime.Config) runtime.Config {
	cfg.ClientOptions = runtime.Options(kgo.MetadataMinAge(10*time.Millisecond), kgo.MetadataMaxAge(100*time.Millisecond))
	return cfg
}

// Partitions that are added to an input while the application runs are read like those before.
func TestPartitionsThatAreAddedAreRead(t *testing.T) {
	h := newHarness(t)
	h.create(2, "ins")
	h.create(1, "copies")
	cfg := quick(h.config())
	cfg.Workers = 2
	app := h.start(copying(t, ins), cfg).settled()
	h.addPartitions("ins", 4)
	for p := range int32(4) {
		h.sent("ins", p, int(p), 1)
	}
	app.caughtUp()
	require.ElementsMatch(t, numbers(0, 4), h.values("copies"))
	require.Eventually(t, func() bool { return tasks(app) == 4 }, patience, poll)
	app.stop()
}

// What is kept by partition can't follow: the application says so, at once and not at the next start.
func TestPartitionsThatAreAddedToWhatIsKeptByPartition(t *testing.T) {
	h := newHarness(t)
	cfg := quick(h.config())
	app := h.start(words(t, byWord), cfg).settled()
	h.addPartitions("lines", 6)
	err := app.fails()
	for _, text := range []string{
		"topic lines has 6 partitions, and had 4", "What is in topic wordcount-words-repartition, store by-word lies in 4 " +
			"partitions", "reset application wordcount",
	} {
		require.ErrorContains(t, err, text)
	}
	h.create(2, "ins")
	b := topology.NewBuilder()
	b.Source("ins", topology.NewTopic[string, string]("ins")).
		Process("count", func() *counter { return &counter{name: byWord} }, byWord).
		Sink("counts", topology.NewTopic[string, int64]("counts"))
	topo, err := b.Build()
	require.NoError(t, err)
	cfg.ApplicationID = "other"
	app = h.start(topo, cfg).settled()
	h.addPartitions("ins", 3)
	err = app.fails()
	require.ErrorContains(t, err, "topic ins has 3 partitions, and had 2")
	require.ErrorContains(t, err, "store by-word lies in 2 partitions")
	require.ErrorIs(t, err, runtime.ErrTopicShape)
}

// A global table reads partitions that are added to its topic.
func TestPartitionsThatAreAddedToAGlobalTable(t *testing.T) {
	h := newHarness(t)
	h.create(1, "prices")
	h.produce(h.price("old", 1))
	app := h.start(priced(t), quick(h.config())).settled()
	h.addPartitions("prices", 8)
	h.reconnect()
	for i := range 20 {
		h.produce(h.price(fmt.Sprint("new", i), int64(i)))
	}
	app.caughtUp()
	require.Len(t, app.prices(), 21)
	require.EqualValues(t, 7, h.ask(app, "k", "new7"))
}

// Results go where their keys belong when the topic has more partitions, and when it was recreated with fewer.
func TestAnOutputWithOtherPartitions(t *testing.T) {
	for _, local := range []bool{true, false} {
		h := newHarness(t)
		h.create(1, "ins")
		h.create(2, "copies")
		cfg := quick(h.config())
		cfg.NoLocal = !local
		app := h.start(copying(t, ins), cfg).settled()
		h.sent("ins", 0, 0, 100)
		app.caughtUp()
		h.addPartitions("copies", 4)
		first := 100
		for ; !slices.ContainsFunc(h.read("copies"), func(r *kgo.Record) bool { return r.Partition >= 2 }); first++ {
			h.sent("ins", 0, first, 1) // a commit asks for the partitions, at times
			app.caughtUp()
		}
		h.sent("ins", 0, first, 300)
		app.caughtUp()
		used := map[int32]bool{}
		for _, r := range h.read("copies") {
			if n := number10(t, r.Value); n >= first {
				require.Equal(t, topology.PartitionFor(r.Key, 4), r.Partition)
				used[r.Partition] = true
			}
		}
		require.Len(t, used, 4)
		h.remove("copies")
		h.create(1, "copies")
		h.sent("ins", 0, 10_000, 100)
		app.caughtUp()
		require.Equal(t, numbers(10_000, 10_100), h.values("copies"))
		app.stop()
	}
}

func number10(t *testing.T, b []byte) (n int) {
	t.Helper()
	_, err := fmt.Sscan(string(b), &n)
	require.NoError(t, err)
	return n
}
