package kclient

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
)

// produceTry is one batch of a round.
type produceTry struct {
	*producePartition // under the producer's mutex only
	TopicPartition
	builder  *batch.Builder
	sequence int32
	raw      []byte // the sealed batch: every try sends exactly these bytes
	acked    bool
	next     int64 // when acked
	err      error // of the last try
}

// sendRound sends until every batch is answered, one of them fails for good, or ctx ends.
func (p *producer) sendRound(ctx context.Context, round []*produceTry) error {
	began, logged := time.Now(), false
	for pause := newBackoff(); ; {
		err := p.tryRound(ctx, round)
		if err != nil || firstFailed(round) == nil {
			return err
		}
		waited := time.Since(began)
		t := firstFailed(round)
		limit := p.retryMax
		if _, lacks := errors.AsType[*noPartition](t.err); lacks {
			limit = min(limit, noPartitionMax)
		} else if isUnknownTopic(t.err) {
			limit = min(limit, unknownTopicMax)
		}
		if waited > limit {
			return produceFailure(t.TopicPartition, t.err)
		}
		if !logged && waited > 100*time.Millisecond {
			p.log.Warn("produce: trying again", "topic", t.Topic, "partition", t.Partition, "err", t.err)
			logged = true
		}
		if err := pause.wait(ctx); err != nil {
			return err
		}
	}
}

func firstFailed(round []*produceTry) *produceTry {
	for _, t := range round {
		if !t.acked {
			return t
		}
	}
	return nil
}

// tryRound sends what is not yet acknowledged once, to all leaders at the same time. It returns an error only for
// what no retry mends.
func (p *producer) tryRound(ctx context.Context, round []*produceTry) error {
	byNode, err := p.locate(ctx, round)
	if err != nil {
		return nil // said in the tries
	}
	if err := p.addPartitions(ctx, round); err != nil {
		return err
	}
	var sending sync.WaitGroup
	for node, tries := range byNode {
		if len(byNode) == 1 {
			p.send(ctx, node, tries)
			break
		}
		sending.Go(func() { p.send(ctx, node, tries) })
	}
	sending.Wait()
	for _, t := range round {
		if !t.acked && t.err != nil && !isRetriable(t.err) && ctx.Err() == nil {
			return produceFailure(t.TopicPartition, t.err)
		}
	}
	return nil
}

// locate groups the batches that are to be sent by their partition's leader. Those whose leader is unknown wait for
// the next try.
func (p *producer) locate(ctx context.Context, round []*produceTry) (map[int32][]*produceTry, error) {
	var unknown []string
	for _, t := range round {
		if _, _, ok := p.metadata.lookup(t.TopicPartition); !t.acked && !ok {
			unknown = append(unknown, t.Topic)
		}
	}
	var failed map[string]error
	if len(unknown) > 0 {
		var err error
		if failed, err = p.metadata.refresh(ctx, unknown); err != nil {
			for _, t := range round {
				t.err = err
			}
			return nil, err
		}
	}
	byNode := make(map[int32][]*produceTry)
	for _, t := range round {
		if t.acked {
			continue
		}
		place, _, ok := p.metadata.lookup(t.TopicPartition)
		switch {
		case ok:
			byNode[place.node] = append(byNode[place.node], t)
		case failed[t.Topic] != nil:
			t.err = failed[t.Topic]
		default:
			t.err = kerr.LeaderNotAvailable
			if n, lacks := p.metadata.lacks(t.TopicPartition); lacks {
				t.err = &noPartition{n}
			}
		}
	}
	return byNode, nil
}

// noPartition is the error of a partition that its topic does not have.
type noPartition struct{ partitions int }

func (e *noPartition) Error() string {
	return fmt.Sprintf("the topic has %d partitions now: it was recreated", e.partitions)
}

// noPartitionMax is how long a partition is looked for that its topic does not have, for a broker of a cluster that
// lags behind the others.
const noPartitionMax = time.Second

// send makes one request and notes its answers.
func (p *producer) send(ctx context.Context, node int32, tries []*produceTry) {
	req := &produceRequest{
		transactionalID: p.transactionalID,
		timeoutMillis:   int32(min(p.retryMax, 30*time.Second).Milliseconds()),
		partitions:      make([]produceTarget, len(tries)),
	}
	for i, t := range tries {
		req.partitions[i] = produceTarget{
			TopicPartition: t.TopicPartition, topicID: p.metadata.id(t.Topic), raw: t.raw,
		}
	}
	answers, err := p.transport.produce(ctx, node, req)
	for i, t := range tries {
		t.err = err
		if err == nil {
			t.err = answers[i].err
		}
		switch {
		case t.err == nil:
			t.acked = true
			t.next = answers[i].baseOffset + int64(t.builder.Len())
		case errors.Is(t.err, kerr.DuplicateSequenceNumber):
			// The broker has the batch from an earlier try, so long ago that it doesn't know the offset any more.
			t.acked, t.next = true, -1
		case isRetriable(t.err):
			p.metadata.forget(t.Topic)
		}
	}
}
