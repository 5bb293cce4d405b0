package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterReplicaLogDirs: v1-2
//
// There is one directory: a partition that is there is where it should be.
//
// Version notes:
//   - v2: flexible
func (b *broker) handleAlterReplicaLogDirs(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.AlterReplicaLogDirsRequest)
	resp := req.ResponseKind().(*kmsg.AlterReplicaLogDirsResponse)
	set := b.topics.load()
	for i := range req.Dirs {
		dir := &req.Dirs[i]
		for j := range dir.Topics {
			out := kmsg.NewAlterReplicaLogDirsResponseTopic()
			out.Topic = dir.Topics[j].Topic
			for _, index := range dir.Topics[j].Partitions {
				p := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
				p.Partition = index
				switch {
				case dir.Dir != b.cfg.Dir:
					p.ErrorCode = kerr.LogDirNotFound.Code
				case !set.byName[out.Topic].has(index):
					p.ErrorCode = kerr.UnknownTopicOrPartition.Code
				}
				out.Partitions = append(out.Partitions, p)
			}
			resp.Topics = append(resp.Topics, out)
		}
	}
	return ready(resp)
}
