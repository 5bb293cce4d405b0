package kclient

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TopicID names a topic for good: a topic that is created again under the same name has another id. Zero: the broker is
// too old to have ids.
type TopicID = [16]byte

// Identity is what topics are, apart from their names.
type Identity struct {
	Cluster string             // its id; empty: not known
	Topics  map[string]TopicID // of those that exist
}

// Identify asks which of the topics exist, and for their ids and the cluster's. A topic that this client may not see
// does not exist.
func (t *Topics) Identify(ctx context.Context, names ...string) (id Identity, err error) {
	resp, err := t.ask(ctx, names)
	if err != nil {
		return id, err
	}
	id.Topics = map[string]TopicID{}
	if resp.ClusterID != nil {
		id.Cluster = *resp.ClusterID
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		err := kerr.ErrorForCode(t.ErrorCode)
		if t.Topic != nil && (err == nil && len(t.Partitions) > 0 || errors.Is(err, kerr.LeaderNotAvailable)) {
			id.Topics[*t.Topic] = t.TopicID
		}
	}
	return id, nil
}

// ask asks the broker about topics, whatever it has told before: this client may have deleted one since.
func (t *Topics) ask(ctx context.Context, names []string) (*kmsg.MetadataResponse, error) {
	req := metadataRequest(names)
	return request(ctx, t.cfg.RetryTimeout, "look up topics", nil,
		func(ctx context.Context) (*kmsg.MetadataResponse, error) { return req.RequestWith(ctx, t.client) },
		func(r *kmsg.MetadataResponse) error { return kerr.ErrorForCode(r.ErrorCode) })
}

// GroupOffsets returns all offsets that a group has committed. A group that does not exist has none.
func (c *Client) GroupOffsets(ctx context.Context, group string) (map[TopicPartition]int64, error) {
	committed := map[TopicPartition]int64{}
	err := retry(ctx, c.cfg.RetryTimeout, "committed offsets of group "+group, nil, func(ctx context.Context) error {
		clear(committed)
		offsets, err := c.admin.FetchOffsets(ctx, group)
		if errors.Is(err, kerr.GroupIDNotFound) {
			return nil
		}
		for topic, partitions := range offsets {
			for p, o := range partitions {
				if o.Err != nil {
					return o.Err
				}
				if o.At >= 0 {
					committed[TopicPartition{topic, p}] = o.At
				}
			}
		}
		return err
	})
	return committed, err
}

// Members is how many members a group has. One that does not exist has none.
func (c *Client) Members(ctx context.Context, group string) (n int, err error) {
	err = retry(ctx, c.cfg.RetryTimeout, "members of group "+group, nil, func(ctx context.Context) error {
		groups, err := c.admin.DescribeGroups(ctx, group)
		if err != nil {
			return err
		}
		g := groups[group]
		if n = len(g.Members); errors.Is(g.Err, kerr.GroupIDNotFound) {
			n = 0
			return nil
		}
		return g.Err
	})
	return n, err
}
