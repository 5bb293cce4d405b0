package state

import (
	"errors"
	"math"
	"slices"

	"thalweg/state/internal/table"
)

// rowsAhead is what was read for one Prefetcher, or found in memory. Its entries are pinned: an eviction leaves them
// where they are until they are used.
type rowsAhead struct {
	pins    []pin
	keys    int   // that were looked at
	missing int   // of the keys were not in memory
	fetched int   // of the pins come from the engine
	bytes   int64 // about what the pins hold
	crowded bool  // there was no space
	waits   bool  // for the checkpoint that makes memory free
	pause   int   // so many calls of wanted answer 0
	penalty int   // the length of the pause before
	known   bool  // to the Tx

	idle   bool // the last pass found nearly everything in memory
	calls  int  // of wanted, since then or since misses were counted from 0
	missed int  // storeBase.missed at that time
}

type pin struct {
	cache   *rowCache
	index   uint32
	fetched bool
}

const (
	aheadLeast  = 16   // fewer keys are not worth a pass
	pauseLeast  = 64   // calls of wanted
	pauseMost   = 4096 // calls of wanted
	idlePart    = 64   // a pass is idle that misses less than that part of its keys
	idleMisses  = 4    // misses, and one more for each call of wanted, end being idle
	idleCalls   = 64   // calls of wanted after which misses are counted from 0 again
	aheadShare  = 4    // pins hold a quarter of the cache at the most, all together
	rowBytesMin = 128  // of an entry with its value, where there are few
	// evictParts: at least this part of a table goes at a time. Of less the memory does not come back, since chunks of
	// values are not copied before a tenth of them is dead.
	evictParts = 8
)

// wanted ends the pass before, and is how many keys read takes. While nearly all look-ups find their rows in memory it
// is 0, and the engine's reads tell when that ends: so a store whose rows fit in pays for no pass.
func (a *rowsAhead) wanted(s *rowCache) int {
	a.release(s.base.tx, true)
	if a.calls == 0 || a.calls == idleCalls {
		a.calls, a.missed = 0, s.base.missed
	}
	a.calls++
	a.waits = a.waits && s.base.tx.early
	switch {
	case a.waits:
		return 0
	case a.pause > 0:
		a.pause--
		return 0
	case a.idle && s.base.missed-a.missed < idleMisses+a.calls:
		return 0
	}
	return a.most(s)
}

// release lets the pinned entries go. Where most of what was fetched was not used (a filter left the records out),
// there is a pause before the next time, and a longer one after that.
func (a *rowsAhead) release(tx *Tx, judge bool) {
	unused := 0
	for _, p := range a.pins {
		if !p.cache.Holds(p.index) {
			continue // it has been emptied
		}
		e := p.cache.At(p.index)
		if p.fetched && e.InUse() && e.Has(table.Pinned) {
			unused++
		}
		e.Clear(table.Pinned)
	}
	if a.known {
		a.known = false
		tx.aheads = slices.DeleteFunc(tx.aheads, func(o *rowsAhead) bool { return o == a })
	}
	if judge && a.keys >= aheadLeast {
		a.idle, a.calls = idlePart*a.missing < a.keys, 0
	}
	switch {
	case !judge || a.keys < aheadLeast:
	case a.crowded && a.waits: // wanted ends that
	case a.crowded:
		a.pause = pauseLeast / 4
	case 2*unused > a.fetched:
		a.penalty = min(max(2*a.penalty, pauseLeast), pauseMost)
		a.pause = a.penalty
	default:
		a.penalty = 0
	}
	tx.pinned -= a.bytes
	a.pins, a.keys, a.missing, a.fetched, a.bytes, a.crowded = a.pins[:0], 0, 0, 0, 0, false
}

// pass is what one call of read needs.
type pass struct {
	missing []missing
	indexes []uint32
	bytes   []byte // of the keys in the engine
	keys    [][]byte
}

type missing struct {
	hash   uint64
	key    []byte
	number int // among the keys
}

// read fetches the rows of keys that are not in memory, as far as there is room for them. It returns up to which key.
func (a *rowsAhead) read(s *rowCache, keys [][]byte) (done int) {
	tx := s.base.tx
	most := a.most(s) - len(a.pins)
	if most <= 0 {
		return 0
	}
	var x pass
	done = min(len(keys), most)
	a.pinPresent(s, keys[:done], &x)
	rowBytes := s.rowBytes()
	if len(x.missing) > 0 {
		done = min(done, a.readMissing(s, &x, rowBytes))
	}
	a.hold(tx, rowBytes)
	return done
}

// hold adds the pins to those of the Tx.
func (a *rowsAhead) hold(tx *Tx, rowBytes int64) {
	bytes := int64(len(a.pins))*rowBytes - a.bytes
	a.bytes += bytes
	tx.pinned += bytes
	if !a.known {
		a.known = true
		tx.aheads = append(tx.aheads, a)
	}
}

// readMissing fetches the rows that are not in memory.
func (a *rowsAhead) readMissing(s *rowCache, x *pass, rowBytes int64) (done int) {
	done = math.MaxInt
	a.missing += len(x.missing)
	if n := a.reserve(s, len(x.missing), rowBytes); n < len(x.missing) {
		done, x.missing = x.missing[n].number, x.missing[:n]
	}
	x.place(s)
	for _, index := range x.indexes[:x.fetch(s)] {
		s.At(index).Mark(table.Pinned)
		a.pins = append(a.pins, pin{s, index, true})
		s.unlisted(index)
	}
	a.fetched += len(x.indexes)
	return done
}

