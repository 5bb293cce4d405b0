package broker

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/log"
)

// Fetch: v4-18. The answer is encoded here and not by kmsg, so that batches go to the socket as the slices of the log
// that they are.
//
// Version notes:
//   - v4: isolation level, aborted transactions
//   - v5: log start offset
//   - v7: sessions; we answer session 0, which means that there is none
//   - v9: the leader epoch that the client knows
//   - v11: rack, preferred read replica
//   - v12: flexible; the last epoch fetched, diverging epochs
//   - v13: topic ids
//   - v15: replica state in place of the replica id
//   - v16: node endpoints
func (b *broker) handleFetch(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.FetchRequest)
	return func(ctx context.Context) (answer, error) {
		if req.SessionID != 0 {
			return answer{parts: encodeFetch(req, kerr.FetchSessionIDNotFound, nil)}, nil
		}
		f := b.newFetch(req)
		f.run(ctx)
		return answer{parts: encodeFetch(req, nil, f.results)}, nil
	}
}

func (b *broker) newFetch(req *kmsg.FetchRequest) *fetch {
	f := &fetch{
		b: b, minBytes: int(req.MinBytes), maxBytes: int(req.MaxBytes),
		maxWait: time.Duration(max(req.MaxWaitMillis, 0)) * time.Millisecond,
	}
	if req.IsolationLevel == 1 {
		f.iso = log.ReadCommitted
	}
	set := b.topics.load()
	for i := range req.Topics {
		t, terr := set.find(req.Topics[i].Topic, req.Topics[i].TopicID, req.Version >= 13)
		for j := range req.Topics[i].Partitions {
			rp := &req.Topics[i].Partitions[j]
			part := fetchPart{offset: rp.FetchOffset, maxBytes: int(rp.PartitionMaxBytes)}
			part.target, part.err = t.at(rp.Partition)
			switch {
			case terr != nil:
				part.err = terr
			case part.err == nil && req.Version >= 9 && rp.CurrentLeaderEpoch > leaderEpoch:
				part.target, part.err = nil, kerr.UnknownLeaderEpoch
			}
			f.parts = append(f.parts, part)
		}
	}
	f.results = make([]FetchResult, len(f.parts))
	return f
}

// fetchEncoder cuts the answer where batches go between its bytes.
type fetchEncoder struct {
	version int16
	buf     []byte
	parts   [][]byte
}

func encodeFetch(req *kmsg.FetchRequest, err *kerr.Error, results []FetchResult) [][]byte {
	e := fetchEncoder{version: req.Version, buf: make([]byte, 0, 64+96*len(results))}
	e.int32(0) // throttle time
	if e.version >= 7 {
		e.int16(kcode(err))
		e.int32(0) // session id
	}
	if err != nil {
		req = &kmsg.FetchRequest{}
	}
	e.length(len(req.Topics))
	next := 0
	for i := range req.Topics {
		t := &req.Topics[i]
		if e.version >= 13 {
			e.buf = append(e.buf, t.TopicID[:]...)
		} else {
			e.text(t.Topic)
		}
		e.length(len(t.Partitions))
		for j := range t.Partitions {
			e.partition(t.Partitions[j].Partition, &results[next])
			next++
		}
		e.tags()
	}
	e.tags()
	e.cut()
	return e.parts
}

func (e *fetchEncoder) partition(index int32, r *FetchResult) {
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
