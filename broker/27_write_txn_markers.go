package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/log"
)

// WriteTxnMarkers: v0-1
//
// Version notes:
//   - v1: flexible
//
// In a cluster, coordinators send this request to brokers. Here an operator sends it to end a transaction that hangs in
// a partition (kafka-transactions abort). As in Kafka, the broker writes the marker without asking the coordinator.
func (b *broker) handleWriteTxnMarkers(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.WriteTxnMarkersRequest)
	return func(ctx context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
		for i := range req.Markers {
			rm := &req.Markers[i]
			out := kmsg.NewWriteTxnMarkersResponseMarker()
			out.ProducerID = rm.ProducerID
			marker := log.Marker{
				ProducerID: rm.ProducerID, ProducerEpoch: rm.ProducerEpoch, CoordinatorEpoch: rm.CoordinatorEpoch,
				Commit: rm.Committed,
			}
			for j := range rm.Topics {
				t := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
				t.Topic = rm.Topics[j].Topic
				for _, index := range rm.Topics[j].Partitions {
					part := kmsg.NewWriteTxnMarkersResponseMarkerTopicPartition()
					part.Partition, part.ErrorCode = index, code(b.endHanging(ctx, t.Topic, index, marker))
					t.Partitions = append(t.Partitions, part)
				}
				out.Topics = append(out.Topics, t)
			}
			resp.Markers = append(resp.Markers, out)
		}
		return answer{body: resp}, nil
	}
}

// endHanging writes an operator's marker, durably.
func (b *broker) endHanging(ctx context.Context, topic string, index int32, m log.Marker) error {
	p, kerror := b.topics.load().partition(topic, index)
	if kerror != nil {
		return kerror
	}
	if m.ProducerID < 0 || m.ProducerEpoch < 0 {
		return kerr.InvalidProducerEpoch
	}
	b.cfg.Logger.Info("broker: a client ends a producer's transaction in this partition", "topic", topic,
		"partition", index, "producer id", m.ProducerID, "epoch", m.ProducerEpoch, "commit", m.Commit)
	last, err := b.appendMarker(p, m)
	if err != nil {
		return b.appendError(p, err)
	}
	b.syncer.ScheduleSync(p.log)
	if err := p.log.WaitDurable(ctx, last); err != nil {
		return b.waitError(ctx, err)
	}
	return nil
}
