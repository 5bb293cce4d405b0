package broker

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeLogDirs: v0-5
//
// Version notes:
//   - v2: flexible
//   - v3: an error for the whole
//   - v4: sizes of the disk
//   - v5: whether the directory takes no more partitions; it always does
//
// Files of deleted topics that are still on their way out are not counted, except in what the disk has free.
func (b *broker) handleDescribeLogDirs(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.DescribeLogDirsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir, dir.TotalBytes, dir.UsableBytes = b.cfg.Dir, -1, -1
	if usage, err := b.cfg.FS.GetDiskUsage(b.cfg.Dir); err == nil {
		dir.TotalBytes, dir.UsableBytes = int64(usage.TotalBytes), int64(usage.AvailBytes)
	}
	wanted := map[string][]int32{}
	for i := range req.Topics {
		wanted[req.Topics[i].Topic] = req.Topics[i].Partitions
	}
	dir.Topics = []kmsg.DescribeLogDirsResponseDirTopic{}
	for name, t := range b.topics.load().byName {
		partitions, asked := wanted[name]
		if req.Topics != nil && !asked {
			continue
		}
		out := kmsg.NewDescribeLogDirsResponseDirTopic()
		out.Topic = name
		for _, p := range t.partitions {
			if asked && !slices.Contains(partitions, p.index) {
				continue
			}
			part := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
			part.Partition = p.index
			if p.log != nil {
				part.Size = p.log.SizeBytes()
			}
			out.Partitions = append(out.Partitions, part)
		}
		dir.Topics = append(dir.Topics, out)
	}
	slices.SortFunc(dir.Topics, func(a, b kmsg.DescribeLogDirsResponseDirTopic) int {
		return strings.Compare(a.Topic, b.Topic)
	})
	resp.Dirs = append(resp.Dirs, dir)
	return ready(resp)
}
