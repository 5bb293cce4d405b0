package kclient

import (
	"context"
	"time"

	"thalweg/internal/direct"
)

// local moves batches by calling the bundled broker in this process.
type local struct{ calls direct.Calls }

func (l *local) interruptible() bool { return true }

func (l *local) watch(tp TopicPartition, id TopicID, readCommitted bool, fire func()) direct.Watch {
	isolation := direct.ReadUncommitted
	if readCommitted {
		isolation = direct.ReadCommitted
	}
	place := direct.FetchPartition{Topic: tp.Topic, TopicID: id, Partition: tp.Partition}
	return l.calls.NewWatch(place, isolation, fire)
}

func (l *local) gathers() bool { return true }

func (l *local) checked() bool { return true }

func (l *local) fetch(ctx context.Context, _ int32, in *fetchRequest) ([]fetchAnswer, error) {
	req := direct.FetchRequest{
		MaxWait:    time.Duration(in.waitMillis) * time.Millisecond,
		MinBytes:   1,
		MaxBytes:   int(in.bytesMax),
		Partitions: make([]direct.FetchPartition, len(in.partitions)),
	}
	if in.readCommitted {
		req.Isolation = direct.ReadCommitted
	}
	for i := range in.partitions {
		p := &in.partitions[i]
		req.Partitions[i] = direct.FetchPartition{
			Topic: p.Topic, TopicID: p.topicID, Partition: p.Partition, Offset: p.offset, MaxBytes: int(p.bytesMax),
		}
	}
	results, err := l.calls.Fetch(ctx, req)
	if err != nil {
		return nil, err
	}
	answers := make([]fetchAnswer, len(in.partitions))
	for i := range answers {
		if i >= len(results) {
			answers[i].err = errNoAnswer
			continue
		}
		r := &results[i]
		a := fetchAnswer{
			runs:          r.Batches,
			highWatermark: r.HighWatermark,
			lastStable:    r.LastStableOffset,
			logStart:      r.LogStartOffset,
			err:           r.Err,
			passed:        r.Passed,
			afterDamage:   r.AfterDamage,
		}
		for _, ab := range r.Aborted {
			a.aborted = append(a.aborted, abortedTxn{ab.ProducerID, ab.FirstOffset})
		}
		answers[i] = a
	}
	return answers, nil
}

func (l *local) produce(ctx context.Context, _ int32, in *produceRequest) ([]produceAnswer, error) {
	req := direct.ProduceRequest{
		TransactionalID: in.transactionalID,
		Acks:            direct.AcksAll,
		Summed:          true, // by the builder, a moment ago
		Partitions:      make([]direct.ProducePartition, len(in.partitions)),
	}
	for i := range in.partitions {
		p := &in.partitions[i]
		// The broker copies what it appends, so that the builder's memory may be used again.
		req.Partitions[i] = direct.ProducePartition{Topic: p.Topic, Partition: p.Partition, Batches: p.raw}
	}
	results, err := l.calls.Produce(ctx, req)
	if err != nil {
		return nil, err
	}
	answers := make([]produceAnswer, len(in.partitions))
	for i := range answers {
		if i >= len(results) {
			answers[i].err = errNoAnswer
			continue
		}
		answers[i] = produceAnswer{baseOffset: results[i].BaseOffset, err: results[i].Err}
	}
	return answers, nil
}
