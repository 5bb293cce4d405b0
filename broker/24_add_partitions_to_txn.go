package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/txn"
)

// AddPartitionsToTxn: v0-5
//
// Version notes:
//   - v2: PRODUCER_FENCED, where older versions are told INVALID_PRODUCER_EPOCH
//   - v3: flexible
//   - v4: several transactions, verification (between brokers)
//   - v5: TRANSACTION_ABORTABLE
func (b *broker) handleAddPartitionsToTxn(ctx context.Context, r *request) completion {
	req := r.body.(*kmsg.AddPartitionsToTxnRequest)
	if req.Version >= 4 {
		return b.addManyToTxn(ctx, req)
	}
	one := kmsg.NewAddPartitionsToTxnRequestTransaction()
	one.TransactionalID, one.ProducerID, one.ProducerEpoch = req.TransactionalID, req.ProducerID, req.ProducerEpoch
	for i := range req.Topics {
		t := kmsg.NewAddPartitionsToTxnRequestTransactionTopic()
		t.Topic, t.Partitions = req.Topics[i].Topic, req.Topics[i].Partitions
		one.Topics = append(one.Topics, t)
	}
	topics, lsn := b.addToTxn(ctx, &one, req.Version)
	return func(ctx context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
		if err := b.txns.Wait(ctx, lsn); err != nil {
			failTxnTopics(topics, b.waitError(ctx, err))
		}
		for i := range topics {
			t := kmsg.NewAddPartitionsToTxnResponseTopic()
			t.Topic = topics[i].Topic
			for _, p := range topics[i].Partitions {
				part := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
				part.Partition, part.ErrorCode = p.Partition, p.ErrorCode
				t.Partitions = append(t.Partitions, part)
			}
			resp.Topics = append(resp.Topics, t)
		}
		return answer{body: resp}, nil
	}
}

func (b *broker) addManyToTxn(ctx context.Context, req *kmsg.AddPartitionsToTxnRequest) completion {
	resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	last := int64(-1)
	for i := range req.Transactions {
		t := kmsg.NewAddPartitionsToTxnResponseTransaction()
		t.TransactionalID = req.Transactions[i].TransactionalID
		topics, lsn := b.addToTxn(ctx, &req.Transactions[i], req.Version)
		t.Topics, last = topics, max(last, lsn)
		resp.Transactions = append(resp.Transactions, t)
	}
	return func(ctx context.Context) (answer, error) {
		if err := b.txns.Wait(ctx, last); err != nil {
			resp.ErrorCode = b.waitError(ctx, err).Code
		}
		return answer{body: resp}, nil
	}
}

// addToTxn adds all partitions or none: if one is unknown, the others are not attempted.
func (b *broker) addToTxn(ctx context.Context, rt *kmsg.AddPartitionsToTxnRequestTransaction, version int16,
) (topics []kmsg.AddPartitionsToTxnResponseTransactionTopic, lsn int64) {
	add := txn.AddRequest{
		ID: rt.TransactionalID, ProducerID: rt.ProducerID, Epoch: rt.ProducerEpoch, VerifyOnly: rt.VerifyOnly,
	}
	set := b.topics.load()
	unknown := false
	for i := range rt.Topics {
		t := kmsg.NewAddPartitionsToTxnResponseTransactionTopic()
		t.Topic = rt.Topics[i].Topic
		for _, index := range rt.Topics[i].Partitions {
			part := kmsg.NewAddPartitionsToTxnResponseTransactionTopicPartition()
			part.Partition = index
			if _, err := set.partition(t.Topic, index); err != nil {
				part.ErrorCode, unknown = err.Code, true
			}
			add.Partitions = append(add.Partitions, txn.TopicPartition{Topic: t.Topic, Partition: index})
			t.Partitions = append(t.Partitions, part)
		}
		topics = append(topics, t)
	}
	if unknown {
		failTxnTopics(topics, kerr.OperationNotAttempted)
		return topics, -1
	}
	lsn, err := b.joinTransaction(ctx, &add, nil)
	switch {
	case err == kerr.ProducerFenced && version < 2:
		err = kerr.InvalidProducerEpoch
	case err == kerr.TransactionAbortable && version < 5:
		err = kerr.InvalidTxnState
	}
	if err != nil {
		failTxnTopics(topics, err)
	}
	return topics, lsn
}

func failTxnTopics(topics []kmsg.AddPartitionsToTxnResponseTransactionTopic, err *kerr.Error) {
	for i := range topics {
		for j := range topics[i].Partitions {
			if p := &topics[i].Partitions[j]; p.ErrorCode == 0 {
				p.ErrorCode = err.Code
			}
		}
	}
}
