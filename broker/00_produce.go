package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/log"
	"thalweg/internal/direct"
)

// Produce: v0-13; those before v3 are advertised, because old librdkafka takes their absence for the absence of
// compression, and refused.
//
// Version notes:
//   - v3: record batches v2, transactional id
//   - v8: errors of single records, messages
//   - v9: flexible
//   - v10: the current leader in errors
//   - v12: partitions join the transaction by being written to (KIP-890)
//   - v13: topic ids
func (b *broker) handleProduce(ctx context.Context, r *request) completion {
	req := r.body.(*kmsg.ProduceRequest)
	id := ""
	if req.TransactionID != nil {
		id = *req.TransactionID
	}
	n := 0
	for i := range req.Topics {
		n += len(req.Topics[i].Partitions)
	}
	p := b.newProduce(id, req.Version >= 12, n)
	set := b.topics.load()
	for i := range req.Topics {
		rt := &req.Topics[i]
		t, terr := set.find(rt.Topic, rt.TopicID, req.Version >= 13)
		for j := range rt.Partitions {
			target, err := t.at(rt.Partitions[j].Partition)
			if terr != nil {
				err = terr
			}
			p.add(target, err, rt.Partitions[j].Records)
			rt.Partitions[j].Records = nil // the frame they lie in is used again
		}
	}
	switch {
	case req.Version < 3:
		p.fail(kerr.UnsupportedVersion)
	case req.Acks < -1 || req.Acks > 1:
		p.fail(kerr.InvalidRequiredAcks)
	default:
		p.all = req.Acks == -1
		p.append(ctx)
	}
	return func(ctx context.Context) (answer, error) {
		if req.Acks == 0 {
			b.counters.refuse(p.results)
			return answer{silent: true}, p.firstError()
		}
		p.wait(ctx)
		b.counters.refuse(p.results)
		return answer{body: p.response(req)}, nil
	}
}

// firstError is how a producer that wants no answers learns that something is wrong: its connection ends.
func (p *produce) firstError() error {
	for i := range p.results {
		if r := &p.results[i]; r.Err != nil {
			return fmt.Errorf("produce without acks to %s-%d: %w", r.Topic, r.Partition, r.Err)
		}
	}
	return nil
}

func (p *produce) response(req *kmsg.ProduceRequest) *kmsg.ProduceResponse {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	next := 0
	for i := range req.Topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic, t.TopicID = req.Topics[i].Topic, req.Topics[i].TopicID
		for j := range req.Topics[i].Partitions {
			t.Partitions = append(t.Partitions, producePartition(req.Topics[i].Partitions[j].Partition, &p.results[next]))
			next++
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func producePartition(index int32, r *direct.ProduceResult) kmsg.ProduceResponseTopicPartition {
	part := kmsg.NewProduceResponseTopicPartition()
	part.Partition = index
	part.ErrorCode = code(r.Err)
	part.BaseOffset, part.LogAppendTime, part.LogStartOffset = r.BaseOffset, r.LogAppendTime, r.LogStartOffset
	part.ErrorRecords = []kmsg.ProduceResponseTopicPartitionErrorRecord{}
	if invalid, ok := errors.AsType[*log.InvalidRecordsError](r.Err); ok {
		for _, r := range invalid.Records {
			record := kmsg.NewProduceResponseTopicPartitionErrorRecord()
			record.RelativeOffset, record.ErrorMessage = r.Index, kmsg.StringPtr(r.Message)
			part.ErrorRecords = append(part.ErrorRecords, record)
		}
	}
	part.ErrorMessage = message(r.Err)
	return part
}
