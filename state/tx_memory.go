package state

import "math"

const grantEntries = 1024

// bytesMax is what the task's stores may use now.
func (tx *Tx) bytesMax() int64 {
	most := int64(math.MaxInt64)
	if tx.config.CacheBytesMax > 0 {
		most = tx.config.CacheBytesMax
	}
	if b := tx.config.Budget; b != nil {
		// A task may use what the others leave, and its equal share in any case.
		left := b.bytesMax - b.used.Load() + tx.reported
		most = min(most, max(left, b.bytesMax/max(1, b.tasks.Load())))
	}
	return most
}

func (tx *Tx) over() bool { return tx.used > tx.bytesMax() }

// use moves the estimate of the memory in use.
func (tx *Tx) use(bytes int64) {
	tx.used += bytes
	if b := tx.config.Budget; b != nil {
		b.used.Add(tx.used - tx.reported)
		tx.reported = tx.used
	}
}

// measure replaces the estimate by a sum.
func (tx *Tx) measure() {
	var sum int64
	for _, m := range tx.members {
		for t := range m.tiers {
			sum += t.memoryBytes()
		}
		if p, ok := m.(thrifty); ok {
			sum += p.spareBytes()
		}
	}
	tx.use(sum - tx.used)
}

// makeRoom lets a tier grow by some entries: from the budget, by eviction, or else beyond the budget, which asks for an
// early commit.
func (tx *Tx) makeRoom(t tier) {
	want := max(64, min(t.entries(), grantEntries))
	size := int64(128)
	if n := t.entries(); n > 0 {
		size = max(size, t.memoryBytes()/int64(n))
	}
	if tx.used+int64(want)*size <= tx.bytesMax() {
		tx.use(int64(want) * size)
		t.grant(want)
		return
	}
	if !tx.full { // when it is, everything was dirty: looking again would cost more than it gives
		if evicted := t.evict(want); evicted > 0 {
			t.grant(evicted)
			return
		}
	}
	tx.full = true
	tx.use(int64(want) * size)
	t.grant(want)
}

// shrink evicts until the stores are within the budget, as far as clean entries go.
func (tx *Tx) shrink() {
	tx.full = false
	if !tx.over() {
		return
	}
	excess := float64(tx.used-tx.bytesMax()*9/10) / float64(tx.used)
	for _, m := range tx.members {
		if p, ok := m.(thrifty); ok {
			p.dropSpare()
		}
		for t := range m.tiers {
			t.evict(int(float64(t.entries())*excess) + 1)
		}
	}
	tx.measure()
}

// waitingBytes is about the size of what is committed and not in the engine.
func (tx *Tx) waitingBytes() int64 {
	var sum int64
	for _, m := range tx.members {
		for t := range m.tiers {
			sum += t.waitingBytes()
		}
	}
	return sum
}

// CacheFull asks for an early commit: changes that are not yet committed fill the memory.
func (tx *Tx) CacheFull() bool { return tx.full }

// grow notes memory that a store takes without asking; beyond the budget it asks for an early commit.
func (tx *Tx) grow(bytes int64) {
	tx.used += bytes
	tx.full = tx.full || tx.over()
}
