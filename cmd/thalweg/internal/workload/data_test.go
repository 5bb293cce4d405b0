package workload

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// The expected figures were computed by another program from the same definition.
func TestDataSetsAreAsDefined(t *testing.T) {
	get := func(topic string, emit func(*Record)) {
		set, ok := SetOf(topic)
		require.True(t, ok)
		n := 0
		require.NoError(t, set.Generate(set.Records, func(r *Record) error { n++; emit(r); return nil }))
		require.Equal(t, set.Records, n)
	}
	t.Run("lines", func(t *testing.T) {
		distinct, total := map[string]int{}, 0
		get("lines-4", func(r *Record) {
			for w := range bytes.SplitSeq(r.Value, []byte{' '}) {
				distinct[string(w)]++
				total++
			}
		})
		require.Len(t, distinct, 99_737)
		require.Equal(t, 5_000_000, total)
	})
	t.Run("words", func(t *testing.T) {
		distinct := map[string]bool{}
		get("words-1", func(r *Record) { distinct[string(r.Key)] = true })
		require.Len(t, distinct, 97_921)
	})
	t.Run("events", func(t *testing.T) {
		kept, odd := 0, 0
		get("events-1", func(r *Record) {
			if r.Value[0] != '0' {
				kept++
			}
			if len(r.Value) != 100 || len(r.Key) != 10 {
				odd++
			}
		})
		require.Zero(t, odd)
		require.Equal(t, 2_700_277, kept)
	})
	t.Run("uniq", func(t *testing.T) {
		distinct := map[string]bool{}
		get("uniq-1", func(r *Record) { distinct[string(r.Key)] = true })
		require.Len(t, distinct, 1_000_000)
	})
}

// The expected figures were computed by another program from the same definition.
func TestDataSetsOfStateOnDisk(t *testing.T) {
	type figures struct {
		keys       int
		partitions [4]int
		first      int
	}
	for topic, want := range map[string]figures{
		"huge-1": {99_747, [4]int{25_220, 25_065, 24_629, 25_086}, 0},
		"huge-z": {49_316, [4]int{27_557, 26_096, 23_300, 23_047}, 5_770},
	} {
		set, ok := SetOf(topic)
		require.True(t, ok)
		keys, got := map[string]int{}, figures{}
		require.NoError(t, set.each(100_000, func(r *Record) error {
			keys[string(r.Key)]++
			got.partitions[r.Partition]++
			return nil
		}))
		got.keys, got.first = len(keys), keys["key-000000000000"]
		require.Equal(t, want, got, topic)
	}
}

func TestVariants(t *testing.T) {
	set, _ := SetOf("huge-1")
	set, err := set.variant(Variant{Partitions: 2, Keys: 50, Passes: 2})
	require.NoError(t, err)
	require.Equal(t, "huge-1-p2-k50-x2", set.Topic)
	var passes [2][]string
	last := Start - 1
	require.NoError(t, set.each(1000, func(r *Record) error {
		require.Equal(t, last+1, r.Timestamp)
		require.Less(t, r.Partition, int32(2))
		pass := (r.Timestamp - Start) / 1000
		passes[pass] = append(passes[pass], string(r.Key)+string(r.Value))
		last = r.Timestamp
		return nil
	}))
	require.Equal(t, passes[0], passes[1])
	set, _ = SetOf("huge-1")
	same, err := set.variant(Variant{Partitions: 4, Keys: 20_000_000, Passes: 1})
	require.NoError(t, err)
	require.Equal(t, "huge-1", same.Topic)
	uniq, _ := SetOf("uniq-1")
	uniq, err = uniq.variant(Variant{Keys: 1_000_001})
	require.NoError(t, err)
	require.Equal(t, "uniq-1-k1000001", uniq.Topic)
	distinct := map[string]bool{}
	require.NoError(t, uniq.each(uniq.Records, func(r *Record) error {
		distinct[string(r.Key)] = true
		return nil
	}))
	require.Len(t, distinct, 1_000_001)
	enough := errors.New("enough")
	clear(distinct)
	require.ErrorIs(t, uniq.Generate(7_368_787, func(r *Record) error { // the step through the keys is that long
		if distinct[string(r.Key)] = true; len(distinct) == 1000 {
			return enough
		}
		return nil
	}), enough)
	lines, _ := SetOf("lines-1")
	_, err = lines.variant(Variant{Passes: 2})
	require.ErrorContains(t, err, "passes")
}
