package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"thalweg/state/engine"
	"thalweg/state/internal/layout"
)

// ErrExpired is returned for a time that has expired in the store: see Expire.
var ErrExpired = errors.New("state: expired")

// segment is the rows of one interval of time. Its number is the interval's, counted from the epoch.
type segment struct {
	number int64
	saved  bool // the engine has rows of it
	saving bool

	asTable *tableSegment // its rows, in a window or session store
	asLog   *logSegment   // or in a join buffer
}

// segmentedStore holds rows by time, in segments of equal length. Expiry drops whole segments, so no row is deleted by
// its key. Expiry is part of the transaction: a discard brings back the segments that were dropped since the last
// commit.
type segmentedStore struct {
	base     *storeBase
	interval int64 // milliseconds of a segment
	make     func(number int64) *segment
	release  func(*segment) // frees a segment that no discard can bring back

	live           []*segment // by number
	last           *segment
	expired        []*segment // dropped, until the commit
	expiredDrained int        // so many of expired were dropped before the last drain
	pendingDeletes []int64    // numbers of segments that the engine still has

	floor          int64 // times below have expired: see horizon
	drainedFloor   int64
	committedFloor int64
	intervalSaved  bool

	keep        int64    // milliseconds to keep behind the newest time; 0: the caller of expire decides
	newest      [3]int64 // the newest time that was written: now, as of the last drain, and of the last commit
	savedNewest int64    // what the engine has
	due         bool     // the newest time moved since the store last expired
}

const (
	segmentMin     = time.Second
	segmentMax     = time.Hour
	segmentDefault = time.Minute

	newestSegments = 4

	// spareBytesMax is how much memory of released segments a store keeps for new ones, to allocate less. A store that
	// catches up makes and releases many segments between two commits.
	spareBytesMax = 16 << 20
)

// segmentInterval is the length in milliseconds of the segments of a store with that retention.
func segmentInterval(retention time.Duration) int64 {
	if retention <= 0 {
		return segmentDefault.Milliseconds()
	}
	return min(max(retention/3, segmentMin), segmentMax).Milliseconds()
}

// newSegmentedStore returns a store that expires by itself: see keepUntilExpired.
func newSegmentedStore(
	r *storeBase, retention time.Duration, make func(int64) *segment, release func(*segment),
) segmentedStore {
	return segmentedStore{
		base: r, interval: segmentInterval(retention), make: make, release: release,
		keep: max(retention.Milliseconds(), 0), newest: noTimes, savedNewest: -1,
	}
}

// keepUntilExpired turns automatic expiry off: only expire drops segments.
func (c *segmentedStore) keepUntilExpired() { c.keep, c.due = 0, false }

// horizon drops what is due, and returns the time below which everything has expired.
func (c *segmentedStore) horizon() int64 {
	if c.due {
		c.expireDue()
	}
	return c.floor
}

//go:noinline // so that horizon is inlined
func (c *segmentedStore) expireDue() {
	c.due = false
	if c.keep > 0 {
		c.expire(c.newest[timeNow] - c.keep + 1)
	}
}

// at returns the segment to write a time to. It makes the segment when there is none.
func (c *segmentedStore) at(when int64) (*segment, error) {
	if when < c.horizon() {
		return nil, ErrExpired
	}
	if when > c.newest[timeNow] {
		c.newest[timeNow], c.due = when, c.keep > 0
	}
	return c.segmentOf(when)
}

// restoring is at for a restore, whose rows are committed. It drops nothing, because keepUntilExpired may follow.
func (c *segmentedStore) restoring(when int64) (*segment, error) {
	if when < c.floor {
		return nil, ErrExpired
	}
	if when > c.newest[timeNow] {
		c.newest, c.due = [3]int64{when, when, when}, c.keep > 0
	}
	return c.segmentOf(when)
}

func (c *segmentedStore) segmentOf(when int64) (*segment, error) {
	number := when / c.interval
	if c.last != nil && c.last.number == number {
		return c.last, nil
	}
	if when < 0 {
		return nil, fmt.Errorf("store %q: negative time %d", c.base.name, when)
	}
	at, found := c.position(number)
	if !found {
		c.live = slices.Insert(c.live, at, c.make(number))
	}
	c.last = c.live[at]
	return c.last, nil
}

