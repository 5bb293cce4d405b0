package kclient

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CommitOffsets commits the group's offsets outside of a transaction: at least once.
func (c *Client) CommitOffsets(ctx context.Context, offsets []Offset) error {
	return c.offsets.commit(ctx, offsets)
}

func (o *groupOffsets) commit(ctx context.Context, offsets []Offset) error {
	if len(offsets) == 0 {
		return nil
	}
	build := func(member string, generation int32) kmsg.Request {
		return o.commitRequest(offsets, member, generation)
	}
	err := o.send(ctx, "commit offsets of group "+o.cfg.Group, offsets, build)
	if err != nil {
		return &Error{ClassOf(err), err}
	}
	return nil
}

// send sends a request that carries offsets in the name of the member. While the group rebalances, the member's
// generation changes under our feet: as long as it is the same member, what it owns is its own until it gives it back
// (KIP-429), so the request is made again with the new generation. Where the lease is over the partitions are lost:
// nothing is asked in the new member's name.
func (o *groupOffsets) send(ctx context.Context, what string, offsets []Offset,
	build func(member string, generation int32) kmsg.Request) error {
	tps := offsetPartitions(offsets)
	again := []error{kerr.RebalanceInProgress, kerr.UnstableOffsetCommit}
	lease := o.leased()
	for {
		member, generation, ok := o.member.identity(lease)
		if !ok {
			return fmt.Errorf("%s: the partitions were assigned to a member that is not in the group any more: %w", what,
				kerr.UnknownMemberID)
		}
		_, err := request(ctx, o.cfg.RetryTimeout, what, again,
			func(ctx context.Context) (kmsg.Response, error) {
				if err := o.know(ctx, tps); err != nil {
					return nil, err
				}
				return o.client.Request(ctx, build(member, generation))
			},
			func(resp kmsg.Response) error {
				err := o.refused(resp, tps)
				if errors.Is(err, kerr.UnknownTopicID) {
					o.forget(tps) // deleted and made again
				}
				return err
			})
		if !errors.Is(err, kerr.IllegalGeneration) {
			return err
		}
		if !o.awaitGeneration(ctx, lease, generation) {
			return err
		}
	}
}

// awaitGeneration waits for the member to know of a generation after one that the group's coordinator refused, and
// tells whether the lease still lasts. The coordinator is ahead from when the last member has joined until its answer
// has arrived. Who is not in the group any more finds out by a heartbeat, and is lost.
func (o *groupOffsets) awaitGeneration(ctx context.Context, lease Lease, refused int32) bool {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.SessionTimeout)
	defer cancel()
	for pause := newBackoff(); ; {
		switch _, generation, ok := o.member.identity(lease); {
		case !ok:
			return false
		case generation > refused:
			return true
		}
		if pause.wait(ctx) != nil {
			return false
		}
	}
}

func (o *groupOffsets) refused(resp kmsg.Response, asked []TopicPartition) error {
	switch r := resp.(type) {
	case *kmsg.TxnOffsetCommitResponse:
		for i := range r.Topics {
			for _, p := range r.Topics[i].Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("%s-%d: %w", o.topicOf(r.Topics[i].Topic, r.Topics[i].TopicID, asked), p.Partition, err)
				}
			}
		}
	case *kmsg.OffsetCommitResponse:
		for i := range r.Topics {
			for _, p := range r.Topics[i].Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("%s-%d: %w", o.topicOf(r.Topics[i].Topic, r.Topics[i].TopicID, asked), p.Partition, err)
				}
			}
		}
	}
	return nil
}

// topicOf returns the name of a topic in an answer. Newer versions give its id alone.
func (o *groupOffsets) topicOf(name string, id [16]byte, asked []TopicPartition) string {
	for _, tp := range asked {
		if name == "" && o.metadata.id(tp.Topic) == id {
			return tp.Topic
		}
	}
	return name
}

func (o *groupOffsets) commitRequest(offsets []Offset, member string, generation int32) kmsg.Request {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = o.cfg.Group, member, generation
	if o.cfg.InstanceID != "" {
		req.InstanceID = kmsg.StringPtr(o.cfg.InstanceID)
	}
	byTopic(offsets, func(o Offset) TopicPartition { return o.TopicPartition }, func(topic string, offsets []Offset) {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic, t.TopicID = topic, o.metadata.id(topic)
		for _, o := range offsets {
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch = o.Partition, o.Next, o.LeaderEpoch
			p.Metadata = kmsg.StringPtr(o.Metadata)
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	})
	return req
}

func offsetPartitions(offsets []Offset) []TopicPartition {
	tps := make([]TopicPartition, len(offsets))
	for i := range offsets {
		tps[i] = offsets[i].TopicPartition
	}
	return tps
}
