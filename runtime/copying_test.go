package runtime_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/stream"
	"thalweg/topology"
)

var (
	ins    = stream.NewTopic[string, string]("ins")
	copies = stream.NewTopic[string, string]("copies")
)

// copying copies each record of ins to copies.
func copying(t *testing.T, in stream.Topic[string, string]) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	b.Stream(in).To(copies)
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// sent produces numbered records to a partition, the first with that number. They are a minute old.
func (h *harness) sent(topic string, partition int32, first, n int) {
	h.t.Helper()
	client := brokertest.Client(h.t, h.broker, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	var records []*kgo.Record
	for i := range n {
		value := []byte(fmt.Sprint(first + i))
		records = append(records, &kgo.Record{
			Topic: topic, Partition: partition, Key: value, Value: value, Timestamp: time.Now().Add(-time.Minute),
		})
	}
	require.NoError(h.t, client.ProduceSync(h.ctx, records...).FirstErr())
	client.Close()
}

// values are those of the committed records of a topic.
func (h *harness) values(topic string) (values []string) {
	h.t.Helper()
	for _, r := range h.read(topic) {
		values = append(values, string(r.Value))
	}
	return values
}

// numbers are first up to before last.
func numbers(first, last int) (values []string) {
	for i := first; i < last; i++ {
		values = append(values, fmt.Sprint(i))
	}
	return values
}

// offset is what the group has committed of a partition; -1: nothing.
func (h *harness) offset(topic string, partition int32) int64 {
	h.t.Helper()
	offsets, err := h.admin.FetchOffsetsForTopics(h.ctx, "wordcount", topic)
	require.NoError(h.t, err)
	o, ok := offsets.Lookup(topic, partition)
	require.True(h.t, ok)
	return o.At
}

// moveTo sets the group's offset of a partition by hand.
func (h *harness) moveTo(topic string, partition int32, at int64) {
	h.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, partition, at, -1)
	require.NoError(h.t, h.admin.CommitAllOffsets(h.ctx, "wordcount", offsets))
}

// addPartitions gives a topic so many partitions.
func (h *harness) addPartitions(topic string, n int) {
	h.t.Helper()
	resp, err := h.admin.UpdatePartitions(h.ctx, n, topic)
	require.NoError(h.t, err)
	require.NoError(h.t, resp.Error())
}
