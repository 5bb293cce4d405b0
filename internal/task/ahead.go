package task

import (
	"slices"

	"thalweg/internal/batch"
	"thalweg/state"
)

// ahead prepares the look-ups that nodes will make for the records of a queue. Some thousands of records ahead it reads
// the rows that are not in memory, in the order of their keys. 64 records ahead it decodes them and reads the cache
// lines of what is in memory. Records are still processed in their own order. Each 64 records it asks whether there is
// something to prepare; where there is nothing, records are decoded one by one.
type ahead struct {
	prefetchers []state.Prefetcher // resolved once
	decoded     []batch.Record     // from at; empty without prefetchers
	at          int
	alone       int      // so many records after those are decoded each in its turn
	keys        [][]byte // scratch
	rowsRead    int      // how many records after decoded have their rows read
	// The batches that wait, from the first on, as far as scan has opened them: each is decompressed once.
	opened   []batch.Iterator
	openedAt int
}

// lookAhead is how many records are decoded at a time: enough for the cache misses of their look-ups to overlap, few
// enough for the lines to be there still when the records come.
const lookAhead = 64

// decode makes the next record of the open batch the head's.
func (q *queue) decode() bool {
	if len(q.ahead.prefetchers) == 0 { // nobody looks anything up
		return q.it.Next(&q.head.Record)
	}
	return q.decodeAhead()
}

func (q *queue) decodeAhead() bool {
	a := &q.ahead
	for a.alone == 0 {
		if a.at < len(a.decoded) {
			q.head.Record = a.decoded[a.at]
			a.at++
			return true
		}
		if !q.look() {
			return false
		}
	}
	if !q.it.Next(&q.head.Record) {
		return false
	}
	a.alone--
	return true
}

// look prepares the next records: it decodes them and passes their keys to the prefetchers, or leaves each to its turn.
// It returns false where the open batch has none.
func (q *queue) look() bool {
	a := &q.ahead
	if q.it.Left() == 0 {
		return false
	}
	if a.rowsRead <= 0 {
		q.lookFar()
	}
	clear(a.decoded) // let their batch go
	a.decoded, a.at, a.keys = a.decoded[:0], 0, a.keys[:0]
	most := lookAhead
	if a.rowsRead > 0 {
		most = min(most, a.rowsRead)
	}
	if !slices.ContainsFunc(a.prefetchers, state.Prefetcher.LinesWanted) {
		a.alone = most
		a.rowsRead -= most
		return true
	}
	if a.keys == nil {
		a.decoded, a.keys = make([]batch.Record, 0, lookAhead), make([][]byte, 0, lookAhead)
	}
	for len(a.decoded) < most {
		n := len(a.decoded)
		a.decoded = a.decoded[:n+1]
		r := &a.decoded[n]
		if !q.it.Next(r) {
			a.decoded = a.decoded[:n]
			break
		}
		if r.Key != nil {
			a.keys = append(a.keys, r.Key)
		}
	}
	a.rowsRead -= len(a.decoded)
	for _, p := range a.prefetchers {
		p.PrefetchLines(a.keys)
	}
	return len(a.decoded) > 0
}

// farLeast is the fewest records whose rows are read together: fewer look-ups cost less one by one.
const farLeast = 8

// lookFar has the prefetchers read the rows that the next records need, where that is of use.
func (q *queue) lookFar() {
	q.ahead.rowsRead = 0
	if q.records < farLeast {
		return
	}
	var some [4]state.Prefetcher
	wanting, want := state.Wanting(some[:0], q.ahead.prefetchers)
	if want == 0 {
		return
	}
	var next state.Ahead
	scanned := q.scan(&next, min(want, state.AheadRecordsMax, q.records))
	for _, p := range wanting {
		switch done := p.PrefetchRows(&next); {
		case done == 0: // it found no memory, and is asked again soon
		case q.ahead.rowsRead == 0:
			q.ahead.rowsRead = min(scanned, done)
		default:
			q.ahead.rowsRead = min(q.ahead.rowsRead, done)
		}
	}
}

// scan goes over the records that come next without taking them, and returns how many they are. What cannot be read is
// left for when its turn comes.
func (q *queue) scan(next *state.Ahead, want int) (records int) {
	next.Keys, next.Values = make([][]byte, 0, want), make([][]byte, 0, want)
	if q.ownTime {
		next.Timestamps = make([]int64, 0, want)
	}
	it, waiting, bytes := q.it, 0, 0 // a copy of the iterator: the queue's stays where it is
	for r := (batch.Record{}); records < want && bytes < state.AheadBytesMax; {
		if !it.Next(&r) {
			var ok bool
			if it, ok = q.peek(waiting); !ok {
				break
			}
			waiting++
			continue
		}
		records++
		if r.Offset < q.next || r.Key == nil {
			continue
		}
		bytes += len(r.Key) + len(r.Value)
		next.Keys, next.Values = append(next.Keys, r.Key), append(next.Values, r.Value)
		if q.ownTime {
			next.Timestamps = append(next.Timestamps, r.Timestamp)
		}
	}
	return records
}

// peek opens one of the batches that wait, and leaves it where it is.
func (q *queue) peek(number int) (it batch.Iterator, ok bool) {
	a := &q.ahead
	if at := a.openedAt + number; at < len(a.opened) {
		return a.opened[at], true
	}
	if q.first+number == len(q.batches) {
		return it, false
	}
	it, err := q.batches[q.first+number].Records(q.decoder)
	if err == nil {
		a.opened = append(a.opened, it)
	}
	return it, err == nil
}

// records opens the batch that waits for longest.
func (a *ahead) records(b batch.Batch, d *batch.Decoder) (batch.Iterator, error) {
	if a.openedAt == len(a.opened) {
		return b.Records(d)
	}
	it := a.opened[a.openedAt]
	a.opened[a.openedAt] = batch.Iterator{}
	if a.openedAt++; a.openedAt == len(a.opened) {
		a.opened, a.openedAt = a.opened[:0], 0
	}
	return it, nil
}

// clear drops the decoded records, the opened batches and the rows that were read.
func (a *ahead) clear() {
	clear(a.decoded)
	clear(a.opened)
	a.decoded, a.at, a.alone, a.rowsRead = a.decoded[:0], 0, 0, 0
	a.opened, a.openedAt = a.opened[:0], 0
	var none state.Ahead
	for _, p := range a.prefetchers {
		p.PrefetchRows(&none)
	}
}
