package log

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
	"thalweg/internal/defect"
	"thalweg/internal/invariant"
)

// Log is one partition's log. Its methods may be called by any number of goroutines.
type Log struct {
	options Options
	config  atomic.Pointer[Config]

	maintain upkeep     // one Maintain, Compact, TrimTo, Close or Release at a time
	mu       sync.Mutex // the appender's: everything up to the next blank line

	producers   producers
	checkpoints *checkpoints
	checkpoint  checkpoint     // as last written
	startSynced int64          // the log start that is on the disk
	unsynced    []unsyncedFile // written to since the last fsync
	dirUnsynced bool           // files were made since the last fsync
	closed      bool
	staged      []producer // of the append in progress
	warnedAhead int64      // when warnAhead last spoke; 0 never
	snapshotAt  int64      // size of the active segment at the last snapshot of it

	segments atomic.Pointer[[]*segment] // never empty, never changed in place; written under mu
	tail     tail

	sync      sync.Mutex // one fsync at a time
	syncState syncState  // Syncer.mu guards it

	stable     sync.Mutex // guards openTxns, synced and the publishing of offsets
	openTxns   openTxns
	synced     chan struct{} // closed and replaced when durable moves or the log fails
	start      atomic.Int64
	end        atomic.Int64 // offset after the last batch written
	durable    atomic.Int64 // offset after the last batch synced
	high       atomic.Int64 // high watermark
	lastStable atomic.Int64 // last stable offset
	marked     atomic.Int64 // offset of the newest marker, -1 once it is known to be durable

	decoders sync.Pool             // of *batch.Decoder: appends are validated before they take mu
	failure  atomic.Pointer[error] // what made the log refuse everything
	watches  watches
}

// Append appends batches and returns once they are written; WaitDurable waits for the disk. Either all of them are
// appended or none. The slice stays the caller's, but the offsets, and the time where the log stamps its own, may be
// written into it: until Append returns nobody else may look at it.
func (l *Log) Append(batches []byte) (Appended, error) { return l.AppendFrom(batches, OriginClient) }

// Start returns the first offset that may be read.
func (l *Log) Start() int64 { return l.start.Load() }

// End returns the offset that the next record gets.
func (l *Log) End() int64 { return l.end.Load() }

// Durable returns the offset after the last record that is known to be on the disk.
func (l *Log) Durable() int64 { return l.durable.Load() }

// HighWatermark returns the offset up to which the log may be read.
func (l *Log) HighWatermark() int64 { return l.high.Load() }

// LastStable returns the offset up to which every transaction is decided.
func (l *Log) LastStable() int64 { return l.lastStable.Load() }

// Dir returns the log's directory.
func (l *Log) Dir() string { return l.options.Dir }

// Err returns what made the log refuse everything, or nil.
func (l *Log) Err() error {
	if err := l.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Config returns the configuration with its defaults filled in.
func (l *Log) Config() Config { return *l.config.Load() }

// SetConfig changes the configuration of an open log.
func (l *Log) SetConfig(c Config) {
	c = c.withDefaults()
	c.SegmentBytes = min(c.SegmentBytes, maxSegmentBytes)
	c.IndexBytes = min(c.IndexBytes, maxIndexBytes)
	l.config.Store(&c)
}

// SizeBytes returns the size of all segments.
func (l *Log) SizeBytes() int64 {
	total := int64(0)
	for _, s := range *l.segments.Load() {
		total += s.size.Load()
	}
	return total
}

// OpenTransactions returns the transactions without a marker, by first offset.
func (l *Log) OpenTransactions() []OpenTransaction {
	l.mu.Lock()
	defer l.mu.Unlock()
	var open []OpenTransaction
	for _, s := range l.producers.openTxns() {
		p := l.producers[s.producerID]
		open = append(open, OpenTransaction{ProducerID: p.id, ProducerEpoch: p.epoch, FirstOffset: p.txnFirst})
	}
	return open
}

// Producers returns the idempotent producers that the log remembers, by id.
func (l *Log) Producers() []ProducerInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	var infos []ProducerInfo
	for _, p := range l.producers.sorted() {
		infos = append(infos, ProducerInfo{
			ProducerID:       p.id,
			ProducerEpoch:    p.epoch,
			LastSequence:     p.lastSequence(),
			LastTimestamp:    p.lastTimestamp,
			CoordinatorEpoch: p.coordinatorEpoch,
			TxnFirstOffset:   p.txnFirst,
		})
	}
	return infos
}

