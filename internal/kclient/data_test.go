package kclient

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/internal/batch"
)

func TestRoundTripOverPartitions(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.producer("")
		topic := b.topic(l, "in", 4)
		var want [4][]string
		var nexts [4]int64
		for round := range 5 {
			var items []Item
			for p := range int32(4) {
				values := numbered(fmt.Sprintf("%d/%d/", p, round), 1+round)
				want[p] = append(want[p], values...)
				items = append(items, item(topic, p, values...))
			}
			for _, it := range b.produce(l, items...) {
				require.NoError(t, it.Err)
				nexts[it.Partition] = max(nexts[it.Partition], it.Next)
			}
		}
		f := l.Fetcher()
		r := b.reader(f)
		for p := range int32(4) {
			require.EqualValues(t, len(want[p]), nexts[p])
			f.Set(TopicPartition{topic, p}, 0)
		}
		for p := range int32(4) {
			tp := TopicPartition{topic, p}
			require.Equal(t, want[p], r.until(tp, nexts[p]))
			require.Equal(t, nexts[p], r.last[tp].HighWatermark)
			require.Equal(t, nexts[p], r.last[tp].LastStable)
			require.Zero(t, r.last[tp].LogStart)
		}
	})
}

func TestManyBatchesOfOnePartitionKeepTheirOrder(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.producer("")
		topic := b.topic(l, "in", 1)
		var want []string
		for i := range 200 {
			v := fmt.Sprint(i)
			want = append(want, v)
			require.NoError(t, l.Produce(b.ctx, []Item{item(topic, 0, v)}))
		}
		require.NoError(t, l.Flush(b.ctx))
		require.Len(t, l.TakeProduced(nil), 200)
		require.Zero(t, l.BufferedBytes())
		require.Equal(t, want, b.all(l, TopicPartition{topic, 0}))
	})
}

func TestFetchFromTheMiddleOfABatchAndCompression(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.producer("")
		topic := b.topic(l, "in", 1)
		builder := batch.NewBuilder(batch.LZ4)
		for i := range 100 {
			builder.Append(time.Now().UnixMilli(), nil, fmt.Appendf(nil, "value %d", i), nil)
		}
		tp := TopicPartition{topic, 0}
		b.produce(l, Item{TopicPartition: tp, Builder: builder})
		l.Fetcher().Set(tp, 40)
		require.Equal(t, "value 40", b.reader(l.Fetcher()).until(tp, 100)[0])
	})
}

func TestSetMakesEarlierFetchesStale(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.producer("")
		topic := b.topic(l, "in", 1)
		tp := TopicPartition{topic, 0}
		for i := range 10 {
			b.produce(l, item(topic, 0, fmt.Sprint(i)))
		}
		f := l.Fetcher()
		f.Set(tp, 0)
		fetched := <-f.Fetched()
		require.False(t, fetched[0].Stale())
		f.Set(tp, 5)
		require.True(t, fetched[0].Stale())
		require.Equal(t, []string{"5", "6", "7", "8", "9"}, b.reader(f).until(tp, 10))
		f.Unset(tp)
		_, ok := f.Position(tp)
		require.False(t, ok)
	})
}

func TestSetAndResumeDoNotWaitForAnIdleFetch(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.open(func(c *Config) {
			if c.Broker != nil && !c.NoLocal {
				c.FetchWaitMax = 10 * time.Minute // far longer than the test
			}
		})
		require.NoError(t, l.InitProducer(b.ctx))
		topic := b.topic(l, "in", 2)
		first, second := TopicPartition{topic, 0}, TopicPartition{topic, 1}
		b.produce(l, item(topic, 0, "a"), item(topic, 1, "b"))
		f := l.Fetcher()
		r := b.reader(f)
		f.Set(first, 1) // the end: the fetch waits
		f.Set(second, 0)
		require.Equal(t, []string{"b"}, r.until(second, 1))
		f.Set(first, 0)
		delete(r.next, first)
		require.Equal(t, []string{"a"}, r.until(first, 1))
		f.Pause(first)
		b.produce(l, item(topic, 0, "c"))
		f.Set(second, 0)
		delete(r.next, second)
		require.Equal(t, []string{"b", "b"}, r.until(second, 1))
		f.Resume(first)
		require.Equal(t, []string{"a", "c"}, r.until(first, 2))
	})
}

