package runtime_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
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
				cfg.Guarantee, cfg.NoLocal, cfg.BatchBytes = guarantee, requests, 8<<10
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

func lineOf(key int, value string) *kgo.Record {
	return &kgo.Record{Topic: "lines", Key: fmt.Append(nil, key), Value: []byte(value)}
}

// A dead letter that the broker refuses stops the application: nothing is left to be done.
func TestADeadLetterThatTheBrokerRefuses(t *testing.T) {
	h := newHarness(t)
	h.create(1, "out")
	small := map[string]*string{"max.message.bytes": kadm.StringPtr("100")}
	_, err := h.admin.CreateTopic(h.ctx, 1, 1, small, "dead")
	require.NoError(t, err)
	cfg := h.config()
	cfg.Errors = topology.Errors{Encode: topology.DeadLetter, DeadLetters: "dead"}
	h.produce(lineOf(0, "good"), lineOf(0, "future"))
	require.ErrorContains(t, h.start(passing(t), cfg).fails(), "the broker refuses its dead letter, too")
}
