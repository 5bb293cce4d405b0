package runtime

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"thalweg/internal/batch"
	"thalweg/internal/kclient"
	"thalweg/internal/progress"
	"thalweg/internal/task"
)

// Settings of a progress topic. A commit of a timed operator adds a few records and the marker of its transaction, so
// that most of the topic is old soon, and a start reads all of it.
const (
	progressSegmentBytes     = "4194304"
	progressDeleteRetention  = "600000" // markers, and records that were taken back, stay for ten minutes
	segmentBytesSetting      = "segment.bytes"
	deleteRetentionMSSetting = "delete.retention.ms"
)

// timed is a time of an operator in one partition.
type timed struct {
	partition int32
	task.Time
}

// keptTimes are the times that the progress topic has, as far as it was read. Any goroutine may use it.
type keptTimes struct {
	mu   sync.Mutex
	id   kclient.TopicID            // of the topic that was read
	next int64                      // the offset to read on from
	at   map[int32]map[string]int64 // by partition and name
}

// read reads what is new up to the topic's end, and returns the times of partitions, by name. It waits for the
// transactions that are open there.
func (k *keptTimes) read(
	ctx context.Context, c *kclient.Client, topic string, id kclient.TopicID, partitions map[int32]bool,
) (map[int32]map[string]int64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	tp := kclient.TopicPartition{Topic: topic}
	first, err := c.ListOffsets(ctx, []kclient.TopicPartition{tp}, kclient.Earliest, false)
	if err != nil {
		return nil, err
	}
	end, err := c.ListOffsets(ctx, []kclient.TopicPartition{tp}, kclient.Latest, false)
	if err != nil {
		return nil, err
	}
	if k.at == nil || k.id != id || k.next > end[tp] { // the topic was made again
		k.id, k.next, k.at = id, 0, map[int32]map[string]int64{}
	}
	first[tp] = max(first[tp], k.next)
	var decoder batch.Decoder
	err = c.Scan(ctx, first, end, func(_ kclient.TopicPartition, b batch.Batch) (bool, error) {
		return false, k.add(b, first[tp], &decoder)
	})
	if err != nil { // what was read is read again: the last record of a key counts
		return nil, fmt.Errorf("times in topic %s: %w", topic, err)
	}
	k.next = end[tp]
	times := map[int32]map[string]int64{}
	for p := range partitions {
		times[p] = maps.Clone(k.at[p])
	}
	return times, nil
}

func (k *keptTimes) add(b batch.Batch, from int64, decoder *batch.Decoder) error {
	if b.IsControl() {
		return nil
	}
	it, err := b.Records(decoder)
	if err != nil {
		return err
	}
	for r := (batch.Record{}); it.Next(&r); {
		key, err := progress.DecodeKey(r.Key)
		if err != nil || key.Kind != progress.Time || r.Offset < from {
			continue // what is wrong with another record was said at the start
		}
		if len(r.Value) == 0 {
			delete(k.at[key.Partition], key.Name)
			continue
		}
		value, err := progress.DecodeValue(r.Value)
		if err != nil {
			return fmt.Errorf("the time %s of partition %d: %w", key.Name, key.Partition, err)
		}
		if k.at[key.Partition] == nil {
			k.at[key.Partition] = map[string]int64{}
		}
		k.at[key.Partition][key.Name] = value.Time
	}
	return it.Err()
}
