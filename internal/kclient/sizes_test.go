package kclient

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSizesOfPartitions(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.open(nil)
		topic := b.name("sized")
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{{Name: topic, Partitions: 2}}))
		require.NoError(t, l.WriteKeyed(b.ctx, topic, []KeyValue{{Key: []byte("k"), Value: make([]byte, 1000)}}, time.Now()))
		empty, filled := TopicPartition{topic, 1}, TopicPartition{topic, 0}
		sizes, err := l.Topics().SizesBytes(b.ctx, empty, filled)
		require.NoError(t, err)
		require.Greater(t, sizes[filled], sizes[empty])
	})
}
