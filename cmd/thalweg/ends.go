package main

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ends knows when a consumer has read all that partitions had when it began. Records say how far it is. What is behind
// the last one may be nothing that it sees, such as a batch that compaction has emptied: then answers without content
// say so.
type ends struct {
	left map[string]map[int32]int64 // by topic and partition, which offset ends it

	mu    sync.Mutex
	empty map[int32]int // how many answers in a row had nothing, by each broker that leads what is left
}

const (
	// emptyAnswerBytes is more than an answer has that is about no partition.
	emptyAnswerBytes = 64
	emptyAnswers     = 3
	noLeader         = -1 // has no answers
)

// find notes the ends of what is read. It leaves out partitions in which there is nothing to read.
func (e *ends) find(ctx context.Context, cl *client, reading map[string]map[int32]kgo.Offset, uncommitted bool) error {
	var topics []string
	for topic := range reading {
		topics = append(topics, topic)
	}
	b, err := boundsOf(ctx, cl.admin, topics)
	if err == nil && !uncommitted { // an open transaction is not waited for
		b.end, err = cl.admin.ListCommittedOffsets(ctx, topics...)
	}
	if err != nil {
		return err
	}
	e.left = map[string]map[int32]int64{}
	for topic, partitions := range reading {
		for p, from := range partitions {
			start, end, err := b.of(topic, p)
			if err != nil {
				return err
			}
			if max(start, from.EpochOffset().Offset) >= end {
				delete(partitions, p)
				continue
			}
			if e.left[topic] == nil {
				e.left[topic] = map[int32]int64{}
			}
			e.left[topic][p] = end
		}
	}
	return e.findLeaders(ctx, cl)
}

// findLeaders notes the brokers that have what is left. One that was slow to answer may have all of it.
func (e *ends) findLeaders(ctx context.Context, cl *client) error {
	if len(e.left) == 0 {
		return nil
	}
	details, err := cl.admin.ListTopics(ctx, slices.Collect(maps.Keys(e.left))...)
	if err != nil {
		return err
	}
	leaders := map[int32]bool{}
	for topic, partitions := range e.left {
		for p := range partitions {
			leader, known := details[topic].Partitions[p]
			if known && leader.Err == nil {
				leaders[leader.Leader] = true
			} else {
				leaders[noLeader] = true
			}
		}
	}
	e.expect(leaders)
	return nil
}

// expect forgets the answers of other brokers.
func (e *ends) expect(leaders map[int32]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	empty := map[int32]int{}
	for broker := range leaders {
		empty[broker] = e.empty[broker]
	}
	e.empty = empty
}

// take notes a record, and tells whether it is one to be printed.
func (e *ends) take(r *kgo.Record) bool {
	e.mu.Lock()
	for broker := range e.empty {
		e.empty[broker] = 0
	}
	e.mu.Unlock()
	end, ok := e.left[r.Topic][r.Partition]
	if ok && r.Offset+1 >= end {
		if delete(e.left[r.Topic], r.Partition); len(e.left[r.Topic]) == 0 {
			delete(e.left, r.Topic)
		}
	}
	return ok && r.Offset < end && !r.Attrs.IsControl()
}

// reached tells that all is read.
func (e *ends) reached() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	idle := len(e.empty) > 0
	for _, n := range e.empty {
		idle = idle && n >= emptyAnswers
	}
	return len(e.left) == 0 || idle
}

// OnBrokerRead makes ends a hook of the client.
func (e *ends) OnBrokerRead(meta kgo.BrokerMetadata, key int16, read int, _, _ time.Duration, err error) {
	if key != int16(kmsg.Fetch) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, leads := e.empty[meta.NodeID]; !leads {
		return
	}
	if err != nil || read > emptyAnswerBytes {
		e.empty[meta.NodeID] = 0
	} else {
		e.empty[meta.NodeID]++
	}
}
