package runtime

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// partitionsAge is how long a partition count is believed: counts grow, and then records of a key change partitions.
const partitionsAge = time.Minute

type partitionCount struct {
	n  int32
	at time.Time
}

// partitions is the partition count of a topic.
func (c *connection) partitions(ctx context.Context, client *kgo.Client, topic string) (int32, error) {
	c.mu.Lock()
	known := c.counts[topic]
	c.mu.Unlock()
	if known.n > 0 && time.Since(known.at) < partitionsAge {
		return known.n, nil
	}
	n, err := c.askPartitions(ctx, client, topic)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[topic] = partitionCount{n, time.Now()}
	return n, nil
}

// The brokers of a cluster learn of a new topic one after the other.
const (
	unknownTriesMax   = 5
	unknownAgainAfter = 250 * time.Millisecond
)

// askPartitions asks the broker, and again where it does not know the topic yet.
func (c *connection) askPartitions(ctx context.Context, client *kgo.Client, topic string) (int32, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RetryTimeout)
	defer cancel()
	for try := 1; ; try++ {
		topics, err := kadm.NewClient(client).ListTopics(ctx, topic)
		if err == nil {
			err = topics.Error()
		}
		if err == nil || !kerr.IsRetriable(err) || try == unknownTriesMax {
			return int32(len(topics[topic].Partitions)), err
		}
		select {
		case <-time.After(unknownAgainAfter):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// choosing takes the partition that a record has already, and otherwise chooses by its key as Kafka does.
type choosing struct{ byKey kgo.Partitioner }

func (c choosing) ForTopic(topic string) kgo.TopicPartitioner {
	return &choosingTopic{c.byKey.ForTopic(topic)}
}

type choosingTopic struct{ kgo.TopicPartitioner }

// RequiresConsistency tells whether partitions that can't be written at the moment count.
func (t *choosingTopic) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || t.TopicPartitioner.RequiresConsistency(r)
}

// Partition chooses among n partitions.
func (t *choosingTopic) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition)
	}
	return t.TopicPartitioner.Partition(r, n)
}

// OnNewBatch lets records without a key go to another partition when a batch is full.
func (t *choosingTopic) OnNewBatch() {
	if sticky, ok := t.TopicPartitioner.(kgo.TopicPartitionerOnNewBatch); ok {
		sticky.OnNewBatch()
	}
}
