package coord

import (
	"context"
	"fmt"
	"time"

	"thalweg/broker/internal/log"
	"thalweg/internal/batch"
)

const (
	replayReadBytes     = 1 << 20
	snapshotBatchBytes  = 256 << 10
	snapshotWaitTimeout = time.Minute
)

// takeSnapshot appends the whole state and trims what it replaces once it is durable. s.mu is held.
func (s *Shard) takeSnapshot() {
	// Transactions that are open now are not in the snapshot, whatever becomes of them while it is written.
	keep := min(s.cfg.Log.End(), s.cfg.Log.LastStable())
	var pending []Record
	var failed error
	pendingBytes, total := 0, int64(0)
	flush := func() {
		if len(pending) == 0 || failed != nil {
			return
		}
		raw, err := s.encode(pending, nil, 0)
		if err == nil {
			var done log.Appended
			if done, err = s.cfg.Log.AppendFrom(raw, log.OriginCoordinator); err == nil {
				s.last.Store(done.LastOffset)
				total += int64(len(raw))
			}
		}
		failed, pending, pendingBytes = err, pending[:0], 0
	}
	s.cfg.Machine.Snapshot(func(r Record) {
		pending = append(pending, r)
		if pendingBytes += len(r.Key) + len(r.Value); pendingBytes >= snapshotBatchBytes {
			flush()
		}
	})
	flush()
	s.appended, s.snapshot = 0, total
	if failed != nil {
		s.cfg.Complain("snapshot", failed)
		return
	}
	s.background.Add(1)
	go s.trim(keep, s.last.Load())
}

// trim drops what lies before keep, once the snapshot that ends at last is durable.
func (s *Shard) trim(keep, last int64) {
	defer s.background.Done()
	ctx, cancel := context.WithTimeout(context.Background(), snapshotWaitTimeout)
	defer cancel()
	err := s.Wait(ctx, last)
	if err == nil {
		_, err = s.cfg.Log.TrimTo(keep)
	}
	if err != nil {
		s.cfg.Complain("trim to snapshot", err)
	}
}

// replay folds the whole log into the machine.
func (s *Shard) replay() error {
	var decoder batch.Decoder
	now := s.cfg.Now()
	for offset := s.cfg.Log.Start(); offset < s.cfg.Log.End(); {
		res, err := s.cfg.Log.Read(offset, replayReadBytes, log.ReadUncommitted)
		if err != nil {
			return fmt.Errorf("read at offset %d: %w", offset, err)
		}
		if len(res.Batches) == 0 {
			return fmt.Errorf("read at offset %d of %d: nothing there", offset, s.cfg.Log.End())
		}
		for _, run := range res.Batches {
			for b, err := range batch.BatchesOf(run) {
				if err != nil {
					return fmt.Errorf("batch after offset %d: %w", offset, err)
				}
				if err := Replay(s.cfg.Machine, b, offset, &decoder, now); err != nil {
					return err
				}
				offset = max(offset, b.LastOffset()+1)
			}
		}
	}
	return nil
}

// Replay folds the records of a batch from an offset on into a machine.
func Replay(m Machine, b batch.Batch, from int64, decoder *batch.Decoder, now time.Time) error {
	p := Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch()}
	if b.IsControl() {
		kind, _, err := b.Control()
		if err != nil {
			return fmt.Errorf("marker at offset %d: %w", b.BaseOffset(), err)
		}
		m.ReplayMarker(p, kind == batch.Commit)
		return nil
	}
	producer := &p
	if !b.IsTransactional() {
		producer = nil
	}
	it, err := b.Records(decoder)
	if err != nil {
		return fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
	}
	var r batch.Record
	for it.Next(&r) {
		if r.Offset < from {
			continue
		}
		if err := m.Replay(Record{Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}, producer, now); err != nil {
			return fmt.Errorf("record at offset %d: %w", r.Offset, err)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
	}
	return nil
}
