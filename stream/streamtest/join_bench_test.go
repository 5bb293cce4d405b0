package streamtest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

var (
	joinLeft  = stream.NewTopic[string, int64]("left")
	joinRight = stream.NewTopic[string, int64]("right")
	joinOut   = stream.NewTopic[string, int64]("joined")
)

func joined(b *stream.Builder, w stream.Within) {
	b.Stream(joinLeft).Join(b.Stream(joinRight), w, "j", func(l, r int64) int64 { return l + r }).To(joinOut)
}

// A record of a hot key costs its matches, however many others of the key there are: what it adds to the changelog is
// itself, not all that the key has.
func TestJoinOfAHotKeyWritesEachRecordOnce(t *testing.T) {
	const records = 500
	b := stream.NewBuilder()
	joined(b, stream.Around(0, time.Hour))
	topo, err := b.Build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{})
	in := d.Input(joinLeft)
	for range records {
		in.Send("hot", 1, 1000)
	}
	d.Input(joinRight).Send("hot", 2, 1000)
	require.Len(t, d.Written("joined"), records)
	bytes := 0
	for _, w := range d.Written("test-j-this-join-store-changelog") {
		bytes += len(w.Key) + len(w.Value)
	}
	require.Equal(t, records*(len("hot")+12+8), bytes, "key, time, sequence and value of each")
}

// BenchmarkStreamJoin joins two streams with one match a record, memory to memory, with a commit each 20k records. Of
// a hot key a record sees only what is near in time.
func BenchmarkStreamJoin(b *testing.B) {
	for _, keys := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) { benchmarkJoin(b, keys) })
	}
}

const joinBatch = 10_000

func benchmarkJoin(b *testing.B, keys int) {
	sb := stream.NewBuilder()
	joined(sb, stream.Around(0, time.Minute))
	topo, err := sb.Build()
	require.NoError(b, err)
	outbox := task.NewOutbox(task.OutboxConfig{Partitions: func(string) (int32, error) { return 1, nil }})
	t, err := task.New(task.Config{
		ApplicationID: "bench", Subs: topo.Subtopologies(), Outbox: outbox, Tx: state.NewTx(state.Config{}),
	})
	require.NoError(b, err)
	for _, in := range t.Queues.Inputs() {
		require.NoError(b, t.Seek(task.Offset{Topic: in.Topic}))
	}
	require.NoError(b, t.Restored(nil))
	names := make([][]byte, keys)
	for i := range names {
		names[i] = fmt.Appendf(nil, "key-%06d", i)
	}
	send := func(packets []*task.Packet) {
		for _, p := range packets {
			_, err := p.Builder.Finish(batch.NoProducer())
			require.NoError(b, err)
			outbox.Recycle(p)
		}
	}
	value := make([]byte, 8)
	next, total := int64(0), 0
	b.ReportAllocs()
	for b.Loop() {
		for _, topic := range []string{"left", "right"} {
			builder := batch.NewBuilder(batch.None)
			for i := range int64(joinBatch) {
				builder.Append((next+i)*2, names[(next+i)%int64(keys)], value, nil)
			}
			require.NoError(b, t.Add(topic, 0, finish(b, builder, next)))
		}
		next += joinBatch
		_, err := t.Step(1<<30, 0)
		require.NoError(b, err)
		_, err = t.Ready()
		require.NoError(b, err)
		send(outbox.Take())
		require.NoError(b, t.Advance(func(string) int64 { return 0 }))
		total += 2 * joinBatch
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(total), "ns/record")
}
