package kclient

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Where ListOffsets looks: one of these, or a timestamp in milliseconds, which means the first record at or after
// it.
const (
	Earliest int64 = -2 // the first offset that the partition holds
	Latest   int64 = -1 // the offset after the last one

	// LogEnd is Latest with what is written but can't be read yet: records whose producer did not wait for the disk
	// (acks=0) or, on a cluster, for the replicas (acks=1).
	LogEnd int64 = -100
)

// Who asks, on the wire: consumers see what is safe, and who looks for faults sees all.
const (
	anyConsumer int32 = -1
	faultFinder int32 = -2
)

// ListOffsets looks offsets up. Latest is the high watermark, or the last stable offset with committed. A partition
// without a record at or after a timestamp yields its Latest.
func (c *Client) ListOffsets(ctx context.Context, tps []TopicPartition, at int64, committed bool) (
	map[TopicPartition]int64, error) {
	offsets := make(map[TopicPartition]int64, len(tps))
	if err := c.listOffsets(ctx, tps, at, committed, offsets); err != nil {
		return nil, err
	}
	var beyond []TopicPartition
	for tp, offset := range offsets {
		if offset < 0 {
			beyond = append(beyond, tp)
		}
	}
	if len(beyond) > 0 && at >= 0 {
		if err := c.listOffsets(ctx, beyond, Latest, committed, offsets); err != nil {
			return nil, err
		}
	}
	return offsets, nil
}

func (c *Client) listOffsets(ctx context.Context, tps []TopicPartition, at int64, committed bool,
	into map[TopicPartition]int64) error {
	missing := func(resp *kmsg.ListOffsetsResponse) error { return takeOffsets(resp, into) }
	_, err := request(ctx, c.cfg.RetryTimeout, "list offsets", nil,
		func(ctx context.Context) (*kmsg.ListOffsetsResponse, error) {
			return listOffsetsRequest(tps, at, committed).RequestWith(ctx, c.client)
		}, missing)
	if err != nil {
		return err
	}
	for _, tp := range tps {
		if _, ok := into[tp]; !ok {
			return fmt.Errorf("kclient: list offsets of %s: %w", tp, errNoAnswer)
		}
	}
	return nil
}

func listOffsetsRequest(tps []TopicPartition, at int64, committed bool) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	if req.ReplicaID = anyConsumer; at == LogEnd {
		req.ReplicaID, at = faultFinder, Latest
	}
	if committed {
		req.IsolationLevel = 1
	}
	byTopic(tps, func(tp TopicPartition) TopicPartition { return tp }, func(topic string, tps []TopicPartition) {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for _, tp := range tps {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp, p.CurrentLeaderEpoch = tp.Partition, at, -1
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	})
	return req
}

func takeOffsets(resp *kmsg.ListOffsetsResponse, into map[TopicPartition]int64) error {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			tp := TopicPartition{t.Topic, p.Partition}
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("%s: %w", tp, err)
			}
			into[tp] = p.Offset
		}
	}
	return nil
}

// listOffset asks once.
func listOffset(ctx context.Context, client *kgo.Client, tp TopicPartition, at int64, committed bool) (int64, error) {
	resp, err := listOffsetsRequest([]TopicPartition{tp}, at, committed).RequestWith(ctx, client)
	if err != nil {
		return 0, fmt.Errorf("list offsets: %w", err)
	}
	offsets := make(map[TopicPartition]int64, 1)
	if err := takeOffsets(resp, offsets); err != nil {
		return 0, fmt.Errorf("list offsets: %w", err)
	}
	offset, ok := offsets[tp]
	if !ok {
		return 0, errNoAnswer
	}
	return offset, nil
}

// CommittedOffsets returns the group's offsets in the partitions. It waits while a transaction that has written to
// them is not decided. A partition without a committed offset has Next -1.
func (c *Client) CommittedOffsets(ctx context.Context, tps []TopicPartition) (map[TopicPartition]Offset, error) {
	return c.offsets.committed(ctx, c.cfg.Group, tps, true)
}

// OffsetsOf is CommittedOffsets of any group. If stable is false it does not wait: what a transaction has written that
// is not decided does not count.
func (c *Client) OffsetsOf(ctx context.Context, group string, tps []TopicPartition, stable bool) (
	map[TopicPartition]Offset, error) {
	return c.offsets.committed(ctx, group, tps, stable)
}

