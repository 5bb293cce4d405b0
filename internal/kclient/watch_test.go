package kclient

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/broker/brokertest"
)

// listing notes which partitions each request names.
type listing struct {
	transport
	mu       sync.Mutex
	requests [][]TopicPartition
}

func (l *listing) fetch(ctx context.Context, node int32, req *fetchRequest) ([]fetchAnswer, error) {
	var named []TopicPartition
	for _, p := range req.partitions {
		named = append(named, p.TopicPartition)
	}
	l.mu.Lock()
	l.requests = append(l.requests, named)
	l.mu.Unlock()
	return l.transport.fetch(ctx, node, req)
}

// take returns the requests since the last call.
func (l *listing) take() [][]TopicPartition {
	l.mu.Lock()
	defer l.mu.Unlock()
	requests := l.requests
	l.requests = nil
	return requests
}

// local is a bench of the bundled broker in this process, and a fetcher whose requests are noted.
func onListing(t *testing.T, fc FetcherConfig) (*bench, *Client, *Fetcher, *listing) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	b := &bench{t: t, ctx: ctx, base: Config{Broker: brokertest.New(t)}, tag: "x"}
	c := b.producer("")
	l := &listing{transport: c.transport}
	f := newFetcher(fc, c.cfg, l, c.metadata)
	t.Cleanup(f.Close)
	return b, c, f, l
}

// Partitions without anything new are in no request: they wait at their logs.
func TestARequestNamesWhatHasSomething(t *testing.T) {
	b, c, f, l := onListing(t, FetcherConfig{})
	const partitions = 200
	topic := b.topic(c, "in", partitions)
	r := b.reader(f)
	for p := range int32(partitions) {
		f.Set(TopicPartition{topic, p}, 0)
	}
	for heard := map[TopicPartition]bool{}; len(heard) < partitions; { // each is told once where it ends
		for _, got := range r.take() {
			require.Empty(t, got.Batches)
			heard[got.TopicPartition] = true
		}
	}
	l.take()
	for i := range 50 {
		tp := TopicPartition{topic, int32(i * 7 % partitions)}
		b.produce(c, item(topic, tp.Partition, "v"))
		require.Equal(t, []string{"v"}, r.until(tp, 1)[len(r.values[tp])-1:])
		for _, named := range l.take() {
			require.Equal(t, []TopicPartition{tp}, named)
		}
		f.Set(tp, 1) // and it is asked for once more
		r.take()
		l.take()
	}
}

// A partition over which a full answer passed has its turn in the next one, without anything new.
func TestAFullAnswerForgetsNoPartition(t *testing.T) {
	b, c, f, _ := onListing(t, FetcherConfig{BytesMax: 1, PartitionBytesMax: 1})
	const partitions, each = 20, 5
	topic := b.topic(c, "in", partitions)
	for range each {
		for p := range int32(partitions) {
			b.produce(c, item(topic, p, "v"))
		}
	}
	r := b.reader(f)
	for p := range int32(partitions) {
		f.Set(TopicPartition{topic, p}, 0)
	}
	for p := range int32(partitions) {
		require.Len(t, r.until(TopicPartition{topic, p}, each), each)
	}
}

// What happens to a partition that waits ends its wait: a transaction ends, it is paused and resumed, its topic is
// deleted.
func TestAWaitEnds(t *testing.T) {
	b, c, f, l := onListing(t, FetcherConfig{})
	topic := b.topic(c, "in", 2)
	r, tp := b.reader(f), TopicPartition{topic, 0}
	f.Set(tp, 0)
	r.take()

	tx := b.producer("tx")
	b.produce(tx, item(topic, 0, "a"))
	require.NoError(t, tx.EndTxn(b.ctx, true))
	require.Equal(t, []string{"a"}, r.until(tp, 2))

	f.Pause(tp)
	b.produce(c, item(topic, 0, "b"))
	f.Set(TopicPartition{topic, 1}, 0) // another request, in which the paused one is not
	r.take()
	require.Len(t, r.values[tp], 1)
	f.Resume(tp)
	require.Equal(t, []string{"a", "b"}, r.until(tp, 3))

	l.take()
	_, err := c.Admin().DeleteTopics(b.ctx, topic)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(l.take()) > 0 }, patience, 1)
}

// A reader that waits behind an open transaction learns that the partition begins later, and that its place is gone.
func TestAWaitEndsWhenRecordsAreDeleted(t *testing.T) {
	b, c, f, _ := onListing(t, FetcherConfig{})
	topic := b.topic(c, "in", 1)
	r, tp := b.reader(f), TopicPartition{topic, 0}
	for range 3 {
		b.produce(c, item(topic, 0, "a"))
	}
	b.produce(b.producer("tx"), item(topic, 0, "undecided"))
	f.Set(tp, 0)
	r.until(tp, 3)

	require.NoError(t, c.Topics().DeleteRecords(b.ctx, map[TopicPartition]int64{tp: 2}))
	for r.last[tp].LogStart != 2 {
		r.take()
	}
	require.NoError(t, r.last[tp].Err)
	require.NoError(t, c.Topics().DeleteRecords(b.ctx, map[TopicPartition]int64{tp: 4}))
	for r.last[tp].Err == nil {
		r.take()
	}
	e, ok := errors.AsType[*OutOfRangeError](r.last[tp].Err)
	require.True(t, ok, "%v", r.last[tp].Err)
	require.Equal(t, OutOfRangeError{tp, 3, 4, 4}, *e)
}
