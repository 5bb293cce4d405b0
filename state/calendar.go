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

// ErrExpired is returned for a time that the store has given up: see Expire.
var ErrExpired = errors.New("state: expired")

// stretch is one segment of a calendar: so many milliseconds, counted from the epoch.
type stretch struct {
	number int64
	saved  bool // the engine has rows of it
	saving bool

	segment *segment       // what is of this time, in a window or session store
	buffer  *bufferSegment // or in a join buffer
}

// calendar holds what belongs to times, in segments of equal length. Expiry drops whole segments: nothing is deleted
// key by key. It is part of the transaction: what was dropped since the last commit comes back with a discard.
type calendar struct {
	base     *storeBase
	interval int64 // milliseconds of a segment
	make     func(number int64) *stretch
	bury     func(*stretch) // a segment is gone for good

	live           []*stretch // by number
	last           *stretch
	expired        []*stretch // dropped, until the commit
	sealed         int        // so many were dropped before the drain
	pendingDeletes []int64    // numbers of segments that the engine still has

	floor          int64 // times below are given up: see horizon
	sealedFloor    int64
	committedFloor int64
	intervalSaved  bool

	keep        int64    // milliseconds that are kept behind the newest time; 0: the caller of expire decides
	newest      [3]int64 // the newest time that was written: now, as of the last drain, and of the last commit
	savedNewest int64    // what the engine has
	due         bool     // the newest time moved since the store last expired
}

const (
	segmentMin     = time.Second
	segmentMax     = time.Hour
	segmentDefault = time.Minute

	newestSegments = 4

	// spareBytesMax is how much memory of segments that are gone a store keeps for the next ones, so that it need not
	// be asked of the operating system. Catching up, many segments come and go between two commits.
	spareBytesMax = 16 << 20
)

// segmentInterval is the length of the segments of a store with that retention.
func segmentInterval(retention time.Duration) int64 {
	if retention <= 0 {
		return segmentDefault.Milliseconds()
	}
	return min(max(retention/3, segmentMin), segmentMax).Milliseconds()
}

// newCalendar returns a calendar that expires by itself: see keepUntilExpired.
func newCalendar(r *storeBase, retention time.Duration, make func(int64) *stretch, bury func(*stretch)) calendar {
	return calendar{
		base: r, interval: segmentInterval(retention), make: make, bury: bury,
		keep: max(retention.Milliseconds(), 0), newest: noTimes, savedNewest: -1,
	}
}

// keepUntilExpired leaves it to expire what is given up, and when.
func (c *calendar) keepUntilExpired() { c.keep, c.due = 0, false }

// horizon is the time below which everything is given up, after what is due has expired.
func (c *calendar) horizon() int64 {
	if c.due {
		c.expireDue()
	}
	return c.floor
}

//go:noinline // so that horizon is inlined
func (c *calendar) expireDue() {
	c.due = false
	if c.keep > 0 {
		c.expire(c.newest[timeNow] - c.keep + 1)
	}
}

// at returns the segment of a time that is written, which it makes when there is none.
func (c *calendar) at(when int64) (*stretch, error) {
	if when < c.horizon() {
		return nil, ErrExpired
	}
	if when > c.newest[timeNow] {
		c.newest[timeNow], c.due = when, c.keep > 0
	}
	return c.stretchOf(when)
}

// restoring is at for what a restore writes, which is committed. Nothing expires here: keepUntilExpired may follow.
func (c *calendar) restoring(when int64) (*stretch, error) {
	if when < c.floor {
		return nil, ErrExpired
	}
	if when > c.newest[timeNow] {
		c.newest, c.due = [3]int64{when, when, when}, c.keep > 0
	}
	return c.stretchOf(when)
}

