package kclient

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"thalweg/broker/brokertest"
	"thalweg/internal/batch"
)

// bench is one way to reach one broker. The suite runs on every one of them: the bundled broker through both data
// planes, and a cluster when THALWEG_TEST_BROKERS says where one is.
type bench struct {
	t    *testing.T
	ctx  context.Context
	base Config
	tag  string // makes names unique on a broker that outlives the test
}

// patience bounds a test. It is long: a busy machine must not make a test fail.
const patience = 2 * time.Minute

// onEveryBroker runs a test for each way to reach a broker.
func onEveryBroker(t *testing.T, test func(t *testing.T, b *bench)) {
	run := func(name string, base func(t *testing.T) Config) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			t.Cleanup(cancel)
			test(t, &bench{t: t, ctx: ctx, base: base(t), tag: uuid.NewString()[:8]})
		})
	}
	if seeds := os.Getenv("THALWEG_TEST_BROKERS"); seeds != "" {
		run("cluster", func(*testing.T) Config { return Config{Seeds: []string{seeds}} })
		return
	}
	run("local", func(t *testing.T) Config { return Config{Broker: brokertest.New(t)} })
	run("remote", func(t *testing.T) Config { return Config{Broker: brokertest.New(t), NoLocal: true} })
}

func (b *bench) name(s string) string { return s + "-" + b.tag }

// open opens a client with the bench's broker and closes it when the test ends.
func (b *bench) open(change func(*Config)) *Client {
	b.t.Helper()
	cfg := b.base
	if change != nil {
		change(&cfg)
	}
	l, err := Open(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(l.Close)
	return l
}

// producer opens a client that may produce at once.
func (b *bench) producer(transactionalID string) *Client {
	b.t.Helper()
	l := b.open(func(c *Config) { c.TransactionalID = transactionalID })
	require.NoError(b.t, l.InitProducer(b.ctx))
	return l
}

func (b *bench) topic(c *Client, name string, partitions int32) string {
	b.t.Helper()
	name = b.name(name)
	require.NoError(b.t, c.Topics().Ensure(b.ctx, []TopicSpec{{Name: name, Partitions: partitions}}))
	return name
}

// item makes a batch of one record per value. Its time is now: a cluster's retention deletes what is old, at a
// moment of its choice.
func item(topic string, partition int32, values ...string) Item {
	return itemAt(time.Now().UnixMilli(), topic, partition, values...)
}

// itemAt makes a batch whose records are a millisecond apart.
func itemAt(ms int64, topic string, partition int32, values ...string) Item {
	builder := batch.NewBuilder(batch.None)
	for i, v := range values {
		builder.Append(ms+int64(i), []byte("k"), []byte(v), nil)
	}
	return Item{TopicPartition: TopicPartition{topic, partition}, Builder: builder}
}

// produce sends and waits for the answers.
func (b *bench) produce(c *Client, items ...Item) []Item {
	b.t.Helper()
	require.NoError(b.t, c.Produce(b.ctx, items))
	require.NoError(b.t, c.Flush(b.ctx))
	return c.TakeProduced(nil)
}

// reader collects what a fetcher brings.
type reader struct {
	b      *bench
	f      *Fetcher
	values map[TopicPartition][]string
	next   map[TopicPartition]int64
	last   map[TopicPartition]Fetched
}

func (b *bench) reader(f *Fetcher) *reader {
	return &reader{
		b: b, f: f,
		values: make(map[TopicPartition][]string),
		next:   make(map[TopicPartition]int64),
		last:   make(map[TopicPartition]Fetched),
	}
}

// take waits for one answer.
func (r *reader) take() []Fetched {
	r.b.t.Helper()
	select {
	case fetched := <-r.f.Fetched():
		for _, f := range fetched {
			if !f.Stale() {
				r.add(f)
			}
		}
		return fetched
	case <-r.b.ctx.Done():
		require.FailNow(r.b.t, "no fetch came", "read so far: %v", r.next)
		return nil
	}
}

func (r *reader) add(f Fetched) {
	r.b.t.Helper()
	r.last[f.TopicPartition] = f
	if f.Err != nil {
		return
	}
	if next, ok := r.next[f.TopicPartition]; ok {
		require.Equal(r.b.t, next, f.From, "a gap or a repetition in %s", f.TopicPartition)
	}
	r.next[f.TopicPartition] = f.Next
	for _, fb := range f.Batches {
		if fb.IsControl() {
			continue
		}
		it, err := fb.Records(nil)
		require.NoError(r.b.t, err)
		var rec batch.Record
		for it.Next(&rec) {
			if rec.Offset >= f.From {
				r.values[f.TopicPartition] = append(r.values[f.TopicPartition], string(rec.Value))
			}
		}
		require.NoError(r.b.t, it.Err())
	}
}

// until reads until a partition's position is at least next.
func (r *reader) until(tp TopicPartition, next int64) []string {
	r.b.t.Helper()
	for r.next[tp] < next {
		r.take()
		require.NoError(r.b.t, r.last[tp].Err)
	}
	return r.values[tp]
}

// all reads a partition from its start to its last stable offset, which must not have open transactions before it.
func (b *bench) all(c *Client, tp TopicPartition) []string {
	b.t.Helper()
	ends, err := c.ListOffsets(b.ctx, []TopicPartition{tp}, Latest, false)
	require.NoError(b.t, err)
	f, err := c.OpenFetcher(FetcherConfig{})
	require.NoError(b.t, err)
	defer f.Close()
	f.Set(tp, 0)
	return b.reader(f).until(tp, ends[tp])
}

// event waits for the next event that isn't Trouble and releases it.
func (b *bench) event(c interface{ Events() <-chan Event }, want EventKind) Event {
	b.t.Helper()
	for {
		select {
		case e := <-c.Events():
			if e.Kind == Trouble {
				continue
			}
			require.Equal(b.t, want, e.Kind, "event %s of %v", e.Kind, e.Partitions)
			e.Done()
			return e
		case <-b.ctx.Done():
			require.FailNow(b.t, "no event came", "waited for %s", want)
		}
	}
}

// member opens a client that is in a group.
func (b *bench) member(group, transactionalID string, topics ...string) *Client {
	return b.open(func(c *Config) {
		c.Group, c.Topics, c.TransactionalID = group, topics, transactionalID
	})
}

func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return out
}
