package state

import (
	"slices"

	"thalweg/state/internal/table"
)

// chained is a row found for a key.
type chained struct {
	value     []byte
	timestamp int64
	sequence  uint32
	row       *logRow // nil: it is in the engine alone
}

func compareChained(a, b chained) int {
	if a.timestamp != b.timestamp {
		return sign(a.timestamp - b.timestamp)
	}
	switch {
	case a.sequence == b.sequence:
		return 0
	case (b.sequence-a.sequence)&sequenceMask < sequenceMask/2:
		return -1
	}
	return 1
}

// fetch returns the rows of a key in [from, to], by time, then arrival. The slice is valid until the next call.
func (b *segmentedLog) fetch(key []byte, from, to int64) ([]chained, error) {
	clear(b.chain)
	b.chain = b.chain[:0]
	from = max(from, b.horizon())
	hash := b.base.hash(key)
	for _, t := range b.window(from, to) {
		g, first := t.asLog, len(b.chain)
		b.chain = b.rowsOf(g, b.chain, hash, key, from, to)
		if g.cold == nil {
			continue
		}
		var err error
		if b.chain, err = b.cold.fetch(g, b.chain, first, key, from, to); err != nil {
			return nil, failed(b.base.name, "read", err)
		}
	}
	return b.chain, nil
}

// has tells whether a key has a row in [from, to].
func (b *segmentedLog) has(key []byte, from, to int64) (bool, error) {
	from = max(from, b.horizon())
	hash := b.base.hash(key)
	for _, t := range slices.Backward(b.window(from, to)) {
		g := t.asLog
		found, passed := g.chain(b.chain[:0], hash, key, from, to, 1)
		b.base.visited += passed
		if len(found) > 0 {
			return true, nil
		}
		if g.cold == nil {
			continue
		}
		if some, err := b.cold.has(g, key, from, to); some || err != nil {
			return some, failed(b.base.name, "read", err)
		}
	}
	return false, nil
}

func (b *segmentedLog) rowsOf(g *logSegment, dst []chained, hash uint64, key []byte, from, to int64) []chained {
	dst, passed := g.chain(dst, hash, key, from, to, 0)
	b.base.visited += passed
	return dst
}

// idleMax is how many rows of other times a walk along a chain passes before the key gets an order.
const idleMax = 64

// chain appends the key's rows in [from, to] that are in memory, by time, then arrival; most of them, where that is
// not 0. passed is how many rows it looked at.
func (g *logSegment) chain(
	dst []chained, hash uint64, key []byte, from, to int64, most int,
) (_ []chained, passed int) {
	index, found := g.heads.Find(hash, key)
	if !found {
		return dst, 0
	}
	if len(g.orders) > 0 {
		if order, found := g.orders[index]; found {
			return g.ordered(dst, order, from, to, most)
		}
	}
	first, sorted, idle := len(dst), true, 0
	for at := *g.newest(index); at != 0; passed++ {
		r := g.row(at - 1)
		if r.highest() < from {
			break
		}
		at = r.previous
		if r.timestamp < from || r.timestamp > to {
			if idle++; idle > idleMax {
				return g.ordered(dst[:first], g.order(index), from, to, most)
			}
			continue
		}
		if n := len(dst); n > first && dst[n-1].timestamp < r.timestamp {
			sorted = false
		}
		dst = append(dst, chained{g.bytes.view(r.arenaRef), r.timestamp, r.sequence, r})
		if most > 0 && len(dst)-first >= most {
			break
		}
	}
	some := dst[first:]
	slices.Reverse(some)
	if !sorted {
		slices.SortStableFunc(some, func(a, b chained) int { return sign(a.timestamp - b.timestamp) })
	}
	return dst, passed
}

// askedRow stands for the time that an order is asked for: it comes before all rows of that time.
const askedRow = ^uint32(0)

// order makes the order of a key's rows, by time, then arrival: for keys with many rows of which few are asked for.
func (g *logSegment) order(index uint32) table.Tree {
	at := func(row uint32) (int64, int64) {
		if row == askedRow {
			return g.asked, -1
		}
		return g.row(row).timestamp, int64(row)
	}
	less := func(a, b uint32) bool {
		timeA, rowA := at(a)
		timeB, rowB := at(b)
		return timeA < timeB || timeA == timeB && rowA < rowB
	}
	order := table.NewTree(less)
	rows := g.rowsOfKey(index, g.count)
	for _, row := range rows {
		order.Load(row)
	}
	if g.orders == nil {
		g.orders = map[uint32]table.Tree{}
	}
	g.orders[index] = order
	return order
}

// rowsOfKey returns the rows of a key among the first n, by time, then arrival.
func (g *logSegment) rowsOfKey(index, n uint32) (rows []uint32) {
	for at := *g.newest(index); at != 0; at = g.row(at - 1).previous {
		if at <= n {
			rows = append(rows, at-1)
		}
	}
	slices.Reverse(rows)
	slices.SortStableFunc(rows, func(a, b uint32) int { return sign(g.row(a).timestamp - g.row(b).timestamp) })
	return rows
}

func (g *logSegment) ordered(
	dst []chained, order table.Tree, from, to int64, most int,
) (_ []chained, passed int) {
	g.asked = from
	first := len(dst)
	order.Ascend(askedRow, func(row uint32) bool {
		passed++
		r := g.row(row)
		if r.timestamp > to {
			return false
		}
		dst = append(dst, chained{g.bytes.view(r.arenaRef), r.timestamp, r.sequence, r})
		return most == 0 || len(dst)-first < most
	})
	return dst, passed
}
