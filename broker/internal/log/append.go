package log

import (
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
)

// AppendFrom is Append with a say about who appends.
func (l *Log) AppendFrom(batches []byte, origin Origin) (Appended, error) {
	result, err := l.AppendNoSync(batches, origin, false)
	if err != nil || result.Duplicate {
		return result, err
	}
	return result, l.written()
}

// AppendNoSync appends without scheduling an fsync. Call Syncer.ScheduleSync after the last append of a request.
//
// freshEpochs tells that the producer has a new epoch in each transaction (KIP-890). Where the log does not know it, it
// begins with sequence 0: another one means that batches before it were lost. Without freshEpochs it may be a producer
// that the log has forgotten because it was silent for long.
func (l *Log) AppendNoSync(batches []byte, origin Origin, freshEpochs bool) (Appended, error) {
	config := l.config.Load()
	if err := l.validate(batches, config, origin); err != nil {
		return Appended{}, l.refuse(err)
	}
	l.options.Files.admit(l)
	l.mu.Lock()
	result, err := l.appendLocked(batches, config, origin, freshEpochs)
	l.mu.Unlock()
	if err != nil {
		return Appended{}, l.refuse(err)
	}
	return result, nil
}

func (l *Log) refuse(err error) error {
	return fmt.Errorf("log: %s: append: %w", l.options.name(), err)
}

// written is Syncer.Written for one log. It returns what SyncAlways learns at once.
func (l *Log) written() error {
	l.options.Syncer.ScheduleSync(l)
	if l.options.Syncer.Mode() == SyncAlways {
		return l.Err()
	}
	return nil
}

// appendLocked does the work of AppendFrom under l.mu.
func (l *Log) appendLocked(batches []byte, config *Config, origin Origin, freshEpochs bool) (Appended, error) {
	if err := l.check("append"); err != nil {
		return Appended{}, err
	}
	now, age := l.options.Now().UnixMilli(), l.age()
	result := Appended{BaseOffset: l.end.Load(), LogAppendTime: -1, LogStart: l.start.Load()}
	first, last, duplicate, err := l.stage(batches, origin, freshEpochs, result.BaseOffset, age)
	if err != nil {
		return Appended{}, err
	}
	if duplicate {
		result.BaseOffset, result.LastOffset, result.Duplicate = first, last, true
		return result, nil
	}
	if config.LogAppendTime {
		result.LogAppendTime = now
	}
	next, err := l.write(batches, config, now, age)
	if err != nil {
		return Appended{}, err
	}
	result.LastOffset = next - 1
	for i := range l.staged {
		l.producers[l.staged[i].id] = l.staged[i]
	}
	return result, nil
}

// stage checks the batches against the producers' state and leaves in l.staged what that will be once they are written.
// Transactions that they open are noted by write.
func (l *Log) stage(batches []byte, origin Origin, freshEpochs bool, offset, age int64) (
	first, last int64, duplicate bool, err error,
) {
	l.staged = l.staged[:0]
	for n := 0; len(batches) > 0; n++ {
		b, rest, err := batch.Parse(batches)
		if err != nil {
			return 0, 0, false, protocolError(err)
		}
		batches = rest
		base := offset
		offset += int64(b.LastOffsetDelta()) + 1
		if b.ProducerID() < 0 {
			continue
		}
		p := l.stagedProducer(b.ProducerID())
		if old, ok := p.duplicate(b); ok && (n == 0 || duplicate) {
			if n == 0 {
				first = old.baseOffset
			}
			last, duplicate = old.lastOffset, true
			continue
		}
		if duplicate {
			return 0, 0, false, fmt.Errorf("producer %d: new batches behind repeated ones: %w",
				b.ProducerID(), kerr.OutOfOrderSequenceNumber)
		}
		if err := p.check(b, origin, freshEpochs); err != nil {
			return 0, 0, false, err
		}
		p.append(b, base, offset-1, age)
	}
	return first, last, duplicate, nil
}

// stagedProducer returns the copy of a producer's state that the append in progress changes.
func (l *Log) stagedProducer(id int64) *producer {
	for i := range l.staged {
		if l.staged[i].id == id {
			return &l.staged[i]
		}
	}
	l.staged = append(l.staged, l.producers.get(id))
	return &l.staged[len(l.staged)-1]
}

// write gives the batches their offsets, appends them to the active segment and makes them visible to readers, who are
// held back by the high watermark. now and age are the moment by the wall clock and by the steady one. On an error
// nothing has changed. l.mu is held.
func (l *Log) write(batches []byte, config *Config, now, age int64) (next int64, err error) {
	base := l.end.Load()
	active, err := l.rollFor(len(batches), config, age)
	if err != nil {
		return 0, err
	}
	dst, room := batches, l.tail.reserve(len(batches))
	if room != nil {
		copy(room, batches)
		dst = room
	}
	next = base
	for rest := dst; len(rest) > 0; {
		b, after, err := batch.Parse(rest)
		if err != nil {
			return 0, protocolError(err)
		}
		batch.SetBaseOffset(b.Bytes(), next, l.options.LeaderEpoch)
		if config.LogAppendTime && !b.IsControl() {
			batch.SetLogAppendTime(b.Bytes(), now)
		}
		next += int64(b.LastOffsetDelta()) + 1
		rest = after
	}
	if next-1-active.base > math.MaxInt32 {
		return 0, fmt.Errorf("%d offsets in one append: %w", next-base, kerr.InvalidRecord)
	}
	if err := l.soil(active); err != nil {
		return 0, fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
	}
	if err := active.write(dst, config.SegmentBytes, config.AheadBytes); err != nil {
		return 0, fmt.Errorf("%w: %w", kerr.KafkaStorageError, err)
	}
	active.ages.touch(age)
	l.enter(active, dst, config, now, age)
	if room != nil {
		l.tail.publish(len(dst), base, next)
	}
	active.next.Store(next)
	l.end.Store(next)
	return next, nil
}