func (c *calendar) stretchOf(when int64) (*stretch, error) {
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
func (c *calendar) existing(when int64) *stretch {
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

// position returns where a segment stands in live, or would stand.
func (c *calendar) position(number int64) (int, bool) {
	older := max(len(c.live)-newestSegments, 0)
	for i := len(c.live) - 1; i >= older; i-- { // most times are near the newest
		if n := c.live[i].number; n == number {
			return i, true
		} else if n < number {
			return i + 1, false
		}
	}
	return slices.BinarySearchFunc(c.live[:older], number, func(s *stretch, n int64) int { return sign(s.number - n) })
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

// rows is where the engine keeps a segment.
func (c *calendar) rows(number int64) []byte { return c.appendRows(nil, number) }

func (c *calendar) appendRows(dst []byte, number int64) []byte {
	dst = append(append(dst, c.base.prefix...), layout.KindExpiring)
	return binary.BigEndian.AppendUint64(dst, uint64(number))
}

// window returns the segments that may have times in [from, to], in order: a view.
func (c *calendar) window(from, to int64) []*stretch {
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
func (c *calendar) between(from, to int64, reverse bool, yield func(*stretch) bool) {
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

// expire gives up all times below before.
func (c *calendar) expire(before int64) {
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

// giveUp expires what a copy holds that is followed for long. An operator may have to report rows before they go, and
// says so when it opens the store, which nobody does here: so the copy keeps twice what the store keeps.
func (c *calendar) giveUp() {
	if c.keep == 0 || c.newest[timeCommitted] < 0 {
		return
	}
	c.expire(c.newest[timeCommitted] - 2*c.keep - c.interval)
	c.sealed, c.sealedFloor = len(c.expired), c.floor
	c.settle()
}

func (c *calendar) seal() {
	c.sealedFloor = c.horizon()
	c.sealed, c.newest[timeDrained] = len(c.expired), c.newest[timeNow]
}

func (c *calendar) settle() {
	c.committedFloor, c.newest[timeCommitted] = c.sealedFloor, c.newest[timeDrained]
	for _, s := range c.expired[:c.sealed] {
		if s.saved {
			c.pendingDeletes = append(c.pendingDeletes, s.number)
		}
		c.bury(s)
	}
	c.expired = slices.Delete(c.expired, 0, c.sealed)
	c.sealed = 0
}

func (c *calendar) revive() {
	c.live = append(slices.Clone(c.expired), c.live...)
	c.expired, c.sealed = nil, 0
	c.floor, c.sealedFloor, c.last = c.committedFloor, c.committedFloor, nil
	c.newest[timeNow], c.newest[timeDrained] = c.newest[timeCommitted], c.newest[timeCommitted]
	c.due = c.keep > 0
}

// expiry tells below which time the timestamps of changelog records are of no use, as of the last commit, and above
// which time nothing was written. A processor may give a row any timestamp; an operator's lies in its window, or is its
// end.
func (c *calendar) expiry() Expiry {
	x := Expiry{Before: c.committedFloor, Stamped: c.committedFloor, Newest: c.newest[timeNow]}
	if c.keep > 0 {
		x.Stamped = max(c.committedFloor-changelogSlack.Milliseconds(), 0)
	}
	if n := len(c.live); n > 0 { // after a restart the last segment alone is known
		x.Newest = max(x.Newest, (c.live[n-1].number+1)*c.interval-1)
	}
	return x
}

func (c *calendar) doomed() bool { return len(c.pendingDeletes) > 0 || c.moved() }

// moved tells whether the engine lacks the newest time.
func (c *calendar) moved() bool { return c.keep > 0 && c.newest[timeCommitted] != c.savedNewest }

// pruneRows writes the range deletes of what expired; waits tells whether a segment will write rows.
func (c *calendar) pruneRows(b engine.Batch, waits func(*stretch) bool) error {
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

// writeTail writes the length of the segments, and the newest time where the store expires by itself.
func (c *calendar) writeTail(rows engine.Rows) error {
	if c.intervalSaved && !c.moved() {
		return nil
	}
	newest := int64(-1)
	if c.keep > 0 {
		newest = c.newest[timeCommitted]
	}
	return rows.Set(c.base.segmentsRow(), layout.AppendSegments(nil, c.interval, newest))
}

func (c *calendar) pruned() {
	c.pendingDeletes = nil
	c.loaded()
	for _, some := range [][]*stretch{c.live, c.expired} {
		for _, s := range some {
			s.saved = s.saved || s.saving
			s.saving = false
		}
	}
}

// loaded is called when the tail is written.
func (c *calendar) loaded() { c.intervalSaved, c.savedNewest = true, c.newest[timeCommitted] }

func (c *calendar) wiped() {
	for _, some := range [][]*stretch{c.live, c.expired} {
		for _, s := range some {
			c.bury(s)
		}
	}
	c.live, c.expired, c.pendingDeletes, c.last, c.sealed = nil, nil, nil, nil, 0
	c.floor, c.sealedFloor, c.committedFloor, c.intervalSaved = 0, 0, 0, false
	c.newest, c.savedNewest, c.due = noTimes, -1, false
}

// load finds the segments that the engine has, and returns them.
func (c *calendar) load(e engine.Engine) error {
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
