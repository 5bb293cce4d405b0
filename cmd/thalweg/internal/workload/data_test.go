package workload

import (
	"bytes"
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
