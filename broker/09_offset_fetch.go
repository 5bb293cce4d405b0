package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetFetch: v0-10
//
// Version notes:
//   - v2: null topics mean all; an error for the whole
//   - v5: leader epochs
//   - v6: flexible
//   - v7: require stable: an offset that an open transaction may change is UNSTABLE_OFFSET_COMMIT
//   - v8: several groups
//   - v9: member id and epoch of KIP-848
//   - v10: topic ids
//
// A group that nobody has seen is no error: its offsets are -1.
func (b *broker) handleOffsetFetch(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.OffsetFetchRequest)
	return func(ctx context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
		groups := req.Groups
		if req.Version < 8 {
			groups = []kmsg.OffsetFetchRequestGroup{oneGroup(req)}
		}
		resp.Groups = make([]kmsg.OffsetFetchResponseGroup, len(groups))
		ticket := b.groups.View(func(time.Time) {
			for i := range groups {
				resp.Groups[i] = b.fetchOffsets(&groups[i], req)
			}
		})
		// What was read may not be durable yet, and must not be told before.
		if err := b.groups.Wait(ctx, ticket); err != nil {
			kerror := b.waitError(ctx, err)
			for i := range resp.Groups {
				resp.Groups[i].ErrorCode = kerror.Code
				resp.Groups[i].Topics = []kmsg.OffsetFetchResponseGroupTopic{}
			}
		}
		if req.Version < 8 {
			flatten(resp)
		}
		return answer{body: resp}, nil
	}
}

// oneGroup puts the older form of a request into the newer one.
func oneGroup(req *kmsg.OffsetFetchRequest) kmsg.OffsetFetchRequestGroup {
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = req.Group
	if req.Topics == nil {
		return g
	}
	g.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	for i := range req.Topics {
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.Partitions = req.Topics[i].Topic, req.Topics[i].Partitions
		g.Topics = append(g.Topics, t)
	}
	return g
}

// flatten puts the newer form of an answer into the older one.
func flatten(resp *kmsg.OffsetFetchResponse) {
	g := &resp.Groups[0]
	resp.ErrorCode = g.ErrorCode
	resp.Topics = []kmsg.OffsetFetchResponseTopic{}
	for i := range g.Topics {
		t := kmsg.NewOffsetFetchResponseTopic()
		t.Topic = g.Topics[i].Topic
		for j := range g.Topics[i].Partitions {
			gp := &g.Topics[i].Partitions[j]
			p := kmsg.NewOffsetFetchResponseTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch = gp.Partition, gp.Offset, gp.LeaderEpoch
			p.Metadata, p.ErrorCode = gp.Metadata, gp.ErrorCode
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
}

// fetchOffsets runs within a view of the groups.
func (b *broker) fetchOffsets(rg *kmsg.OffsetFetchRequestGroup, req *kmsg.OffsetFetchRequest,
) kmsg.OffsetFetchResponseGroup {
	out := kmsg.NewOffsetFetchResponseGroup()
	out.Group = rg.Group
	out.Topics = []kmsg.OffsetFetchResponseGroupTopic{}
	set := b.topics.load()
	if rg.Topics == nil {
		names, partitions := b.groupMachine.Committed(rg.Group)
		for _, name := range names {
			if t := set.byName[name]; t != nil {
				out.Topics = append(out.Topics, b.fetchTopicOffsets(rg.Group, t, partitions[name], req.RequireStable))
			}
		}
		return out
	}
	for i := range rg.Topics {
		rt := &rg.Topics[i]
		t, err := set.find(rt.Topic, rt.TopicID, req.Version >= 10)
		if err == nil {
			out.Topics = append(out.Topics, b.fetchTopicOffsets(rg.Group, t, rt.Partitions, req.RequireStable))
			continue
		}
		ot := kmsg.NewOffsetFetchResponseGroupTopic()
		ot.Topic, ot.TopicID = rt.Topic, rt.TopicID
		for _, p := range rt.Partitions {
			part := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			part.Partition, part.Offset, part.LeaderEpoch, part.Metadata = p, -1, -1, kmsg.StringPtr("")
			if req.Version >= 10 {
				part.ErrorCode = err.Code
			}
			ot.Partitions = append(ot.Partitions, part)
		}
		out.Topics = append(out.Topics, ot)
	}
	return out
}

func (b *broker) fetchTopicOffsets(groupID string, t *topic, partitions []int32, stable bool,
) kmsg.OffsetFetchResponseGroupTopic {
	out := kmsg.NewOffsetFetchResponseGroupTopic()
	out.Topic, out.TopicID = t.Name, t.ID
	for _, p := range partitions {
		o := b.groupMachine.Offset(groupID, t.Name, p, stable)
		part := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		part.Partition, part.Offset, part.LeaderEpoch = p, o.Offset, o.LeaderEpoch
		part.Metadata, part.ErrorCode = kmsg.StringPtr(o.Metadata), kcode(o.Err)
		out.Partitions = append(out.Partitions, part)
	}
	return out
}