// WaitDurable waits until the record at offset is as durable as the syncer's mode promises: on the disk in SyncGroup
// and SyncAlways, written otherwise. The high watermark and the last stable offset have moved by then.
func (l *Log) WaitDurable(ctx context.Context, offset int64) error {
	for {
		// Under the lock, which is held until all that advance publishes has been published.
		l.stable.Lock()
		moved, high := l.synced, l.high.Load()
		l.stable.Unlock()
		if high > offset {
			return nil
		}
		if err := l.Err(); err != nil {
			return err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("log: %s: wait until offset %d is durable: %w",
				l.options.name(), offset, context.Cause(ctx))
		}
	}
}

// WaitMarkers waits until every marker that is written is durable, or the log has failed. The end of a transaction is
// answered when its markers are written: a reader of committed records that waits here sees all transactions that were
// ended before it asked.
func (l *Log) WaitMarkers(ctx context.Context) {
	marked := l.marked.Load()
	if marked < 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, markersTimeout)
	defer cancel()
	if l.WaitDurable(ctx, marked) == nil { // else it is not read
		l.marked.CompareAndSwap(marked, -1)
	}
}

// markersTimeout is how long a reader waits for a disk that hangs.
const markersTimeout = time.Minute

// active returns the segment that is appended to. l.mu is held.
func (l *Log) active() *segment {
	segments := *l.segments.Load()
	return segments[len(segments)-1]
}

// advance publishes what may be read once everything below durable is on the disk, and wakes those who wait for it.
// A durable of -1 only takes notice of new appends. It is called without l.mu.
func (l *Log) advance(durable int64) {
	l.stable.Lock()
	high := l.high.Load()
	before, stableBefore := high, l.lastStable.Load()
	if durable > l.durable.Load() {
		l.durable.Store(durable)
		close(l.synced)
		l.synced = make(chan struct{})
	}
	if l.options.Syncer.Mode().awaited() && !defect.EarlyHighWatermark {
		high = max(high, l.durable.Load())
	} else {
		high = max(high, l.end.Load())
	}
	l.openTxns = l.openTxns.complete(high)
	stable := max(stableBefore, l.openTxns.stable(high))
	if invariant.Enabled {
		invariant.Check(stable <= high && high <= l.end.Load(), "%s: last stable offset %d, high watermark %d, end %d",
			l.options.name(), stable, high, l.end.Load())
	}
	l.high.Store(high)
	l.lastStable.Store(stable)
	moved := high != before || stable != stableBefore
	if moved {
		// Under the lock: when a reader sees an append, the watches have fired.
		l.watches.fire(l)
	}
	l.stable.Unlock()
	if moved {
		l.notifyOwner()
	}
}

// notify wakes watches, and the owner. No lock is held.
func (l *Log) notify() {
	l.watches.fire(l)
	l.notifyOwner()
}

// notifyOwner wakes the owner. No lock is held.
func (l *Log) notifyOwner() {
	if l.options.OnAdvance != nil {
		l.options.OnAdvance()
	}
}

// fail makes the log refuse everything from now on. No lock is held, unless it is maintain or sync.
func (l *Log) fail(cause error) {
	err := fmt.Errorf("log: %s: failed for good, what is not durable may be lost; fix the disk and restart: %w: %w",
		l.options.name(), cause, kerr.KafkaStorageError)
	l.stable.Lock()
	if l.failure.CompareAndSwap(nil, &err) {
		close(l.synced)
		l.synced = make(chan struct{})
	}
	l.stable.Unlock()
	l.forgetUnsynced()
	l.options.Logger.Error("log failed", "partition", l.options.name(), "dir", l.options.Dir, "err", cause)
	l.notify()
}

// note changes the checkpoint, and syncs it. A change clears the mark of a clean close. It takes l.mu.
func (l *Log) note(change func(cp *checkpoint)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	return l.saveCheckpoint(change, alone)
}

// saveCheckpoint is note under l.mu. fsync is as in checkpoints.write.
func (l *Log) saveCheckpoint(change func(cp *checkpoint), fsync func(own func() error) error) error {
	cp := l.checkpoint
	cp.cleanSegment, cp.cleanSize = -1, 0
	change(&cp)
	l.noteAges(&cp)
	synced := fsync != nil
	if cp == l.checkpoint && !synced {
		return nil
	}
	if !l.syncs() {
		fsync = nil
	}
	if err := l.checkpoints.write(cp, fsync); err != nil {
		return err
	}
	l.checkpoint = cp
	if synced {
		l.startSynced = cp.logStart
	}
	return nil
}

// syncs reports whether anything is ever synced.
func (l *Log) syncs() bool { return l.options.Syncer.Mode() != SyncNever }

