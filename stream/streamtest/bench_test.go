package streamtest_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

const (
	benchWordsPerLine  = 8
	benchLinesPerBatch = 1000
	benchBatches       = 20
	benchPartitions    = 4
)

// lineBatches are lines of words, zipf over a vocabulary of 100k.
func lineBatches(b *testing.B) []batch.Batch {
	rnd := rand.New(rand.NewPCG(1, 1))
	zipf := rand.NewZipf(rnd, 1.1, 1, 99_999)
	batches := make([]batch.Batch, benchBatches)
	for i := range batches {
		builder := batch.NewBuilder(batch.None)
		for range benchLinesPerBatch {
			var line []string
			for range benchWordsPerLine {
				line = append(line, fmt.Sprintf("word%d", zipf.Uint64()))
			}
			builder.Append(int64(i), nil, []byte(strings.Join(line, " ")), nil)
		}
		batches[i] = finish(b, builder, int64(i*benchLinesPerBatch))
	}
	return batches
}

func finish(b *testing.B, builder *batch.Builder, base int64) batch.Batch {
	raw, err := builder.Finish(batch.NoProducer())
	require.NoError(b, err)
	raw = append([]byte(nil), raw...)
	batch.SetBaseOffset(raw, base, 0)
	parsed, _, err := batch.Parse(raw)
	require.NoError(b, err)
	return parsed
}

// BenchmarkWordCount runs the word count's two sub-topologies from memory to memory, with a commit per 20k lines.
func BenchmarkWordCount(b *testing.B) {
	sb := stream.NewBuilder()
	sb.Stream(lines).FlatMapValues(words).GroupBy("words", func(_, w string) string { return w }).Count(byWord).
		ToStream().To(counts)
	topo, err := sb.Build()
	require.NoError(b, err)
	outbox := task.NewOutbox(task.OutboxConfig{Partitions: func(string) (int32, error) { return benchPartitions, nil }})
	var tasks []*task.Task
	for i, s := range topo.Subtopologies() {
		n := int32(1)
		if i == 1 {
			n = benchPartitions
		}
		for p := range n {
			id := task.ID{Subtopology: i, Partition: p}
			t, err := task.New(task.Config{
				ApplicationID: "bench", ID: id, Subs: []*topology.Subtopology{s}, Outbox: outbox,
				Tx: state.NewTx(state.Config{Namespace: state.Namespace(p)}),
			})
			require.NoError(b, err)
			for _, in := range t.Queues.Inputs() {
				require.NoError(b, t.Seek(task.Offset{Topic: in.Topic, Partition: p}))
			}
			require.NoError(b, t.Restored(nil))
			tasks = append(tasks, t)
		}
	}
	input := lineBatches(b)
	ends := [benchPartitions]int64{}
	base := int64(0)
	move := func(packets []*task.Packet) {
		for _, p := range packets {
			if p.Topic != "bench-words-repartition" {
				_, err := p.Builder.Finish(batch.NoProducer())
				require.NoError(b, err)
				outbox.Recycle(p)
				continue
			}
			got := finish(b, p.Builder, ends[p.Partition])
			ends[p.Partition] = got.LastOffset() + 1
			outbox.Recycle(p)
			require.NoError(b, tasks[1+p.Partition].Add(p.Topic, p.Partition, got))
		}
	}
	total := 0
	for b.Loop() {
		for _, in := range input {
			raw := append([]byte(nil), in.Bytes()...)
			batch.SetBaseOffset(raw, base, 0)
			base += benchLinesPerBatch
			got, _, err := batch.Parse(raw)
			require.NoError(b, err)
			require.NoError(b, tasks[0].Add("lines", 0, got))
			_, err = tasks[0].Step(benchLinesPerBatch, 0)
			require.NoError(b, err)
			move(outbox.Full())
		}
		move(outbox.Take())
		for _, t := range tasks[1:] {
			_, err := t.Step(1<<30, 0)
			require.NoError(b, err)
		}
		for _, t := range tasks {
			_, err := t.Ready()
			require.NoError(b, err)
		}
		move(outbox.Take())
		for _, t := range tasks {
			require.NoError(b, t.Advance(func(string) int64 { return 0 }))
		}
		total += benchBatches * benchLinesPerBatch * benchWordsPerLine
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(total), "ns/word")
}

// BenchmarkWordCountByHand is the same work written out: decode, split, count, encode each changed count.
func BenchmarkWordCountByHand(b *testing.B) {
	input := lineBatches(b)
	counted := map[string]int64{}
	out := batch.NewBuilder(batch.None)
	total := 0
	for b.Loop() {
		changed := map[string]struct{}{}
		for _, in := range input {
			it, err := in.Records(nil)
			require.NoError(b, err)
			for r := (batch.Record{}); it.Next(&r); {
				for w := range words(string(r.Value)) {
					counted[w]++
					changed[w] = struct{}{}
				}
			}
		}
		out.Reset()
		var value [8]byte
		for w := range changed {
			n := counted[w]
			for i := range value {
				value[i] = byte(n >> (56 - 8*i))
			}
			out.Append(0, []byte(w), value[:], nil)
		}
		_, err := out.Finish(batch.NoProducer())
		require.NoError(b, err)
		total += benchBatches * benchLinesPerBatch * benchWordsPerLine
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(total), "ns/word")
}
