package workload

import (
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
)

func encode(t testing.TB, topic string, records int) (batches [][]byte) {
	set, ok := SetOf(topic)
	require.True(t, ok)
	b := batch.NewBuilder(batch.None)
	flush := func() {
		raw, err := b.Finish(batch.NoProducer())
		require.NoError(t, err)
		batches = append(batches, append([]byte(nil), raw...))
		b.Reset()
	}
	require.NoError(t, set.Generate(records, func(r *Record) error {
		b.Append(r.Timestamp, r.Key, r.Value, nil)
		if b.Len() == 1000 {
			flush()
		}
		return nil
	}))
	if b.Len() > 0 {
		flush()
	}
	return batches
}

func TestHandwrittenCounts(t *testing.T) {
	model := map[string]int64{}
	c := newCounts(1 << 10)
	set, _ := SetOf("words-1")
	require.NoError(t, set.Generate(300_000, func(r *Record) error {
		model[string(r.Key)]++
		c.add(r.Key, r.Timestamp)
		return nil
	}))
	require.Len(t, c.entries, len(model))
	for i := range c.entries {
		require.Equal(t, model[string(c.key(&c.entries[i]))], c.entries[i].n)
	}
}

func BenchmarkHandwritten(b *testing.B) {
	for workload, topic := range map[string]string{"stateless": "events-1", "wordcount": "lines-1", "count": "words-1"} {
		b.Run(workload, func(b *testing.B) {
			const records = 200_000
			batches := encode(b, topic, records)
			for b.Loop() {
				_, err := Handwritten(workload, Data{Inputs: [][][]byte{batches}}, 100_000, nil)
				require.NoError(b, err)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
		})
	}
}