// pinPresent pins what is in memory, and lists what is not.
func (a *rowsAhead) pinPresent(s *rowCache, keys [][]byte, x *pass) {
	var hashes [table.PrefetchMax]uint64
	var near [table.PrefetchMax]*table.Entry
	for from := 0; from < len(keys); from += table.PrefetchMax {
		keys := keys[from:]
		n := min(len(keys), table.PrefetchMax)
		for i, key := range keys[:n] {
			hashes[i] = s.Hash(key)
		}
		_, sum := s.Prefetch(hashes[:n], &near)
		s.near += sum
		for i, key := range keys[:n] {
			if index, ok := s.Find(hashes[i], key); !ok {
				if len(key) <= table.KeyBytesMax {
					x.missing = append(x.missing, missing{hashes[i], key, from + i})
				}
			} else if e := s.At(index); !e.Has(table.Pinned) {
				e.Mark(table.Pinned)
				a.pins = append(a.pins, pin{s, index, false})
			}
		}
		a.keys += n
	}
}

// place makes entries for what is missing, sorted by their keys.
func (x *pass) place(s *rowCache) {
	x.indexes = make([]uint32, 0, len(x.missing))
	for _, m := range x.missing {
		if _, twice := s.Find(m.hash, m.key); !twice {
			x.indexes = append(x.indexes, s.Insert(m.hash, m.key))
		}
	}
	table.Sort(&s.base.sorter, s.Table, x.indexes)
	x.keys = make([][]byte, 0, len(x.indexes))
	for _, index := range x.indexes {
		x.bytes = append(append(x.bytes, s.prefix...), s.Key(s.At(index))...)
	}
	rest := x.bytes
	for _, index := range x.indexes {
		n := len(s.prefix) + len(s.Key(s.At(index)))
		x.keys = append(x.keys, rest[:n:n])
		rest = rest[n:]
	}
}

var errEnough = errors.New("state: no more fits in")

// fetch loads the entries' rows until one does not fit in, and deletes the entries from there on. It returns how many
// are left. An error of the engine, or of the serde, is met again by the look-up.
func (x *pass) fetch(s *rowCache) int {
	tx, done := s.base.tx, 0
	err := tx.config.Engine.GetSorted(x.keys, func(i int, row []byte) error {
		done = i // those before are absent
		if tx.used > tx.bytesMax() {
			return errEnough
		}
		if err := s.loadRow(x.indexes[i], row); err != nil {
			return err
		}
		done = i + 1
		return nil
	})
	if err == nil {
		return len(x.indexes)
	}
	for _, index := range x.indexes[done:] {
		s.storage.release(s.Payload(s.At(index)))
		s.Delete(index)
	}
	x.indexes = x.indexes[:done]
	return done
}

// rowBytes is about what an entry takes with its value.
func (s *rowCache) rowBytes() int64 {
	n, bytes := int64(s.Len()), s.LiveBytes()
	if n < aheadLeast {
		return rowBytesMin
	}
	if v, ok := s.storage.(*boxedValues); ok {
		bytes += v.live + int64(len(v.owners))*64
	}
	return bytes / n
}

// most is how many rows of a table may be pinned, once those that are pinned now are released.
func (a *rowsAhead) most(s *rowCache) int {
	tx := s.base.tx
	rows := (tx.bytesMax()/aheadShare - tx.pinned + a.bytes) / s.rowBytes()
	if rows < aheadLeast {
		return 0
	}
	return int(min(rows, AheadRecordsMax))
}

// reserve is Tx.spaceAhead. Where that gives next to nothing, it says so to wanted and to the Tx.
func (a *rowsAhead) reserve(s *rowCache, want int, rowBytes int64) (entries int) {
	tx := s.base.tx
	entries = tx.spaceAhead(s, want, rowBytes)
	if entries < min(aheadLeast, want) {
		a.crowded, a.waits = true, tx.crowded()
	}
	return entries
}

// spaceAhead makes space for entries of rows that are not needed yet: from the budget, or else by eviction, but never
// beyond the budget. It returns for how many entries there is space.
func (tx *Tx) spaceAhead(s *rowCache, want int, rowBytes int64) int {
	s.count()
	space := tx.spaceFor(s, rowBytes)
	if space < want && !tx.packed && s.evict(max(want-space, s.Len()/evictParts)) > 0 {
		s.storage.reclaim(len(s.images) > 0)
		space = tx.spaceFor(s, rowBytes)
	}
	space = min(want, space)
	s.limit += space
	return space
}

// spaceFor is how many rows fit into the budget. They first use the entries that the table has to spare.
func (tx *Tx) spaceFor(s *rowCache, rowBytes int64) int {
	most := tx.bytesMax()
	free := max(most-most/(2*spareParts)-tx.used, 0)
	spare := int64(s.Spare())
	value := max(rowBytes-s.EntryBytes(), 0) // small values lie in the entries
	if value > 0 && spare*value >= free {
		return int(free / value)
	}
	return int(spare + (free-spare*value)/rowBytes)
}

// pinsOf are the pins of a table, by entry. Those that were used are dropped: their entries may go.
func (tx *Tx) pinsOf(s *rowCache) map[uint32][]*pin {
	pins := map[uint32][]*pin{}
	for _, a := range tx.aheads {
		a.pins = slices.DeleteFunc(a.pins, func(p pin) bool {
			if p.cache != s {
				return false
			}
			return !s.Holds(p.index) || !s.At(p.index).InUse() || !s.At(p.index).Has(table.Pinned)
		})
		for i := range a.pins {
			if p := &a.pins[i]; p.cache == s {
				pins[p.index] = append(pins[p.index], p) // one was used, and its entry pinned again
			}
		}
	}
	return pins
}
