package batch

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRewriteKeepsWhatItIsTold(t *testing.T) {
	rng := newRNG(t)
	var w Rewriter
	for c := None; c <= Zstd; c++ {
		for range 40 {
			records := randomRecords(rng, 1+rng.IntN(60))
			p := Producer{ID: 3, Epoch: 1, Sequence: 9, Transactional: true}
			raw := slices.Clone(build(t, NewBuilder(c), p, records))
			SetBaseOffset(raw, 1000, 4)
			before, _, err := Parse(raw)
			require.NoError(t, err)
			dropped := map[int64]bool{}
			for i := range records {
				if rng.IntN(3) == 0 {
					dropped[1000+int64(i)] = true
				}
			}
			horizon := int64(rng.IntN(2)*5_000_000) - 1
			out, kept, err := w.Rewrite(before, horizon, func(r *Record) bool { return !dropped[r.Offset] })
			require.NoError(t, err)
			require.Equal(t, len(records)-len(dropped), kept)
			after, rest, err := Parse(out)
			require.NoError(t, err)
			require.Empty(t, rest)
			require.NoError(t, after.Verify())
			got, ok := after.DeleteHorizon()
			require.Equal(t, horizon >= 0, ok)
			if ok {
				require.Equal(t, horizon, got)
			}
			require.Equal(t, before.BaseOffset(), after.BaseOffset())
			require.Equal(t, before.LastOffset(), after.LastOffset())
			require.Equal(t, before.LeaderEpoch(), after.LeaderEpoch())
			require.Equal(t, before.LastSequence(), after.LastSequence())
			require.Equal(t, before.ProducerID(), after.ProducerID())
			require.True(t, after.IsTransactional())
			it, err := after.Records(nil)
			require.NoError(t, err)
			var r Record
			for i, want := range records {
				if dropped[1000+int64(i)] {
					continue
				}
				require.True(t, it.Next(&r))
				headers, err := r.Headers(nil)
				require.NoError(t, err)
				require.Equal(t, 1000+int64(i), r.Offset)
				require.Equal(t, want, record{r.Timestamp, r.Key, r.Value, headers})
				require.LessOrEqual(t, r.Timestamp, after.MaxTimestamp())
			}
			require.False(t, it.Next(&r))
			require.NoError(t, it.Err())
		}
	}
}

func TestRewriteUnderLogAppendTime(t *testing.T) {
	raw := build(t, NewBuilder(None), NoProducer(), []record{{timestamp: 5}, {timestamp: 6}})
	SetLogAppendTime(raw, 99)
	b, _, err := Parse(raw)
	require.NoError(t, err)
	var w Rewriter
	out, kept, err := w.Rewrite(b, 7, func(r *Record) bool { return r.Offset == 1 })
	require.NoError(t, err)
	require.Equal(t, 1, kept)
	b, _, err = Parse(out)
	require.NoError(t, err)
	it, err := b.Records(nil)
	require.NoError(t, err)
	var r Record
	require.True(t, it.Next(&r))
	require.Equal(t, int64(99), r.Timestamp)
	require.Equal(t, int64(1), r.Offset)
}