// existing returns the segment of a time, nil when there is none.
func (c *segmentedStore) existing(when int64) *segment {
	number := when / c.interval
	if when < c.horizon() || when < 0 {
		return nil
	}
	if c.last != nil && c.last.number == number {
		return c.last
	}
	at, found := c.position(number)
	if !found {
		return nil
	}
	c.last = c.live[at]
	return c.last
}

// position returns the index of a segment in live, or where it would be inserted.
func (c *segmentedStore) position(number int64) (int, bool) {
	older := max(len(c.live)-newestSegments, 0)
	for i := len(c.live) - 1; i >= older; i-- { // most times are near the newest
		if n := c.live[i].number; n == number {
			return i, true
		} else if n < number {
			return i + 1, false
		}
	}
	return slices.BinarySearchFunc(c.live[:older], number, func(s *segment, n int64) int { return sign(s.number - n) })
}

func sign(n int64) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	default:
		return 0
	}
}

// rows returns the prefix of a segment's rows in the engine.
func (c *segmentedStore) rows(number int64) []byte { return c.appendRows(nil, number) }

func (c *segmentedStore) appendRows(dst []byte, number int64) []byte {
	dst = append(append(dst, c.base.prefix...), layout.KindExpiring)
	return binary.BigEndian.AppendUint64(dst, uint64(number))
}

// window returns the segments that may have times in [from, to], in order: a view.
func (c *segmentedStore) window(from, to int64) []*segment {
	from = max(from, c.horizon(), 0)
	if to < from {
		return nil
	}
	low, _ := c.position(from / c.interval)
	high, found := c.position(to / c.interval)
	if found {
		high++
	}
	return c.live[low:high]
}

// between yields the segments that may have times in [from, to], in order.
func (c *segmentedStore) between(from, to int64, reverse bool, yield func(*segment) bool) {
	some := slices.Clone(c.window(from, to)) // what is yielded to may write
	if reverse {
		slices.Reverse(some)
	}
	for _, s := range some {
		if !yield(s) {
			return
		}
	}
}

// expire expires all times below before.
func (c *segmentedStore) expire(before int64) {
	if before <= c.floor {
		return
	}
	c.floor = before
	n := 0
	for n < len(c.live) && (c.live[n].number+1)*c.interval <= before {
		n++
	}
	if n > 0 {
		c.expired = append(c.expired, c.live[:n]...)
		c.live = slices.Delete(c.live, 0, n)
		c.last = nil
	}
}

// giveUp expires old segments of a standby copy. An operator that must report rows before they expire calls
// keepUntilExpired when it opens the store, but no operator opens a copy. So the copy keeps twice the retention.
func (c *segmentedStore) giveUp() {
	if c.keep == 0 || c.newest[timeCommitted] < 0 {
		return
	}
	c.expire(c.newest[timeCommitted] - 2*c.keep - c.interval)
	c.expiredDrained, c.drainedFloor = len(c.expired), c.floor
	c.endCommit()
}

func (c *segmentedStore) endDrain() {
	c.drainedFloor = c.horizon()
	c.expiredDrained, c.newest[timeDrained] = len(c.expired), c.newest[timeNow]
}

func (c *segmentedStore) endCommit() {
	c.committedFloor, c.newest[timeCommitted] = c.drainedFloor, c.newest[timeDrained]
	for _, s := range c.expired[:c.expiredDrained] {
		if s.saved {
			c.pendingDeletes = append(c.pendingDeletes, s.number)
		}
		c.release(s)
	}
	c.expired = slices.Delete(c.expired, 0, c.expiredDrained)
	c.expiredDrained = 0
}

func (c *segmentedStore) rollback() {
	c.live = append(slices.Clone(c.expired), c.live...)
	c.expired, c.expiredDrained = nil, 0
	c.floor, c.drainedFloor, c.last = c.committedFloor, c.committedFloor, nil
	c.newest[timeNow], c.newest[timeDrained] = c.newest[timeCommitted], c.newest[timeCommitted]
	c.due = c.keep > 0
}

