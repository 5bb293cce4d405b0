package streamtest

import (
	"fmt"
	"maps"
	"slices"

	"thalweg/internal/batch"
	"thalweg/topology"
)

// topicLog is one topic: what a broker would hold.
type topicLog struct {
	name       string
	partitions []partitionLog
	records    []Written // of all partitions, in the order in which they were written
}

type partitionLog struct {
	batches []batch.Batch
	end     int64 // next offset
}

// Written is a record as it lies in a topic. Nil is null. Slices are read-only.
type Written struct {
	Partition  int32
	Offset     int64
	Timestamp  int64
	Key, Value []byte
	Headers    []topology.Header
}

// append puts a finished batch at the end of a partition; raw is the log's from now on.
func (l *topicLog) append(partition int32, raw []byte) error {
	p := &l.partitions[partition]
	batch.SetBaseOffset(raw, p.end, 0)
	b, _, err := batch.Parse(raw)
	if err != nil {
		return fmt.Errorf("topic %s: %w", l.name, err)
	}
	it, err := b.Records(nil)
	if err != nil {
		return fmt.Errorf("topic %s: %w", l.name, err)
	}
	var r batch.Record
	for it.Next(&r) {
		w := Written{Partition: partition, Offset: r.Offset, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value}
		if w.Headers, err = r.Headers(nil); err != nil {
			return fmt.Errorf("topic %s: %w", l.name, err)
		}
		l.records = append(l.records, w)
	}
	p.batches = append(p.batches, b)
	p.end = b.LastOffset() + 1
	return it.Err()
}

// from are the batches that hold the offset and what follows.
func (p *partitionLog) from(offset int64) []batch.Batch {
	i := len(p.batches)
	for i > 0 && p.batches[i-1].LastOffset() >= offset {
		i--
	}
	return p.batches[i:]
}

// topic finds a topic or makes it.
func (d *Driver) topic(name string) *topicLog {
	l := d.topics[name]
	if l == nil {
		l = &topicLog{name: name, partitions: make([]partitionLog, d.partitionsOf(name))}
		d.topics[name] = l
	}
	return l
}

func (d *Driver) partitionsOf(topic string) int32 {
	if n := d.config.TopicPartitions[topic]; n > 0 {
		return n
	}
	if n := d.kept[topic]; n > 0 {
		return n
	}
	if n := d.fixed[topic]; n > 0 && d.config.Partitions > 1 {
		return n
	}
	return d.config.Partitions
}

// Topics are the names of all topics that hold records, sorted.
func (d *Driver) Topics() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(d.topics)) {
		if len(d.topics[name].records) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// Written are the records of a topic, as bytes, in the order in which they were written. The name is the durable
// one, also of a repartition topic or a changelog.
func (d *Driver) Written(topic string) []Written {
	if l := d.topics[topic]; l != nil {
		return slices.Clone(l.records)
	}
	return nil
}