func TestPauseAndResume(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.producer("")
		topic := b.topic(l, "in", 2)
		quiet, loud := TopicPartition{topic, 0}, TopicPartition{topic, 1}
		f := l.Fetcher()
		f.Set(quiet, 0)
		f.Pause(quiet)
		f.Set(loud, 0)
		b.produce(l, item(topic, 0, "q"), item(topic, 1, "l"))
		r := b.reader(f)
		r.until(loud, 1)
		b.produce(l, item(topic, 1, "l2"))
		r.until(loud, 2)
		// A request that was under way when it was paused may have brought it; nothing later does.
		position, _ := f.Position(quiet)
		require.LessOrEqual(t, position, int64(1))
		f.Resume(quiet)
		require.Equal(t, []string{"q"}, r.until(quiet, 1))
	})
}

func TestPurgeAndOutOfRange(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.producer("")
		topic := b.topic(l, "repartition", 2)
		tp := TopicPartition{topic, 1}
		for i := range 10 {
			b.produce(l, item(topic, 1, fmt.Sprint(i)))
		}
		require.NoError(t, l.Topics().DeleteRecords(b.ctx, map[TopicPartition]int64{tp: 6}))
		starts, err := l.ListOffsets(b.ctx, []TopicPartition{tp, {topic, 0}}, Earliest, false)
		require.NoError(t, err)
		require.Equal(t, map[TopicPartition]int64{tp: 6, {topic, 0}: 0}, starts)

		f := l.Fetcher()
		r := b.reader(f)
		for _, offset := range []int64{3, 50} {
			f.Set(tp, offset)
			delete(r.last, tp)
			for r.last[tp].Err == nil {
				r.take()
			}
			e, ok := errors.AsType[*OutOfRangeError](r.last[tp].Err)
			require.True(t, ok, "%v", r.last[tp].Err)
			require.Equal(t, OutOfRangeError{tp, offset, 6, 10}, *e)
		}
		f.Set(tp, 6)
		require.Equal(t, []string{"6", "7", "8", "9"}, r.until(tp, 10))
		require.EqualValues(t, 6, r.last[tp].LogStart)
	})
}

// sent counts requests by key.
type sent [100]atomic.Int64

func (s *sent) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	s[key].Add(1)
}

// Records of many partitions are deleted in several requests, each of which the broker answers in time.
func TestDeletionsAreRequestedInPieces(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		var requests sent
		c := b.open(func(cfg *Config) { cfg.Client = append(cfg.Client, kgo.WithHooks(&requests)) })
		topic := b.topic(c, "repartition", 2*deletionPartitionsMax+1)
		before := map[TopicPartition]int64{}
		for p := range int32(2*deletionPartitionsMax + 1) {
			before[TopicPartition{topic, p}] = 0
		}
		key := kmsg.NewPtrDeleteRecordsRequest().Key()
		require.NoError(t, c.Topics().DeleteRecords(b.ctx, nil))
		require.Zero(t, requests[key].Load())
		require.NoError(t, c.Topics().DeleteRecords(b.ctx, before))
		require.EqualValues(t, 3, requests[key].Load())
		before[TopicPartition{topic, 7}] = 9
		err := c.Topics().DeleteRecords(b.ctx, before)
		require.ErrorContains(t, err, "delete records of "+topic+"-7: OFFSET_OUT_OF_RANGE")
		require.EqualValues(t, 6, requests[key].Load(), "the others are done")
	})
}

// A reader is told that the topic is another one, and reads none of that, however soon it has as many records.
func TestARecreatedTopicIsNotReadOn(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		c := b.producer("")
		topic := b.topic(c, "in", 1)
		tp := TopicPartition{topic, 0}
		b.produce(c, item(topic, 0, "old"))
		f := c.Fetcher()
		r := b.reader(f)
		f.Set(tp, 0)
		r.until(tp, 1)
		f.Pause(tp)
		_, err := c.Admin().DeleteTopics(b.ctx, topic)
		require.NoError(t, err)
		other := b.producer("")
		b.topic(other, "in", 1)
		for range 3 {
			b.produce(other, item(topic, 0, "new"))
		}
		f.Resume(tp)
		for r.last[tp].Err == nil {
			r.take()
		}
		_, ok := errors.AsType[*RecreatedError](r.last[tp].Err)
		require.True(t, ok, "%v", r.last[tp].Err)
		require.Equal(t, []string{"old"}, r.values[tp])

		f.Set(tp, 0)
		delete(r.next, tp)
		require.Equal(t, []string{"old", "new", "new", "new"}, r.until(tp, 3))
		b.produce(other, item(topic, 0, "newer")) // its log is the one that is watched
		require.Equal(t, "newer", r.until(tp, 4)[4])
	})
}

