package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/examples/internal/place"
	"thalweg/examples/wordcount/program"
)

// partitions of the input and output topics.
const partitions = 4

// feeder is the client that feeds: each record goes to the partition that it names.
func feeder(here *place.Place) (*kgo.Client, error) {
	return here.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(100_000))
}

// createTopics makes the input and the output topic, unless they are there.
func createTopics(ctx context.Context, client *kgo.Client, n program.Program) error {
	forever := "-1"
	made, err := kadm.NewClient(client).CreateTopics(ctx, partitions, -1,
		map[string]*string{"retention.ms": &forever}, n.Lines.Name(), n.Counts.Name())
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for _, t := range made.Sorted() {
		if t.Err != nil && !errors.Is(t.Err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w: %s", t.Topic, t.Err, t.ErrMessage)
		}
	}
	return nil
}

// feed writes every line to the topic, line i to partition i modulo their number. What a partition holds is always
// the first of its lines, in order, each once; so after a crash its end offset says where to go on.
func feed(
	ctx context.Context, client *kgo.Client, n program.Program, in *input, show *progress,
) (lines int64, err error) {
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, n.Lines.Name())
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("feed: list offsets of topic %s: %w", n.Lines.Name(), err)
	}
	var there [partitions]int64
	for p := range there {
		end, ok := ends.Lookup(n.Lines.Name(), int32(p))
		if !ok {
			return 0, fmt.Errorf("feed: topic %s has no partition %d: it must have %d", n.Lines.Name(), p, partitions)
		}
		there[p] = end.Offset
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var failed atomic.Pointer[error]
	promise := func(r *kgo.Record, err error) {
		if err != nil {
			err = fmt.Errorf("feed: topic %s partition %d: %w", r.Topic, r.Partition, err)
			failed.CompareAndSwap(nil, &err)
			cancel(err)
		}
	}
	for line, err := range in.lines() {
		if err != nil {
			return lines, err
		}
		if ctx.Err() != nil {
			return lines, context.Cause(ctx)
		}
		p := int32(lines % partitions)
		if lines/partitions >= there[p] {
			client.Produce(ctx, &kgo.Record{Topic: n.Lines.Name(), Partition: p, Value: bytes.Clone(line)}, promise)
		}
		lines++
		show.lines.Store(lines)
	}
	if err := client.Flush(ctx); err != nil {
		return lines, context.Cause(ctx)
	}
	if err := failed.Load(); err != nil {
		return lines, *err
	}
	return lines, nil
}
