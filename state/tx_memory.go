package state

import "math"

// A table asks for more space after this many new entries, or as many as it has.
const (
	grantEntries = 1024
	grantLeast   = 64
)

// spareParts: stores begin to evict when this part of their memory is left, so that what is new fits in until space is
// made again, and chunks of values that are a little dead need not be copied all the time.
const spareParts = 10

// overflowParts: so much more is in use where an early commit can't wait.
const overflowParts = 8

// bytesMax is what the task's stores may use now.
func (tx *Tx) bytesMax() int64 {
	most := int64(math.MaxInt64)
	if tx.config.CacheBytesMax > 0 {
		most = tx.config.CacheBytesMax
	}
	if b := tx.config.Budget; b != nil {
		// A task may use what the others leave, and its equal share in any case.
		left := b.share.BytesMax() - b.share.UsedBytes() + tx.reported
		most = min(most, max(left, b.share.PartBytesMax()))
	}
	return most
}

// over tells that the stores use too much, but for what they can't do without: what was left of it when everything that
// could go was gone, and a little more.
func (tx *Tx) over() bool {
	most := tx.bytesMax()
	return tx.used > most && tx.used > tx.stuck+most/spareParts
}

// use moves the estimate of the memory in use.
func (tx *Tx) use(bytes int64) {
	tx.used += bytes
	if b := tx.config.Budget; b != nil {
		b.use(tx.used - tx.reported)
		tx.reported = tx.used
	}
}

// grow notes memory that a store takes, or gives back; beyond the budget it asks for an early commit.
func (tx *Tx) grow(bytes int64) {
	tx.use(bytes)
	tx.full = tx.full || bytes > 0 && tx.over()
}

// measure replaces the estimate by a sum.
func (tx *Tx) measure() {
	var sum int64
	for _, m := range tx.stores {
		for t := range m.caches {
			sum += t.memoryBytes()
		}
		if p, ok := m.(bufferPool); ok {
			sum += p.spareBytes()
		}
		sum += m.storeBase().scratchBytes()
	}
	tx.use(sum - tx.used)
}

// makeRoom lets a table have some more entries: from the budget, by eviction, or else beyond the budget, which asks for
// an early commit.
func (tx *Tx) makeSpace(s *rowCache) {
	s.count()
	n := s.Len()
	want := max(grantLeast, min(n, grantEntries))
	if n > 0 && !tx.packed { // when it is, everything was dirty: looking again would cost more than it gives
		most := tx.bytesMax()
		size := max(s.memoryBytes()/int64(n), 1)
		if over := tx.used + int64(want)*size - (most - most/spareParts); over > 0 {
			evicted := s.evict(max(want, int(min(over/size, int64(n)))))
			s.storage.reclaim(len(s.images) > 0)
			over := tx.over()
			tx.packed = evicted < want && over
			tx.full = over
		}
	}
	s.limit = s.Len() + want
}

// shrink evicts until the stores are within the budget, as far as clean entries go.
func (tx *Tx) shrink() error {
	tx.full, tx.packed = false, false
	most := tx.bytesMax()
	switch {
	case tx.used <= most:
		tx.stuck = 0
		return nil
	case tx.used <= tx.stuck:
		return nil
	}
	excess := float64(tx.used-(most-most/spareParts)) / float64(tx.used)
	for _, m := range tx.stores {
		if p, ok := m.(bufferPool); ok {
			p.dropSpare()
		}
		m.storeBase().dropScratch()
		for t := range m.caches {
			if err := t.relieve(excess); err != nil {
				return err
			}
		}
	}
	tx.measure()
	tx.stuck = 0
	if tx.used > most {
		tx.stuck = tx.used
	}
	return nil
}

// waitingBytes is about the size of what is committed and not in the engine.
func (tx *Tx) waitingBytes() int64 {
	var sum int64
	for _, m := range tx.stores {
		for t := range m.caches {
			sum += t.waitingBytes()
		}
	}
	return sum
}

// CacheFull asks for an early commit: changes that are not yet committed, or not in the engine, fill the memory.
func (tx *Tx) CacheFull() bool { return tx.full || tx.early }

// crowded notes that rows could not be read ahead. Where changes fill most of the memory, a checkpoint with the next
// commit, which is due now, makes their rows clean: until then each look-up would go to the engine by itself. It tells
// whether that checkpoint comes.
func (tx *Tx) crowded() (early bool) {
	changed := tx.waitingBytes() + int64(tx.DirtyBytes())
	tx.early = tx.early || tx.config.Engine != nil && changed > tx.bytesMax()/2
	return tx.early
}

// Overflows tells that an early commit can't wait until a few more records are processed.
func (tx *Tx) Overflows() bool { return tx.full && tx.overflows() }

//go:noinline // so that Overflows, which is called for each record, is inlined
func (tx *Tx) overflows() bool {
	most := max(tx.bytesMax(), tx.stuck)
	return tx.used > most+most/overflowParts
}

// Relieve gives memory back where the stores of all tasks together hold too much, also those of a task that has
// nothing to commit. It goes between records.
func (tx *Tx) Relieve() error {
	if tx.used <= tx.bytesMax() || tx.used <= tx.stuck {
		return nil
	}
	if err := tx.Checkpoint(); err != nil {
		return err
	}
	tx.measure()
	full := tx.full
	err := tx.shrink()
	tx.full = full && tx.over()
	return err
}
