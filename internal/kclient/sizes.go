package kclient

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
)

// SizesBytes returns how large partitions are on the brokers' disks: with several replicas, the largest. It asks once,
// and leaves out a partition of which no broker tells.
func (t *Topics) SizesBytes(ctx context.Context, tps ...TopicPartition) (map[TopicPartition]int64, error) {
	asked := kadm.TopicsSet{}
	for _, tp := range tps {
		asked.Add(tp.Topic, tp.Partition)
	}
	dirs, err := t.admin.DescribeAllLogDirs(ctx, asked)
	sizes := map[TopicPartition]int64{}
	dirs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			tp := TopicPartition{p.Topic, p.Partition}
			sizes[tp] = max(sizes[tp], p.Size)
		})
	})
	if err != nil && len(sizes) == 0 {
		return nil, fmt.Errorf("kclient: sizes of partitions: %w", err)
	}
	return sizes, nil
}
