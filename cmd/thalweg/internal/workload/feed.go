package workload

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/internal/batch"
)

// feedRecords writes a data set to a cluster, record by record.
func (p *place) feedRecords(ctx context.Context, e *encoded) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	produce := func(partition int32, timestamp int64, key, value []byte) error {
		record := &kgo.Record{Topic: e.topic, Partition: partition, Key: key, Value: value}
		record.Timestamp = milliseconds(timestamp)
		p.client.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				cancel(fmt.Errorf("bench: feed topic %s: %w", e.topic, err))
			}
		})
		return context.Cause(ctx)
	}
	if err := e.each(produce); err != nil {
		return err
	}
	if err := p.client.Flush(ctx); err != nil {
		return context.Cause(ctx)
	}
	return context.Cause(ctx)
}

// each hands out all records; keys and values stay valid.
func (e *encoded) each(emit func(partition int32, timestamp int64, key, value []byte) error) error {
	if e.batches == nil {
		return e.set.each(e.records/max(e.set.Passes, 1), func(r *Record) error {
			both := append(append(make([]byte, 0, len(r.Key)+len(r.Value)), r.Key...), r.Value...)
			return emit(r.Partition, r.Timestamp, both[:len(r.Key):len(r.Key)], both[len(r.Key):])
		})
	}
	var d batch.Decoder
	for _, encoded := range e.batches {
		b, _, err := batch.Parse(encoded.raw)
		if err != nil {
			return err
		}
		it, err := b.Records(&d)
		if err != nil {
			return err
		}
		for r := (batch.Record{}); it.Next(&r); {
			if err := emit(encoded.partition, r.Timestamp, r.Key, r.Value); err != nil {
				return err
			}
		}
	}
	return nil
}
