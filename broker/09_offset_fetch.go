package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
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
		lsn, err := b.groups.View(func(time.Time) {
			for i := range groups {
				resp.Groups[i] = b.fetchOffsets(&groups[i], req)
			}
		})
		// What was read may not be durable yet, and must not be told before.
		if err == nil {
			err = b.groups.Wait(ctx, lsn)
		}
		if err != nil {
			kerror := b.waitError(ctx, err)
			for i := range resp.Groups {
				resp.Groups[i] = failedOffsets(&groups[i], kerror)
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

// failedOffsets is the answer without any offset. The error stands with each partition, too: versions 0 and 1 have no
// other place for it.
func failedOffsets(rg *kmsg.OffsetFetchRequestGroup, err *kerr.Error) kmsg.OffsetFetchResponseGroup {
	out := kmsg.NewOffsetFetchResponseGroup()
	out.Group, out.ErrorCode, out.Topics = rg.Group, err.Code, []kmsg.OffsetFetchResponseGroupTopic{}
	for i := range rg.Topics {
		out.Topics = append(out.Topics, noOffsets(&rg.Topics[i], err.Code))
	}
	return out
}

// noOffsets is the answer for a topic without any offset.
func noOffsets(rt *kmsg.OffsetFetchRequestGroupTopic, code int16) kmsg.OffsetFetchResponseGroupTopic {
	out := kmsg.NewOffsetFetchResponseGroupTopic()
	out.Topic, out.TopicID = rt.Topic, rt.TopicID
	for _, index := range rt.Partitions {
		p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = index, -1, -1, kmsg.StringPtr("")
		p.ErrorCode = code
		out.Partitions = append(out.Partitions, p)
	}
	return out
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
		switch {
		case err == nil:
			out.Topics = append(out.Topics, b.fetchTopicOffsets(rg.Group, t, rt.Partitions, req.RequireStable))
		case req.Version >= 10:
			out.Topics = append(out.Topics, noOffsets(rt, err.Code))
		default: // older versions have no error here: nothing is committed
			out.Topics = append(out.Topics, noOffsets(rt, 0))
		}
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
