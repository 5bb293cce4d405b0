package kclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"thalweg/internal/batch"
)

// KeyValue is a record of a topic that is a table. A nil value deletes the key.
type KeyValue struct{ Key, Value []byte }

// scanBytesMax limits an answer to a scan: what is scanned is small.
const scanBytesMax = 1 << 20

// Scan reads partitions, each from an offset up to another one. f gets the batches, control batches among them; a
// partition of which f has seen enough is read no further when f returns true. Scan waits for transactions that are
// open there.
func (c *Client) Scan(ctx context.Context, from, to map[TopicPartition]int64,
	f func(TopicPartition, batch.Batch) (enough bool, err error)) error {
	return c.scan(ctx, false, from, to, f)
}

func (c *Client) scan(ctx context.Context, uncommitted bool, from, to map[TopicPartition]int64,
	f func(TopicPartition, batch.Batch) (enough bool, err error)) error {
	left := map[TopicPartition]bool{}
	for tp, at := range from {
		if at < to[tp] {
			left[tp] = true
		}
	}
	if len(left) == 0 {
		return nil
	}
	fetcher, err := c.OpenFetcher(FetcherConfig{
		BytesMax: scanBytesMax, PartitionBytesMax: scanBytesMax, ReadUncommitted: uncommitted,
	})
	if err != nil {
		return err
	}
	defer fetcher.Close()
	for tp := range left {
		fetcher.Set(tp, from[tp])
	}
	for len(left) > 0 {
		var fetched []Fetched
		select {
		case <-ctx.Done():
			return fmt.Errorf("kclient: scan: %w", context.Cause(ctx))
		case fetched = <-fetcher.Fetched():
		}
		for i := range fetched {
			p := &fetched[i]
			if p.Stale() || !left[p.TopicPartition] {
				continue
			}
			if p.Err != nil {
				return fmt.Errorf("kclient: scan: %w", p.Err)
			}
			enough := p.Next >= to[p.TopicPartition]
			for _, b := range p.Batches {
				some, err := f(p.TopicPartition, b)
				if err != nil {
					return fmt.Errorf("kclient: scan of %s at offset %d: %w", p.TopicPartition, b.BaseOffset(), err)
				}
				enough = enough || some
			}
			if enough {
				fetcher.Unset(p.TopicPartition)
				delete(left, p.TopicPartition)
			}
		}
	}
	return nil
}

// ReadKeyed returns the records of a topic with one partition, oldest first, which were written outside of
// transactions: so it waits for none that is open. The slices are the caller's.
func (c *Client) ReadKeyed(ctx context.Context, topic string) (records []KeyValue, err error) {
	tp := TopicPartition{topic, 0}
	first, err := c.ListOffsets(ctx, []TopicPartition{tp}, Earliest, false)
	if err != nil {
		return nil, err
	}
	end, err := c.ListOffsets(ctx, []TopicPartition{tp}, Latest, false)
	if err != nil {
		return nil, err
	}
	var decoder batch.Decoder
	err = c.scan(ctx, true, first, end, func(_ TopicPartition, b batch.Batch) (bool, error) {
		if b.IsControl() || b.IsTransactional() {
			return false, nil
		}
		it, err := b.Records(&decoder)
		if err != nil {
			return false, err
		}
		var r batch.Record
		for it.Next(&r) {
			records = append(records, KeyValue{r.Key, r.Value})
		}
		return false, it.Err()
	})
	return records, err
}

// WriteKeyed writes records to partition 0 of a topic, in order, and returns when they are safe. Nothing else may
// produce through the client.
func (c *Client) WriteKeyed(ctx context.Context, topic string, records []KeyValue, now time.Time) error {
	if len(records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.RetryTimeout, errRetryTimeout)
	defer cancel()
	for pause := newBackoff(); ; {
		err := c.writeKeyed(ctx, topic, records, now)
		if class := ClassOf(err); err == nil || class == Fatal || class == Canceled {
			return err
		}
		if waitErr := pause.wait(ctx); waitErr != nil {
			return classified(fmt.Errorf("kclient: write topic %q: %w, last: %w", topic, waitErr, err))
		}
	}
}

func (c *Client) writeKeyed(ctx context.Context, topic string, records []KeyValue, now time.Time) error {
	if !c.keyed {
		err := c.InitProducer(ctx)
		c.TakeProduced(nil) // of a call that was given up: it has dropped what that left behind
		if err != nil {
			return err
		}
	}
	c.keyed = false
	err := keyedBatches(records, now, func(b *batch.Builder) error {
		return c.Produce(ctx, []Item{{TopicPartition: TopicPartition{topic, 0}, Builder: b}})
	})
	if err == nil {
		err = c.Flush(ctx)
	}
	for _, it := range c.TakeProduced(nil) {
		err = errors.Join(err, it.Err)
	}
	c.keyed = err == nil
	return err
}

// keyedBatchBytes is the size of the batches that records are written in. A single record may be larger.
const keyedBatchBytes = 256 << 10

// keyedBatches divides records into batches, in order.
func keyedBatches(records []KeyValue, now time.Time, each func(*batch.Builder) error) error {
	var b *batch.Builder
	for i, r := range records {
		if b == nil {
			b = batch.NewBuilder(batch.None)
		}
		b.Append(now.UnixMilli(), r.Key, r.Value, nil)
		last := i+1 == len(records)
		if !last && b.Size()+len(records[i+1].Key)+len(records[i+1].Value) <= keyedBatchBytes {
			continue
		}
		if err := each(b); err != nil {
			return err
		}
		b = nil
	}
	return nil
}