// ErrClosed is what a log returns that was closed, or deleted with its topic. KAFKA_STORAGE_ERROR comes with it.
var ErrClosed = errors.New("closed")

// check returns why the log can't be used.
func (l *Log) check(verb string) error {
	if err := l.Err(); err != nil {
		return err
	}
	if l.closed {
		return fmt.Errorf("log: %s: %s: %w: %w", l.options.name(), verb, ErrClosed, kerr.KafkaStorageError)
	}
	return nil
}

// Close makes everything durable and closes the log, so that opening it again needs no look at its batches.
func (l *Log) Close() error { return l.CloseTogether(nil) }

// CloseTogether is Close for a log that is closed with others: see Gathering.
func (l *Log) CloseTogether(together *Together) error {
	l.maintain.Lock()
	defer l.maintain.Unlock()
	failure := l.fsyncTogether(together)
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	if failure == nil {
		// Everything is on the disk: what is missing costs the next open a look at the batches.
		if err := l.closeCleanly(together); err != nil {
			l.options.Logger.Warn("log not closed cleanly", "partition", l.options.name(), "err", err)
		}
	}
	l.mu.Unlock()
	return errors.Join(failure, l.shut())
}

// closeCleanly writes what recovery would have to work out. l.mu is held and everything is synced, unless an append
// came in between; then the next open looks at it.
func (l *Log) closeCleanly(together *Together) error {
	active, end := l.active(), l.end.Load()
	if l.unchanged() || l.syncs() && l.durable.Load() != end {
		return nil
	}
	if err := l.seal(active, together); err != nil {
		return err
	}
	return l.saveCheckpoint(func(cp *checkpoint) {
		cp.synced = end
		cp.cleanSegment, cp.cleanSize = active.base, active.size.Load()
	}, func(own func() error) error {
		return together.fsync(func() error { return errors.Join(syncDir(l.options.FS, l.options.Dir), own()) })
	})
}

// unchanged tells whether the log is as the last clean close left it: every change of anything clears its mark. l.mu is
// held.
func (l *Log) unchanged() bool {
	cp, active := &l.checkpoint, l.active()
	return cp.cleanSegment == active.base && cp.cleanSize == active.size.Load() && cp.synced == l.end.Load() &&
		!active.torn
}

// Release closes the files and writes nothing: the next Open finds the directory as this one left it. It is also how a
// log ends that is deleted.
func (l *Log) Release() error {
	l.maintain.Lock()
	defer l.maintain.Unlock()
	return l.shut()
}

// shut closes all files and wakes everybody.
func (l *Log) shut() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	closed := fmt.Errorf("log: %s: %w: %w", l.options.name(), ErrClosed, kerr.KafkaStorageError)
	l.stable.Lock() // before the files are closed: see settled
	l.failure.CompareAndSwap(nil, &closed)
	close(l.synced)
	l.synced = make(chan struct{})
	l.stable.Unlock()
	l.options.Files.clean(l, l.unsynced)
	l.unsynced = nil
	errs := []error{l.checkpoints.close()}
	for _, s := range *l.segments.Load() {
		errs = append(errs, s.close())
	}
	l.mu.Unlock()
	l.tail.clear()
	l.notify()
	return errors.Join(errs...)
}

// EndOfEpoch answers OffsetForLeaderEpoch: the largest epoch up to the one asked for, and where it ends. There is only
// the log's own; older ones are unknown: -1, -1.
func (l *Log) EndOfEpoch(epoch int32) (found int32, end int64) {
	if epoch < l.options.LeaderEpoch {
		return -1, -1
	}
	return l.options.LeaderEpoch, l.high.Load()
}

// Origin says who appends.
type Origin int8

const (
	// OriginClient is a producer, whose bytes came from anywhere: their checksums are checked.
	OriginClient Origin = iota
	// OriginProcess is a producer that has just computed the checksums in this process, of these bytes.
	OriginProcess
	// OriginCoordinator is the broker itself, on a producer's behalf: its batches may carry a producer id without
	// sequences, and be of any size. Their checksums are as good as OriginProcess's.
	OriginCoordinator
)

// protocolError turns what package batch finds wrong into the protocol's error.
func protocolError(err error) error {
	switch {
	case errors.Is(err, batch.ErrMagic):
		return fmt.Errorf("%w: %w", kerr.UnsupportedForMessageFormat, err)
	case errors.Is(err, batch.ErrTooLarge):
		return fmt.Errorf("%w: %w", kerr.MessageTooLarge, err)
	}
	return fmt.Errorf("%w: %w", kerr.CorruptMessage, err)
}
