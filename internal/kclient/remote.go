package kclient

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/internal/direct"
)

// remote moves batches in requests of our own on franz-go's connections.
type remote struct{ client *kgo.Client }

func (r *remote) interruptible() bool { return false }

func (r *remote) watch(TopicPartition, TopicID, bool, func()) direct.Watch { return nil }

func (r *remote) gathers() bool { return false }

func (r *remote) checked() bool { return false }

// errNoAnswer means that an answer lacks a partition that was asked for.
var errNoAnswer = errors.New("the broker's answer leaves the partition out")

func (r *remote) fetch(ctx context.Context, node int32, in *fetchRequest) ([]fetchAnswer, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = in.waitMillis, 1, in.bytesMax
	if in.readCommitted {
		req.IsolationLevel = 1
	}
	req.SessionEpoch = -1 // no session: each request says everything
	index := make(map[partitionKey]int, len(in.partitions))
	for i := range in.partitions {
		p := &in.partitions[i]
		index[partitionKey{topic: p.Topic, partition: p.Partition}] = i
		index[partitionKey{id: p.topicID, partition: p.Partition}] = i
		// The order of the request is the order in which partitions get their share of MaxBytes, so a topic may
		// come up more than once.
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != p.Topic {
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = p.Topic, p.topicID
			req.Topics = append(req.Topics, t)
		}
		t := &req.Topics[len(req.Topics)-1]
		fp := kmsg.NewFetchRequestTopicPartition()
		fp.Partition, fp.FetchOffset, fp.PartitionMaxBytes = p.Partition, p.offset, p.bytesMax
		fp.CurrentLeaderEpoch = p.leaderEpoch
		t.Partitions = append(t.Partitions, fp)
	}
	kresp, err := r.client.Broker(int(node)).Request(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, ok := kresp.(*kmsg.FetchResponse)
	if !ok {
		return nil, fmt.Errorf("kclient: fetch: the answer is a %T", kresp)
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	return fetchAnswers(resp, index, len(in.partitions)), nil
}

// partitionKey finds a partition by what an answer calls its topic: the name, or the id from Fetch 13 on.
type partitionKey struct {
	topic     string
	id        [16]byte
	partition int32
}

func keyOf(topic string, id [16]byte, partition int32) partitionKey {
	if topic != "" {
		return partitionKey{topic: topic, partition: partition}
	}
	return partitionKey{id: id, partition: partition}
}

func fetchAnswers(resp *kmsg.FetchResponse, index map[partitionKey]int, n int) []fetchAnswer {
	answers := make([]fetchAnswer, n)
	for i := range answers {
		answers[i].err = errNoAnswer
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			at, ok := index[keyOf(t.Topic, t.TopicID, p.Partition)]
			if !ok {
				continue
			}
			a := fetchAnswer{
				highWatermark: p.HighWatermark,
				lastStable:    p.LastStableOffset,
				logStart:      p.LogStartOffset,
				err:           kerr.ErrorForCode(p.ErrorCode),
			}
			p.UnknownTags.Each(func(tag uint32, v []byte) {
				if tag == direct.AfterDamageTag && len(v) == 8 {
					a.afterDamage = int64(binary.BigEndian.Uint64(v))
				}
			})
			if len(p.RecordBatches) > 0 {
				a.runs = [][]byte{p.RecordBatches}
			}
			for _, ab := range p.AbortedTransactions {
				a.aborted = append(a.aborted, abortedTxn{ab.ProducerID, ab.FirstOffset})
			}
			answers[at] = a
		}
	}
	return answers
}

func (r *remote) produce(ctx context.Context, node int32, in *produceRequest) ([]produceAnswer, error) {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, in.timeoutMillis
	if in.transactionalID != "" {
		req.TransactionID = kmsg.StringPtr(in.transactionalID)
	}
	index := make(map[partitionKey]int, len(in.partitions))
	topics := make(map[string]int)
	for i := range in.partitions {
		p := &in.partitions[i]
		index[partitionKey{topic: p.Topic, partition: p.Partition}] = i
		index[partitionKey{id: p.topicID, partition: p.Partition}] = i
		at, ok := topics[p.Topic]
		if !ok {
			at = len(req.Topics)
			topics[p.Topic] = at
			t := kmsg.NewProduceRequestTopic()
			t.Topic, t.TopicID = p.Topic, p.topicID
			req.Topics = append(req.Topics, t)
		}
		pp := kmsg.NewProduceRequestTopicPartition()
		pp.Partition, pp.Records = p.Partition, p.raw
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, pp)
	}
	kresp, err := r.client.Broker(int(node)).Request(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, ok := kresp.(*kmsg.ProduceResponse)
	if !ok {
		return nil, fmt.Errorf("kclient: produce: the answer is a %T", kresp)
	}
	answers := make([]produceAnswer, len(in.partitions))
	for i := range answers {
		answers[i].err = errNoAnswer
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if at, ok := index[keyOf(t.Topic, t.TopicID, p.Partition)]; ok {
				answers[at] = produceAnswer{baseOffset: p.BaseOffset, err: produceError(p)}
			}
		}
	}
	return answers, nil
}

// produceError keeps the broker's words about a batch that it refused.
func produceError(p *kmsg.ProduceResponseTopicPartition) error {
	err := kerr.ErrorForCode(p.ErrorCode)
	if err == nil {
		return nil
	}
	if p.ErrorMessage != nil && *p.ErrorMessage != "" {
		return fmt.Errorf("%w (%s)", err, *p.ErrorMessage)
	}
	return err
}
