package log

import (
	"maps"
	"slices"

	"thalweg/internal/batch"
)

// indexes are what the index files of a sealed segment say that its batches have not confirmed yet.
type indexes struct {
	base       int64           // of the segment
	offsets    map[int64]int64 // position to last offset
	times      []timeEntry
	timed      bool    // there were times
	said       int64   // the largest timestamp, by the last of them
	newest     int64   // the largest timestamp so far, by the batches
	wrongTimes []int64 // offsets that entries of times are about
	aborted    map[int64]abortedTxn
	wrong      []int64 // markers whose entries are wrong or missing
}

// indexes reads the index files of a sealed segment. One that is missing or no index is made again when it is needed.
func (w *verification) indexes(s *segment) (x indexes) {
	x.base, x.newest = s.base, -1
	offsets, errOffsets := readFile(w.fs, s.path(indexSuffix))
	times, errTimes := readFile(w.fs, s.path(timeIndexSuffix))
	if errOffsets == nil && errTimes == nil {
		if decoded, times, ok := decodeIndex(offsets, times, s.size.Load()); ok {
			if x.times = times; len(times) > 0 {
				x.timed, x.said = true, times[len(times)-1].timestamp
			}
			x.offsets = make(map[int64]int64, len(decoded))
			for _, e := range decoded {
				x.offsets[int64(e.position)] = s.base + int64(e.offset)
			}
		} else {
			w.find(s.path(indexSuffix), false, "not an index of its segment; it is made again when it is needed")
		}
	}
	if content, err := readFile(w.fs, s.path(txnIndexSuffix)); err == nil {
		if decoded, ok := decodeAborted(content); ok {
			x.aborted = make(map[int64]abortedTxn, len(decoded))
			for _, a := range decoded {
				x.aborted[a.last] = a
			}
		} else {
			w.find(s.path(txnIndexSuffix), false, "not an index of aborted transactions; the next start makes it again")
		}
	}
	return x
}

// batch confirms the entries of a batch.
func (x *indexes) batch(position int64, b batch.Batch) {
	x.newest = max(x.newest, b.MaxTimestamp())
	for len(x.times) > 0 && x.base+int64(x.times[0].offset) <= b.LastOffset() {
		e := x.times[0]
		x.times = x.times[1:]
		if at := x.base + int64(e.offset); at < b.BaseOffset() || b.MaxTimestamp() != e.timestamp || x.newest != e.timestamp {
			x.wrongTimes = append(x.wrongTimes, at)
		}
	}
	if offset, ok := x.offsets[position]; ok && offset == b.LastOffset() {
		delete(x.offsets, position)
	}
}

// transaction follows the transactions of a log. It returns the one that b aborts, with a first offset of -1 where it
// began before the batches that are there.
func (w *verification) transaction(b batch.Batch) (abort abortedTxn, ok bool) {
	id := b.ProducerID()
	first, open := w.open[id]
	if !b.IsControl() {
		if b.IsTransactional() && !open {
			w.open[id] = b.BaseOffset()
		}
		return abort, false
	}
	kind, _, err := b.Control()
	if err != nil || kind != batch.Abort && kind != batch.Commit {
		return abort, false
	}
	delete(w.open, id)
	if !open {
		first = -1
	}
	return abortedTxn{producerID: id, first: first, last: b.BaseOffset()}, kind == batch.Abort
}

// abort confirms the entry of an aborted transaction. Below the offset known, batches of it may have been deleted: its
// first offset is in the index alone then.
func (x *indexes) abort(a abortedTxn, known int64) {
	if x.aborted == nil {
		return
	}
	entry, found := x.aborted[a.last]
	delete(x.aborted, a.last)
	missing := !found && a.first >= known
	if missing || found && (entry.producerID != a.producerID || entry.first != a.first && entry.first >= known) {
		x.wrong = append(x.wrong, a.last)
	}
}

// compare notes what no batch has confirmed.
func (w *verification) compare(s *segment, x indexes) {
	if n := len(x.offsets); n > 0 {
		w.find(s.path(indexSuffix), true, "%d entries are wrong, the first of them for byte %d; delete the index, it is "+
			"made again", n, slices.Min(slices.Collect(maps.Keys(x.offsets))))
	}
	for _, e := range x.times {
		x.wrongTimes = append(x.wrongTimes, x.base+int64(e.offset))
	}
	switch {
	case len(x.wrongTimes) > 0:
		w.find(s.path(timeIndexSuffix), true, "%d entries are wrong, the first of them at offset %d: look-ups by time may "+
			"miss records; delete the index, it is made again", len(x.wrongTimes), x.wrongTimes[0])
	case x.timed && x.said < x.newest:
		w.find(s.path(timeIndexSuffix), true, "the largest timestamp is %d, and it ends with %d: look-ups by time may miss "+
			"records; delete the index, it is made again", x.newest, x.said)
	}
	if wrong := slices.AppendSeq(x.wrong, maps.Keys(x.aborted)); len(wrong) > 0 {
		w.find(s.path(txnIndexSuffix), true, "%d entries are wrong or missing, the first of them for the marker at offset "+
			"%d: readers of committed records may get aborted ones; delete the file, it is made again", len(wrong),
			slices.Min(wrong))
	}
}
