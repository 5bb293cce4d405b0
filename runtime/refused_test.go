package runtime_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// passing hands records on, those that say so with a time in the far future.
func passing(t *testing.T) *topology.Topology {
	in := stream.NewTopic[string, string]("lines").Timestamps(futures)
	b := stream.NewBuilder()
	b.Stream(in).To(stream.NewTopic[string, string]("out"))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// futures is the time of a record, in the far future where it says so.
func futures(r topology.Record[string, string], _ int64) int64 {
	if strings.HasPrefix(r.Value, "future") {
		return time.Now().AddDate(10, 0, 0).UnixMilli()
	}
	return r.Timestamp
}

// A broker refuses a batch. The record that it is refused for is found, and the policy decides about it: others do not
// suffer.
func TestWhatTheBrokerRefuses(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		for _, requests := range []bool{false, true} {
			t.Run(fmt.Sprint(guarantee, " requests ", requests), func(t *testing.T) {
				h := newHarness(t)
				h.create(1, "dead")
				_, err := h.admin.CreateTopic(h.ctx, 2, 1, map[string]*string{
					"max.message.bytes": kadm.StringPtr("60000"),
				}, "out")
				require.NoError(t, err)
				cfg := h.config()
				cfg.Guarantee, cfg.NoLocal, cfg.Limits.BatchBytes = guarantee, requests, 8<<10
				cfg.Errors = topology.Errors{Encode: topology.DeadLetter, DeadLetters: "dead"}
				bad := []string{"future 1", "future 2", "large " + strings.Repeat("x", 70_000)}
				var want []string
				var records []*kgo.Record
				for i := range 300 {
					v := fmt.Sprint("good ", i)
					want = append(want, v)
					records = append(records, lineOf(i, v))
					if i%100 == 50 {
						records = append(records, lineOf(i, bad[i/100]))
					}
				}
				h.produce(records...)
				h.start(passing(t), cfg).caughtUp().stop()
				var got, letters []string
				for _, r := range h.read("out") {
					got = append(got, string(r.Value))
				}
				for _, r := range h.read("dead") {
					letters = append(letters, string(r.Value))
				}
				if guarantee == runtime.AtLeastOnce { // going back repeats some
					slices.Sort(got)
					slices.Sort(letters)
					got, letters = slices.Compact(got), slices.Compact(letters)
				}
				require.ElementsMatch(t, short(bad), short(letters))
				require.ElementsMatch(t, want, got)
			})
		}
	}
	t.Run("fail", func(t *testing.T) {
		h := newHarness(t)
		h.create(1, "out")
		h.produce(lineOf(0, "good"), lineOf(0, "future"))
		err := h.start(passing(t), h.config()).fails()
		var pe *topology.ProcessingError
		require.ErrorAs(t, err, &pe)
		require.Equal(t, topology.PhaseEncode, pe.Phase)
		require.EqualValues(t, 1, pe.Metadata.Offset)
		require.ErrorContains(t, err, "the broker refuses what follows from the record")
		require.ErrorIs(t, err, kerr.InvalidTimestamp)
	})
}

// A topic that takes nothing: each record is processed again by itself, once, and counts once. The log says it, and not
// for each record.
func TestATopicThatRefusesEverything(t *testing.T) {
	const records = 100
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			h := newHarness(t)
			h.createSmall("out")
			cfg := h.config()
			cfg.Guarantee = guarantee
			cfg.Errors = topology.Errors{Encode: topology.Skip}
			log := loggedTo(&cfg)
			var rewinds atomic.Int64
			cfg.Hooks.Rewound = func(int, error) { rewinds.Add(1) }
			for i := range records {
				h.produce(lineOf(i, strings.Repeat("too large ", 20)))
			}
			began := time.Now()
			app := h.start(passing(t), cfg).caughtUp()
			app.stop()
			pauses := 1 + int(time.Since(began)/(10*time.Second)) // after one, lines and suspicions may come again
			require.Empty(t, h.read("out"))
			require.LessOrEqual(t, rewinds.Load(), int64(records+32*pauses), "each record is refused about once")
			source := app.Stats().Nodes[0]
			require.Equal(t, "source-lines", source.Node)
			require.EqualValues(t, records, source.Processed)
			require.EqualValues(t, records, source.Dropped["skipped"])
			text := log.String()
			require.LessOrEqual(t, strings.Count(text, "the broker refuses what follows from a record"), pauses, text)
			require.LessOrEqual(t, strings.Count(text, "the broker refuses a batch"), pauses, text)
			require.Regexp(t, `level=WARN msg="the broker refuses what follows.* topic=out partition=\d task=0_\d node=\S+ `+
				`input=lines inputPartition=\d offset=\d+ records=1 err=".*MESSAGE_TOO_LARGE.*raise max.message.bytes`, text)
		})
	}
}

// createSmall makes a topic that takes no batch of more than 100 bytes.
func (h *harness) createSmall(topic string) {
	h.t.Helper()
	small := map[string]*string{"max.message.bytes": kadm.StringPtr("100")}
	_, err := h.admin.CreateTopic(h.ctx, 1, 1, small, topic)
	require.NoError(h.t, err)
}

func lineOf(key int, value string) *kgo.Record {
	return &kgo.Record{Topic: "lines", Key: fmt.Append(nil, key), Value: []byte(value)}
}

// A dead letter that the broker refuses stops the application: nothing is left to be done.
func TestADeadLetterThatTheBrokerRefuses(t *testing.T) {
	h := newHarness(t)
	h.create(1, "out")
	h.createSmall("dead")
	cfg := h.config()
	cfg.Errors = topology.Errors{Encode: topology.DeadLetter, DeadLetters: "dead"}
	h.produce(lineOf(0, "good"), lineOf(0, "future"))
	require.ErrorContains(t, h.start(passing(t), cfg).fails(), "the broker refuses its dead letter, too")
}

// A result that is too large shows at the commit, with others of the same table. The error says which record it is of,
// or which key where each of its records is small.
func TestAResultThatIsTooLargeIsNamed(t *testing.T) {
	rows := state.NewKV[string, string]("rows")
	out := stream.NewTopic[string, string]("out")
	for _, c := range []struct {
		name   string
		result func(string) string
		says   []string
	}{
		{"row", func(v string) string { return v }, []string{
			"topic lines partition 0 offset 1", `store "rows": key "b"`,
		}},
		{"result", func(v string) string { return strings.Repeat(v, 10) }, []string{
			"topic out partition 0", `a record of 100033 bytes with key "b"`, "node",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t)
			h.create(1, "out")
			size := 10_000
			if c.name == "row" {
				size = 100_000
			}
			for i, v := range []string{"small", strings.Repeat("x", size), "small"} {
				h.produce(&kgo.Record{Topic: "lines", Key: []byte{byte('a' + i)}, Value: []byte(v), Partition: 0})
			}
			b := stream.NewBuilder()
			b.Stream(lineTopic).GroupByKey().Aggregate(rows, func() string { return "" },
				func(_, v, _ string) string { return v }).ToStream().MapValues(c.result).To(out)
			topo, err := b.Build()
			require.NoError(t, err)
			cfg := h.config()
			cfg.Limits.RecordBytesMax = 70_000
			err = h.start(topo, cfg).fails()
			for _, says := range append(c.says, "raise Config.Limits.RecordBytesMax and the topic's max.message.bytes") {
				require.ErrorContains(t, err, says)
			}
		})
	}
}
