package log

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"slices"

	"thalweg/internal/batch"
)

// maxCompactionKeys limits how many keys one round of compaction keeps in memory, as its part of the memory limit does,
// where each counts compactionKeyBytes: what it takes in a map that is half full. What did not fit is dirty for the
// next round.
const (
	maxCompactionKeys  = 4 << 20
	compactionKeyBytes = 48
)

// keyHash stands for a key: 128 bits, so that two keys of one log never meet in practice.
type keyHash [2]uint64

// compaction is one round over a log: the newest offset of each key that was written since the last round, then a
// copy of all sealed segments without the records that a newer one replaces.
//
// A tombstone, and the marker of a transaction, stay for the delete retention after they were first met, so that a
// reader on its way through the log sees them; the batch is stamped with that moment. Records of aborted transactions
// go at once. A marker stays as long as a batch of its transaction does, and its entry in the index of aborted
// transactions as long as the marker. The batch with a producer's last sequence stays, emptied, so that the log alone
// can tell it; and where a producer has written nothing in its epoch yet, the marker that began it. The last batch of
// a round stays, emptied, too: a reader that has everything before comes to its end. Offsets never change.
type compaction struct {
	log     *Log
	now     int64 // milliseconds
	horizon int64 // for what is met for the first time
	seeds   [2]maphash.Seed
	newest  map[keyHash]int64 // of the dirty part
	keysMax int
	upTo    int64 // everything below is clean after this round
	aborted map[int64][]abortedTxn
	last    map[int64]int64 // producer id to the last offset of its newest batch
	begun   map[int64]bool  // producers with a batch kept since their last marker
	epochs  map[int64]int16 // of producers that have written nothing in it
	stop    <-chan struct{}
	spent   int64 // bytes that the Pacer does not know of yet
	rewrite batch.Rewriter
	decoder batch.Decoder
}

// Compact does a round of compaction when the log's configuration asks for it and enough of the log is dirty. It takes
// its time, within the Pacer's budget. It gives up when stop is closed, or somebody deletes records or closes the log;
// the next one does what is left. The owner calls it now and then.
func (l *Log) Compact(stop <-chan struct{}) error {
	config := l.config.Load()
	if !config.Compact || !l.maintain.TryLock() {
		return nil
	}
	defer l.maintain.Unlock()
	if err := l.compact(config, l.age(), stop); err != nil && !errors.Is(err, errInterrupted) {
		return fmt.Errorf("log: %s: compact: %w", l.options.name(), err)
	}
	return nil
}