// enter notes written batches in the segment's index and opens their transactions. l.mu is held.
func (l *Log) enter(active *segment, written []byte, config *Config, now, age int64) {
	position := int(active.size.Load())
	for len(written) > 0 {
		b, rest, err := batch.Parse(written)
		if err != nil {
			break // write has parsed it before
		}
		active.index.add(active.base, b.LastOffset(), position, b.Size(), b.MaxTimestamp(), config.IndexBytes)
		l.warnAhead(b, now, age)
		if b.IsTransactional() && !b.IsControl() {
			l.openTransaction(b)
		}
		position += b.Size()
		written = rest
	}
	active.size.Store(int64(position))
}

// soil notes that a segment is about to have unsynced writes: its file stays open until they are synced. l.mu is held.
func (l *Log) soil(active *segment) error {
	if n := len(l.unsynced); !l.syncs() || n > 0 && l.unsynced[n-1].segment == active {
		return nil
	}
	if _, err := active.file.pin(); err != nil {
		return err
	}
	l.unsynced = append(l.unsynced, unsyncedFile{active, active.file})
	l.options.Files.soil(l)
	return nil
}

// warnAhead says once a day that a producer's clock is ahead: look-ups by time go by what it writes. l.mu is held.
func (l *Log) warnAhead(b batch.Batch, now, age int64) {
	const day = 24 * 60 * 60 * 1000
	if b.MaxTimestamp() <= now+day || l.warnedAhead != 0 && age-l.warnedAhead < day {
		return
	}
	l.warnedAhead = age
	l.options.Logger.Warn("a record's timestamp lies more than a day ahead; this is said once a day",
		"topic", l.options.Topic, "partition", l.options.Partition, "offset", b.BaseOffset(),
		"timestamp", time.UnixMilli(b.MaxTimestamp()).UTC(), "now", time.UnixMilli(now).UTC())
}

// openTransaction notes the transaction that b begins, if it does. l.mu is held.
func (l *Log) openTransaction(b batch.Batch) {
	l.stable.Lock()
	defer l.stable.Unlock()
	for _, s := range l.openTxns {
		if s.producerID == b.ProducerID() && s.last < 0 {
			return
		}
	}
	l.openTxns = l.openTxns.open(b.ProducerID(), b.BaseOffset())
}

// AppendMarker ends a producer's transaction in this partition. A marker of a higher epoch raises the producer's: its
// older batches are refused from then on. Without an open transaction the marker is appended all the same.
func (l *Log) AppendMarker(m Marker) (Appended, error) {
	result, err := l.AppendMarkerNoSync(m)
	if err != nil {
		return Appended{}, err
	}
	return result, l.written()
}

// AppendMarkerNoSync is AppendMarker without an fsync: see AppendNoSync.
func (l *Log) AppendMarkerNoSync(m Marker) (Appended, error) {
	l.options.Files.admit(l)
	l.mu.Lock()
	result, err := l.markerLocked(m)
	l.mu.Unlock()
	if err != nil {
		return Appended{}, l.refuse(err)
	}
	l.watches.marked()
	return result, nil
}

func (l *Log) markerLocked(m Marker) (Appended, error) {
	if err := l.check("append a marker"); err != nil {
		return Appended{}, err
	}
	p := l.producers.get(m.ProducerID)
	if err := p.checkMarker(m.ProducerEpoch, m.CoordinatorEpoch); err != nil {
		return Appended{}, err
	}
	now, age := l.options.Now().UnixMilli(), l.age()
	control := batch.Control{
		Type:             batch.Abort,
		ProducerID:       m.ProducerID,
		ProducerEpoch:    m.ProducerEpoch,
		CoordinatorEpoch: m.CoordinatorEpoch,
		Timestamp:        now,
	}
	if m.Commit {
		control.Type = batch.Commit
	}
	offset := l.end.Load()
	if _, err := l.write(batch.AppendControl(nil, control), l.config.Load(), now, age); err != nil {
		return Appended{}, err
	}
	l.marked.Store(offset)
	first := p.mark(m.ProducerEpoch, m.CoordinatorEpoch, now, age)
	l.producers[p.id] = p
	if first >= 0 {
		l.closeTransaction(l.active(), p.id, first, offset, !m.Commit)
	}
	return Appended{BaseOffset: offset, LastOffset: offset, LogAppendTime: -1, LogStart: l.start.Load()}, nil
}

// closeTransaction notes that the marker at offset, in s, ended a transaction. l.mu is held.
func (l *Log) closeTransaction(s *segment, producerID, first, offset int64, aborted bool) {
	l.stable.Lock()
	defer l.stable.Unlock()
	l.openTxns.close(producerID, offset)
	if aborted {
		stable := l.openTxns.firstOpen(offset + 1)
		s.addAborted(abortedTxn{producerID: producerID, first: first, last: offset, stable: stable})
	}
}