// groupOffsets reads and commits the offsets of a group, in the name of a member.
type groupOffsets struct {
	cfg      Config
	client   *kgo.Client
	metadata *metadata
	member   *Member      // nil without Config.Group
	own      bool         // the client is the member
	lease    atomic.Value // Lease: of Config.Member
}

// committed waits for the transactions that are open, where stable is asked for.
func (o *groupOffsets) committed(ctx context.Context, group string, tps []TopicPartition, stable bool) (
	map[TopicPartition]Offset, error) {
	var offsets map[TopicPartition]Offset
	_, err := request(ctx, o.cfg.RetryTimeout, "committed offsets of group "+group,
		[]error{kerr.UnstableOffsetCommit},
		func(ctx context.Context) (*kmsg.OffsetFetchResponse, error) {
			if err := o.know(ctx, tps); err != nil {
				return nil, err
			}
			return o.fetchRequest(group, tps, stable).RequestWith(ctx, o.client)
		},
		func(resp *kmsg.OffsetFetchResponse) (err error) {
			offsets, err = o.take(resp, tps)
			if errors.Is(err, kerr.UnknownTopicID) {
				o.forget(tps)
			}
			return err
		})
	if err != nil {
		return nil, err
	}
	return offsets, nil
}

func (o *groupOffsets) fetchRequest(group string, tps []TopicPartition, stable bool) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = group, stable
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	byTopic(tps, func(tp TopicPartition) TopicPartition { return tp }, func(topic string, tps []TopicPartition) {
		id := o.metadata.id(topic)
		old := kmsg.NewOffsetFetchRequestTopic()
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		old.Topic, t.Topic, t.TopicID = topic, topic, id
		for _, tp := range tps {
			old.Partitions = append(old.Partitions, tp.Partition)
			t.Partitions = append(t.Partitions, tp.Partition)
		}
		req.Topics = append(req.Topics, old)
		g.Topics = append(g.Topics, t)
	})
	req.Groups = append(req.Groups, g)
	return req
}

func (o *groupOffsets) take(
	resp *kmsg.OffsetFetchResponse, tps []TopicPartition,
) (map[TopicPartition]Offset, error) {
	index := make(map[partitionKey]TopicPartition, 2*len(tps))
	offsets := make(map[TopicPartition]Offset, len(tps))
	for _, tp := range tps {
		index[partitionKey{topic: tp.Topic, partition: tp.Partition}] = tp
		index[partitionKey{id: o.metadata.id(tp.Topic), partition: tp.Partition}] = tp
		offsets[tp] = Offset{TopicPartition: tp, Next: -1, LeaderEpoch: -1}
	}
	take := func(key partitionKey, code int16, offset int64, epoch int32, metadata *string) error {
		tp, ok := index[key]
		if err := kerr.ErrorForCode(code); err != nil || !ok {
			return err
		}
		o := Offset{TopicPartition: tp, Next: offset, LeaderEpoch: epoch}
		if metadata != nil {
			o.Metadata = *metadata
		}
		offsets[tp] = o
		return nil
	}
	errs := []error{kerr.ErrorForCode(resp.ErrorCode)}
	for i := range resp.Topics {
		for _, p := range resp.Topics[i].Partitions {
			key := partitionKey{topic: resp.Topics[i].Topic, partition: p.Partition}
			errs = append(errs, take(key, p.ErrorCode, p.Offset, p.LeaderEpoch, p.Metadata))
		}
	}
	for _, g := range resp.Groups {
		errs = append(errs, kerr.ErrorForCode(g.ErrorCode))
		for i := range g.Topics {
			for _, p := range g.Topics[i].Partitions {
				key := keyOf(g.Topics[i].Topic, g.Topics[i].TopicID, p.Partition)
				errs = append(errs, take(key, p.ErrorCode, p.Offset, p.LeaderEpoch, p.Metadata))
			}
		}
	}
	return offsets, errors.Join(errs...)
}

// know makes sure that the topics' ids are known, which newer request versions need.
func (o *groupOffsets) know(ctx context.Context, tps []TopicPartition) error {
	seen := make(map[string]bool)
	for _, tp := range tps {
		if seen[tp.Topic] {
			continue
		}
		seen[tp.Topic] = true
		if _, err := o.metadata.partitions(ctx, tp.Topic); err != nil {
			return err
		}
	}
	return nil
}

func (o *groupOffsets) forget(tps []TopicPartition) {
	for _, tp := range tps {
		o.metadata.forget(tp.Topic)
	}
}
