package broker

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/log"
	"thalweg/internal/direct"
)

// Fetch: v4-18. The answer is encoded here and not by kmsg, so that batches go to the socket as the slices of the log
// that they are.
//
// Version notes:
//   - v4: isolation level, aborted transactions
//   - v5: log start offset
//   - v7: sessions, see fetch_session.go
//   - v9: the leader epoch that the client knows
//   - v11: rack, preferred read replica
//   - v12: flexible; the last epoch fetched, diverging epochs
//   - v13: topic ids
//   - v15: replica state in place of the replica id
//   - v16: node endpoints
func (b *broker) handleFetch(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.FetchRequest)
	return func(ctx context.Context) (answer, error) {
		if req.Version >= 7 && req.SessionEpoch > 0 {
			return b.fetchOfSession(ctx, req)
		}
		if req.SessionID != 0 {
			b.sessions.end(req.SessionID)
		}
		f := b.newFetch(req)
		f.eachOf(req, func(key partitionKey, p *kmsg.FetchRequestTopicPartition) {
			f.add(key, wanted{offset: p.FetchOffset, maxBytes: p.PartitionMaxBytes, epoch: p.CurrentLeaderEpoch}, nil)
		})
		err := f.run(ctx)
		id := int32(0)
		if req.Version >= 7 && req.SessionEpoch == 0 && err == nil {
			id = b.sessions.begin(f, req.Version >= 13)
		}
		return answer{parts: encodeFetch(req.Version, id, nil, f.entries(nil)), held: f.held}, err
	}
}

// partitionKey is how a fetch names a partition: by the topic's id from version 13 on.
type partitionKey struct {
	topic string
	id    [16]byte
	index int32
}

// wanted is what a fetch asks of a partition.
type wanted struct {
	offset          int64
	maxBytes, epoch int32
}

func (b *broker) newFetch(req *kmsg.FetchRequest) *fetch {
	f := &fetch{
		b: b, minBytes: int(req.MinBytes), maxBytes: int(req.MaxBytes), memory: b.answers,
		maxWait: time.Duration(max(req.MaxWaitMillis, 0)) * time.Millisecond,
	}
	if req.IsolationLevel == 1 {
		f.iso = log.ReadCommitted
	}
	return f
}

// eachOf yields the partitions of a request.
func (f *fetch) eachOf(req *kmsg.FetchRequest, yield func(partitionKey, *kmsg.FetchRequestTopicPartition)) {
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			yield(keyOf(req.Version, t.Topic, t.TopicID, t.Partitions[j].Partition), &t.Partitions[j])
		}
	}
}

func keyOf(version int16, topic string, id [16]byte, index int32) partitionKey {
	if version >= 13 {
		return partitionKey{id: id, index: index}
	}
	return partitionKey{topic: topic, index: index}
}

// add makes a partition part of the fetch.
func (f *fetch) add(key partitionKey, w wanted, member *sessionPart) {
	part := fetchPart{key: key, epoch: w.epoch, member: member, offset: w.offset, maxBytes: int(w.maxBytes), bound: -1}
	t, terr := f.b.topics.load().find(key.topic, key.id, key.topic == "")
	part.target, part.err = t.at(key.index)
	switch {
	case terr != nil:
		part.err = terr
	case part.err == nil && w.epoch > leaderEpoch:
		part.target, part.err = nil, kerr.UnknownLeaderEpoch
	}
	f.parts, f.results = append(f.parts, part), append(f.results, direct.FetchResult{})
}

// entries returns the results that the answer has: all, or those that pick chooses.
func (f *fetch) entries(pick func(*fetchPart, *direct.FetchResult) bool) []fetchEntry {
	var entries []fetchEntry
	for i := range f.parts {
		if pick == nil || pick(&f.parts[i], &f.results[i]) {
			entries = append(entries, fetchEntry{f.parts[i].key, &f.results[i]})
		}
	}
	return entries
}

