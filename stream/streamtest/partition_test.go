package streamtest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// The policy may skip what fails, but not this.
func TestKeysOutOfTheirPartitionStopTheTest(t *testing.T) {
	for _, partitions := range []int32{1, 4} {
		d := run(t, streamtest.Config{Partitions: partitions, Errors: topology.Errors{Process: topology.Skip}},
			func(b *stream.Builder) {
				b.Stream(texts).Map(func(k, v string) (string, string) { return strings.ToLower(k), v }).KeepsPartition().
					GroupByKey().Count(state.NewKV[string, int64]("n")).ToStream()
			})
		in := d.Input(texts)
		require.NoError(t, in.TrySend("anna", "x", 1))
		err := in.TrySend("Anna", "x", 2)
		if partitions == 1 {
			require.NoError(t, err, "there is but one")
			continue
		}
		var failed *topology.ProcessingError
		require.True(t, errors.As(err, &failed))
		require.Equal(t, "texts", failed.Metadata.Topic)
		require.Contains(t, failed.Site, "partition_test.go:21")
		require.ErrorContains(t, err, "the record of key anna is in partition 2, but its key belongs to partition 3 of 4")
	}
}

// A key with its window lies where the key does.
func TestWindowsKeepThePartitionOfTheirKey(t *testing.T) {
	d := run(t, streamtest.Config{Partitions: 4}, func(b *stream.Builder) {
		b.Stream(texts).GroupByKey().Windowed(stream.Tumbling(100*ms, 0)).Count(state.NewWindowed[string, int64]("w")).
			ToStream(stream.WindowKey).KeepsPartition().
			GroupByKey().Count(state.NewKV[stream.WindowedKey[string], int64]("n")).ToStream()
	})
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		d.Input(texts).Send(key, "x", 1)
	}
}

// A dead letter without a key lies in the partition of its record's task, as in production, whether it stops the
// application or not.
func TestThePartitionOfADeadLetter(t *testing.T) {
	for _, action := range []topology.Decision{topology.DeadLetter, topology.DeadLetterAndFail} {
		for p := range int32(4) {
			d := streamtest.New(t, failOnBad(t), streamtest.Config{
				Partitions: 4, Errors: topology.Errors{Process: action, DeadLetters: "dead"},
			})
			d.Input(texts).Append(p, topology.Record[string, string]{NullKey: true, Value: "bad", Timestamp: 1})
			err := d.TryRun()
			require.Equal(t, action == topology.DeadLetterAndFail, err != nil)
			letters := d.Written("dead")
			require.Len(t, letters, 1)
			require.Equal(t, p, letters[0].Partition)
		}
	}
}