// compact does a round when enough of the log is dirty. l.maintain is held.
func (l *Log) compact(config *Config, now int64, stop <-chan struct{}) error {
	l.mu.Lock()
	err := l.check("compact")
	cleaned := l.checkpoint.cleaned
	l.mu.Unlock()
	if err != nil {
		return err
	}
	segments := l.cleanable(config, now)
	dirty, total, overdue := int64(0), int64(0), false
	for _, s := range segments {
		total += s.size.Load()
		if s.next.Load() > cleaned {
			dirty += s.size.Load()
			age := now - s.ages.created.Load()
			overdue = overdue || config.MaxCompactionLag > 0 && age > config.MaxCompactionLag.Milliseconds()
		}
	}
	if dirty == 0 || !overdue && float64(dirty) < config.MinCleanable*float64(total) {
		return nil
	}
	c := &compaction{
		log:     l,
		now:     now,
		horizon: now + config.DeleteRetention.Milliseconds(),
		seeds:   [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		newest:  make(map[keyHash]int64),
		last:    make(map[int64]int64),
		begun:   make(map[int64]bool),
		epochs:  make(map[int64]int16),
		stop:    stop,
	}
	share := l.options.Memory.compaction
	c.keysMax = int(min(share.PartBytesMax()/compactionKeyBytes, maxCompactionKeys))
	held := int64(0)
	defer func() { share.Use(-held) }()
	c.learn(segments)
	if err := c.collect(segments, cleaned); err != nil {
		return err
	}
	held = int64(len(c.newest)) * compactionKeyBytes
	share.Use(held)
	// Before any file changes: from here on gaps are no damage.
	err = l.note(func(cp *checkpoint) { cp.sparse = max(cp.sparse, c.upTo) })
	for err == nil && len(segments) > 0 && segments[0].base < c.upTo {
		n := groupOf(segments, config.SegmentBytes)
		err = c.copyGroup(segments[:n])
		segments = segments[n:]
	}
	if err == nil {
		err = l.note(func(cp *checkpoint) { cp.cleaned = c.upTo })
	}
	return err
}

// cleanable returns the sealed segments that lie below every undecided transaction, are on the disk, and are old
// enough.
func (l *Log) cleanable(config *Config, now int64) []*segment {
	segments := *l.segments.Load()
	segments = segments[:len(segments)-1]
	bound := min(l.lastStable.Load(), l.durable.Load())
	for i, s := range segments {
		young := config.MinCompactionLag > 0 && s.ages.appended.Load() > now-config.MinCompactionLag.Milliseconds()
		if s.next.Load() > bound || young {
			return segments[:i]
		}
	}
	return segments
}

// groupOf returns how many segments, one at least, go into one new file.
func groupOf(segments []*segment, maxBytes int64) int {
	n, size := 1, segments[0].size.Load()
	for n < len(segments) {
		size += segments[n].size.Load()
		if size > maxBytes || segments[n].next.Load()-segments[0].base > math.MaxInt32 {
			break
		}
		n++
	}
	return n
}

// learn takes what the log knows about transactions and producers.
func (c *compaction) learn(segments []*segment) {
	l := c.log
	c.upTo = segments[len(segments)-1].next.Load()
	c.aborted = make(map[int64][]abortedTxn)
	for _, s := range *l.segments.Load() {
		s.txnMu.RLock()
		for _, a := range s.aborted {
			c.aborted[a.producerID] = append(c.aborted[a.producerID], a)
		}
		s.txnMu.RUnlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, p := range l.producers {
		if p.kept > 0 {
			c.last[id] = p.recent[p.kept-1].lastOffset
		} else {
			c.epochs[id] = p.epoch
		}
	}
}

func (c *compaction) hash(key []byte) keyHash {
	return keyHash{maphash.Bytes(c.seeds[0], key), maphash.Bytes(c.seeds[1], key)}
}

// isAborted tells whether the batch belongs to an aborted transaction.
func (c *compaction) isAborted(b batch.Batch) bool {
	if !b.IsTransactional() {
		return false
	}
	return slices.ContainsFunc(c.aborted[b.ProducerID()], func(a abortedTxn) bool {
		return a.first <= b.BaseOffset() && b.BaseOffset() < a.last
	})
}

// collect fills newest with the keys from the offset dirty on.
func (c *compaction) collect(segments []*segment, dirty int64) error {
	for _, s := range segments {
		if s.next.Load() <= dirty || s.base >= c.upTo {
			continue
		}
		err := c.each(s, func(b batch.Batch) error {
			if b.LastOffset() < dirty || b.BaseOffset() >= c.upTo || b.IsControl() || c.isAborted(b) {
				return nil
			}
			if len(c.newest) >= c.keysMax {
				c.upTo = b.BaseOffset()
				return nil
			}
			it, err := b.Records(&c.decoder)
			if err != nil {
				return err
			}
			var r batch.Record
			for it.Next(&r) {
				if r.Key != nil {
					c.newest[c.hash(r.Key)] = r.Offset
				}
			}
			return it.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// each walks the batches of a segment.
func (c *compaction) each(s *segment, do func(b batch.Batch) error) error {
	if !s.acquire() {
		return errSegmentGone
	}
	defer s.release()
	scan := s.scan(0, s.size.Load())
	for {
		b, position, err := scan.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = do(b)
		}
		if torn(err) {
			return s.damage(s.base, position, err)
		}
		if err == nil {
			err = c.spend(b.Size())
		}
		if err != nil {
			return err
		}
	}
}

// clean returns what is to be left of a batch, nil when nothing is. changed tells whether that is not the batch itself.
func (c *compaction) clean(b batch.Batch) (raw []byte, changed bool, err error) {
	if b.BaseOffset() >= c.upTo {
		return b.Bytes(), false, nil
	}
	horizon, stamped := b.DeleteHorizon()
	if b.IsControl() {
		raw, changed, err = c.cleanMarker(b, horizon, stamped)
		if raw != nil {
			delete(c.begun, b.ProducerID())
		}
		return raw, changed, err
	}
	void := c.isAborted(b)
	tombstones := false
	keep := func(r *batch.Record) bool {
		if void || r.Key == nil {
			return false
		}
		if newest, ok := c.newest[c.hash(r.Key)]; ok && newest > r.Offset {
			return false
		}
		if r.Value != nil {
			return true
		}
		tombstones = true
		return !stamped || c.now < horizon
	}
	raw, kept, err := c.rewrite.Rewrite(b, -1, keep)
	if err == nil && tombstones && !stamped {
		raw, kept, err = c.rewrite.Rewrite(b, c.horizon, keep)
	}
	if err != nil {
		return nil, false, err
	}
	if kept == 0 && !c.isLast(b) {
		return nil, true, nil
	}
	if b.IsTransactional() {
		c.begun[b.ProducerID()] = true
	}
	if kept == b.Count() && !(tombstones && !stamped) {
		return b.Bytes(), false, nil
	}
	return raw, true, nil
}

// isLast tells whether a batch stays without any record: as the last of its producer, or of the round.
func (c *compaction) isLast(b batch.Batch) bool {
	if b.LastOffset()+1 == c.upTo {
		return true
	}
	if b.IsControl() {
		epoch, ok := c.epochs[b.ProducerID()]
		return ok && epoch == b.ProducerEpoch()
	}
	last, ok := c.last[b.ProducerID()]
	return ok && last == b.LastOffset()
}

// cleanMarker is clean for the marker of a transaction.
func (c *compaction) cleanMarker(b batch.Batch, horizon int64, stamped bool) ([]byte, bool, error) {
	switch {
	case c.begun[b.ProducerID()] || stamped && (c.now < horizon || c.isLast(b)):
		return b.Bytes(), false, nil
	case stamped:
		return nil, true, nil
	}
	raw, _, err := c.rewrite.Rewrite(b, c.horizon, func(*batch.Record) bool { return true })
	return raw, true, err
}

// copyGroup puts the cleaned batches of several segments into one new one, in their place.
func (c *compaction) copyGroup(group []*segment) error {
	w, err := newCopy(c.log, group)
	if err != nil {
		return err
	}
	changed := len(group) > 1
	for _, s := range group {
		err = c.each(s, func(b batch.Batch) error {
			raw, differs, err := c.clean(b)
			changed = changed || differs
			if err != nil {
				return err
			}
			if raw == nil {
				w.gone(b)
				return nil
			}
			if err := c.spend(len(raw)); err != nil {
				return err
			}
			return w.append(raw)
		})
		if err != nil {
			break
		}
	}
	if err != nil || !changed {
		return errors.Join(err, w.discard())
	}
	return w.replace()
}