func TestListOffsetsByTime(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.producer("")
		topic := b.topic(l, "in", 1)
		tp := TopicPartition{topic, 0}
		now := time.Now().UnixMilli()
		b.produce(l, itemAt(now, topic, 0, "now", "a millisecond later", "two"))
		for at, want := range map[int64]int64{-now: 0, 0: 0, 1: 1, 2: 2, 5000: 3} {
			got, err := l.ListOffsets(b.ctx, []TopicPartition{tp}, now+at, false)
			require.NoError(t, err)
			require.Equal(t, want, got[tp], "at %d", at)
		}
	})
}

// counting counts the fetches that were answered with data.
type counting struct {
	transport
	fetches atomic.Int64
}

func (c *counting) fetch(ctx context.Context, node int32, req *fetchRequest) ([]fetchAnswer, error) {
	answers, err := c.transport.fetch(ctx, node, req)
	c.fetches.Add(1)
	return answers, err
}

func TestAFetchThatNobodyTakesStopsTheFetching(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.producer("")
		topic := b.topic(l, "in", 1)
		tp := TopicPartition{topic, 0}
		const n, size = 60, 64 << 10
		value := strings.Repeat("x", size)
		for range n {
			require.NoError(t, l.Produce(b.ctx, []Item{item(topic, 0, value)}))
		}
		require.NoError(t, l.Flush(b.ctx))
		c := &counting{transport: l.transport}
		f := newFetcher(FetcherConfig{BytesMax: 2 * size, PartitionBytesMax: 2 * size}, l.cfg, c, l.metadata)
		defer f.Close()
		f.Set(tp, 0)
		r := b.reader(f)
		for taken := int64(1); r.next[tp] < n; taken++ {
			got := r.take()
			require.LessOrEqual(t, got[0].Bytes, 3*size)
			require.LessOrEqual(t, c.fetches.Load(), taken+2, "fetched ahead of what was taken")
		}
	})
}

func TestProduceBlocksAtItsLimit(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.open(func(c *Config) { c.ProduceBytesMax = 100 << 10 })
		require.NoError(t, l.InitProducer(b.ctx))
		topic := b.topic(l, "in", 1)
		value := strings.Repeat("x", 30<<10)
		for range 20 {
			require.NoError(t, l.Produce(b.ctx, []Item{item(topic, 0, value)}))
			require.LessOrEqual(t, l.BufferedBytes(), 100<<10)
		}
		require.NoError(t, l.Flush(b.ctx))
	})
}

func TestCloseWhilePolling(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.producer("")
		topic := b.topic(l, "in", 1)
		for i := range 20 {
			require.NoError(t, l.Produce(b.ctx, []Item{item(topic, 0, fmt.Sprint(i))}))
		}
		l.Fetcher().Set(TopicPartition{topic, 0}, 0)
		<-l.Fetcher().Fetched()
		l.Close()
		require.ErrorIs(t, l.Produce(b.ctx, []Item{item(topic, 0, "late")}), ErrClosed)
		require.Equal(t, Canceled, ClassOf(l.Flush(b.ctx)))
		l.Close()
	})
}

func TestSettingsThatTheBrokerRefuses(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		name := b.name("bad")
		err := b.producer("").Topics().Ensure(b.ctx, []TopicSpec{{
			Name: name, Partitions: 1, Config: map[string]string{"segment.ms": "an hour", "cleanup.policy": "compact"},
		}})
		require.ErrorContains(t, err, name)
		require.ErrorContains(t, err, "Invalid value an hour for configuration segment.ms")
		require.ErrorContains(t, err, "cleanup.policy=compact, segment.ms=an hour")
		require.ErrorContains(t, err, "Config.Topics.Config")
	})
}

func TestARecordThatIsTooLarge(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.producer("")
		name := b.name("small")
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{
			{Name: name, Partitions: 1, Config: map[string]string{"max.message.bytes": "1000"}},
		}))
		require.NoError(t, l.Produce(b.ctx, []Item{item(name, 0, strings.Repeat("x", 2000))}))
		err := l.Flush(b.ctx)
		require.ErrorContains(t, err, name+"-0")
		require.ErrorContains(t, err, "max.message.bytes")
		require.Equal(t, Fatal, ClassOf(err))
		require.NoError(t, l.InitProducer(b.ctx))
		items := l.TakeProduced(nil)
		require.Len(t, items, 1)
		require.ErrorIs(t, items[0].Err, ErrDiscarded)
		b.produce(l, item(name, 0, "fits"))
	})
}