// expiry returns what has expired as of the last commit, and the newest time. A processor may give a row any timestamp,
// so the limit for timestamps of changelog records (Stamped) has slack. An operator's timestamp lies in its window, or
// is its end.
func (c *segmentedStore) expiry() Expiry {
	x := Expiry{Before: c.committedFloor, Stamped: c.committedFloor, Newest: c.newest[timeNow]}
	if c.keep > 0 {
		x.Stamped = max(c.committedFloor-changelogSlack.Milliseconds(), 0)
	}
	if n := len(c.live); n > 0 { // after a restart only the last segment is known
		x.Newest = max(x.Newest, (c.live[n-1].number+1)*c.interval-1)
	}
	return x
}

func (c *segmentedStore) hasDeletes() bool { return len(c.pendingDeletes) > 0 || c.moved() }

// moved reports whether the engine lacks the newest time.
func (c *segmentedStore) moved() bool { return c.keep > 0 && c.newest[timeCommitted] != c.savedNewest }

// writeRangeDeletes writes the range deletes of expired segments. waits reports whether a segment will write rows.
func (c *segmentedStore) writeRangeDeletes(b engine.Batch, waits func(*segment) bool) error {
	for _, number := range c.pendingDeletes {
		if err := b.DeleteRange(c.rows(number), c.rows(number+1)); err != nil {
			return err
		}
	}
	for _, s := range c.live {
		s.saving = waits(s)
	}
	for _, s := range c.expired {
		s.saving = waits(s)
	}
	return c.writeTail(b)
}

// writeTail writes the length of the segments, and the newest time if the store expires by itself.
func (c *segmentedStore) writeTail(rows engine.Rows) error {
	if c.intervalSaved && !c.moved() {
		return nil
	}
	newest := int64(-1)
	if c.keep > 0 {
		newest = c.newest[timeCommitted]
	}
	return rows.Set(c.base.segmentsRow(), layout.AppendSegments(nil, c.interval, newest))
}

func (c *segmentedStore) deletesWritten() {
	c.pendingDeletes = nil
	c.tailWritten()
	for _, some := range [][]*segment{c.live, c.expired} {
		for _, s := range some {
			s.saved = s.saved || s.saving
			s.saving = false
		}
	}
}

// tailWritten is called after the tail was written.
func (c *segmentedStore) tailWritten() {
	c.intervalSaved, c.savedNewest = true, c.newest[timeCommitted]
}

func (c *segmentedStore) wiped() {
	for _, some := range [][]*segment{c.live, c.expired} {
		for _, s := range some {
			c.release(s)
		}
	}
	c.live, c.expired, c.pendingDeletes, c.last, c.expiredDrained = nil, nil, nil, nil, 0
	c.floor, c.drainedFloor, c.committedFloor, c.intervalSaved = 0, 0, 0, false
	c.newest, c.savedNewest, c.due = noTimes, -1, false
}

// load finds the segments that the engine has.
func (c *segmentedStore) load(e engine.Engine) error {
	value, found, err := e.Get(nil, c.base.segmentsRow())
	if err != nil {
		return err
	}
	if found {
		if c.interval, c.savedNewest, err = layout.Segments(value); err != nil {
			return err
		}
		c.intervalSaved = true
	}
	rows := append(slices.Clone(c.base.prefix), layout.KindExpiring)
	it, err := e.Iterate(rows, layout.After(rows))
	if err != nil {
		return err
	}
	for ok := it.First(); ok; {
		key := it.Key()[len(rows):]
		if len(key) < 8 {
			break
		}
		s := c.make(int64(binary.BigEndian.Uint64(key)))
		s.saved = true
		c.live = append(c.live, s)
		ok = it.SeekGE(c.rows(s.number + 1))
	}
	at := c.savedNewest
	if n := len(c.live); n > 0 { // an earlier build saved no newest time: it is at least this
		at = max(at, c.live[n-1].number*c.interval)
	}
	c.newest, c.due = [3]int64{at, at, at}, c.keep > 0 && at >= 0
	return errors.Join(it.Error(), it.Close())
}
