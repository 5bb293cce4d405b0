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
	if len(offsets) == 0 {
		return nil
	}
	build := func(member string, generation int32) kmsg.Request {
		return c.offsetCommitRequest(offsets, member, generation)
	}
	err := c.commit(ctx, "commit offsets of group "+c.cfg.Group, offsets, build)
	if err != nil {
		return &Error{ClassOf(err), err}
	}
	return nil
}

// commit sends a request that carries offsets in the name of the member. While the group rebalances, the member's
// generation changes under our feet: as long as it is the same member, what it owns is its own until it gives it back
// (KIP-429), so the request is made again with the new generation. Where the lease is over the partitions are lost:
// nothing is asked in the new member's name.
func (c *Client) commit(ctx context.Context, what string, offsets []Offset,
	build func(member string, generation int32) kmsg.Request) error {
	tps := offsetPartitions(offsets)
	again := []error{kerr.RebalanceInProgress, kerr.UnstableOffsetCommit}
	lease := c.leased()
	for {
		member, generation, ok := c.member.identity(lease)
		if !ok {
			return fmt.Errorf("%s: the partitions were assigned to a member that is not in the group any more: %w", what,
				kerr.UnknownMemberID)
		}
		_, err := request(ctx, c.cfg.RetryTimeout, what, again,
			func(ctx context.Context) (kmsg.Response, error) {
				if err := c.know(ctx, tps); err != nil {
					return nil, err
				}
				return c.client.Request(ctx, build(member, generation))
			},
			func(resp kmsg.Response) error {
				err := c.commitError(resp, tps)
				if errors.Is(err, kerr.UnknownTopicID) {
					c.forget(tps) // deleted and made again
				}
				return err
			})
		if !errors.Is(err, kerr.IllegalGeneration) {
			return err
		}
		if !c.awaitGeneration(ctx, lease, generation) {
			return err
		}
	}
}

// awaitGeneration waits for the member to know of a generation after one that the group's coordinator refused, and
// tells whether the lease still lasts. The coordinator is ahead from when the last member has joined until its answer
// has arrived. Who is not in the group any more finds out by a heartbeat, and is lost.
func (c *Client) awaitGeneration(ctx context.Context, lease Lease, refused int32) bool {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.SessionTimeout)
	defer cancel()
	for pause := newBackoff(); ; {
		switch _, generation, ok := c.member.identity(lease); {
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

func (c *Client) commitError(resp kmsg.Response, asked []TopicPartition) error {
	switch r := resp.(type) {
	case *kmsg.TxnOffsetCommitResponse:
		for i := range r.Topics {
			for _, p := range r.Topics[i].Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("%s-%d: %w", c.topicOf(r.Topics[i].Topic, r.Topics[i].TopicID, asked), p.Partition, err)
				}
			}
		}
	case *kmsg.OffsetCommitResponse:
		for i := range r.Topics {
			for _, p := range r.Topics[i].Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("%s-%d: %w", c.topicOf(r.Topics[i].Topic, r.Topics[i].TopicID, asked), p.Partition, err)
				}
			}
		}
	}
	return nil
}

// topicOf returns the name of a topic in an answer. Newer versions give its id alone.
func (c *Client) topicOf(name string, id [16]byte, asked []TopicPartition) string {
	for _, tp := range asked {
		if name == "" && c.metadata.id(tp.Topic) == id {
			return tp.Topic
		}
	}
	return name
}

func (c *Client) offsetCommitRequest(offsets []Offset, member string, generation int32) kmsg.Request {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = c.cfg.Group, member, generation
	if c.cfg.InstanceID != "" {
		req.InstanceID = kmsg.StringPtr(c.cfg.InstanceID)
	}
	byTopic(offsets, func(o Offset) TopicPartition { return o.TopicPartition }, func(topic string, offsets []Offset) {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic, t.TopicID = topic, c.metadata.id(topic)
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