// fetchEncoder cuts the answer where batches go between its bytes.
type fetchEncoder struct {
	version int16
	buf     []byte
	parts   [][]byte
}

// fetchEntry is one partition of the answer. Those of a topic stand together.
type fetchEntry struct {
	partitionKey
	result *direct.FetchResult
}

func encodeFetch(version int16, session int32, err *kerr.Error, entries []fetchEntry) [][]byte {
	e := fetchEncoder{version: version, buf: make([]byte, 0, 64+96*len(entries))}
	e.int32(0) // throttle time
	if e.version >= 7 {
		e.int16(kcode(err))
		e.int32(session)
	}
	topics := byTopic(entries)
	e.length(len(topics))
	for _, parts := range topics {
		if e.version >= 13 {
			e.buf = append(e.buf, parts[0].id[:]...)
		} else {
			e.text(parts[0].topic)
		}
		e.length(len(parts))
		for _, p := range parts {
			e.partition(p.index, p.result)
		}
		e.tags()
	}
	e.tags()
	e.cut()
	return e.parts
}

// byTopic cuts entries between topics.
func byTopic(entries []fetchEntry) (topics [][]fetchEntry) {
	start := 0
	for i := range entries {
		if i+1 == len(entries) || entries[i].topic != entries[i+1].topic || entries[i].id != entries[i+1].id {
			topics = append(topics, entries[start:i+1])
			start = i + 1
		}
	}
	return topics
}

func (e *fetchEncoder) partition(index int32, r *direct.FetchResult) {
	e.int32(index)
	e.int16(code(r.Err))
	e.int64(r.HighWatermark)
	e.int64(r.LastStableOffset)
	if e.version >= 5 {
		e.int64(r.LogStartOffset)
	}
	if r.Aborted == nil {
		e.null()
	} else {
		e.length(len(r.Aborted))
	}
	for _, a := range r.Aborted {
		e.int64(a.ProducerID)
		e.int64(a.FirstOffset)
		e.tags()
	}
	if e.version >= 11 {
		e.int32(-1) // preferred read replica
	}
	size := 0
	for _, run := range r.Batches {
		size += len(run)
	}
	if e.version >= 12 {
		e.length(size)
	} else {
		e.int32(int32(size))
	}
	if size > 0 {
		e.cut()
		e.parts = append(e.parts, r.Batches...)
	}
	if r.AfterDamage > 0 && e.version >= 12 {
		e.buf = append(e.buf, 1)
		e.buf = binary.AppendUvarint(e.buf, direct.AfterDamageTag)
		e.buf = append(e.buf, 8)
		e.int64(r.AfterDamage)
		return
	}
	e.tags()
}

// cut ends a run of bytes; the next one has its own.
func (e *fetchEncoder) cut() {
	if len(e.buf) > 0 {
		e.parts = append(e.parts, e.buf)
		e.buf = e.buf[len(e.buf):]
	}
}

func (e *fetchEncoder) int16(v int16) { e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(v)) }
func (e *fetchEncoder) int32(v int32) { e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(v)) }
func (e *fetchEncoder) int64(v int64) { e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(v)) }

// length is that of an array, or of bytes in flexible versions.
func (e *fetchEncoder) length(n int) {
	if e.version >= 12 {
		e.buf = binary.AppendUvarint(e.buf, uint64(n)+1)
		return
	}
	e.int32(int32(n))
}

func (e *fetchEncoder) null() {
	if e.version >= 12 {
		e.buf = append(e.buf, 0)
		return
	}
	e.int32(-1)
}

func (e *fetchEncoder) text(s string) {
	if e.version >= 12 {
		e.length(len(s))
	} else {
		e.int16(int16(len(s)))
	}
	e.buf = append(e.buf, s...)
}

func (e *fetchEncoder) tags() {
	if e.version >= 12 {
		e.buf = append(e.buf, 0)
	}
}
