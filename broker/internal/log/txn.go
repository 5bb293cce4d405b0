package log

import (
	"encoding/binary"
	"slices"
	"sort"
)

// abortedTxn is an entry of the index of aborted transactions. The file .txnindex of the segment that holds the marker
// holds, in Kafka's format and in the order of the markers:
//
//	int16 version = 0 | int64 producer id | int64 first offset | int64 offset of the marker | int64 last stable offset
//
// The last stable offset is that after the marker, so that a search can stop: no transaction that was aborted later
// begins below it.
type abortedTxn struct {
	producerID int64
	first      int64
	last       int64
	stable     int64
}

const abortedTxnBytes = 34

func encodeAborted(txns []abortedTxn) []byte {
	out := make([]byte, 0, len(txns)*abortedTxnBytes)
	for _, a := range txns {
		out = binary.BigEndian.AppendUint16(out, 0)
		for _, v := range []int64{a.producerID, a.first, a.last, a.stable} {
			out = binary.BigEndian.AppendUint64(out, uint64(v))
		}
	}
	return out
}

// decodeAborted returns false when the bytes are no index of aborted transactions.
func decodeAborted(src []byte) ([]abortedTxn, bool) {
	if len(src)%abortedTxnBytes != 0 {
		return nil, false
	}
	var txns []abortedTxn
	for ; len(src) > 0; src = src[abortedTxnBytes:] {
		at := func(i int) int64 { return int64(binary.BigEndian.Uint64(src[i:])) }
		a := abortedTxn{producerID: at(2), first: at(10), last: at(18), stable: at(26)}
		if binary.BigEndian.Uint16(src) != 0 || a.first > a.last || len(txns) > 0 && a.last <= txns[len(txns)-1].last {
			return nil, false
		}
		txns = append(txns, a)
	}
	return txns, true
}

// abortedIn appends the aborted transactions of the segment that overlap [from, upper). done means that later segments
// hold none.
func (s *segment) abortedIn(dst []Aborted, from, upper int64) (_ []Aborted, done bool) {
	s.txnMu.RLock()
	defer s.txnMu.RUnlock()
	i := sort.Search(len(s.aborted), func(i int) bool { return s.aborted[i].last >= from })
	for _, a := range s.aborted[i:] {
		if a.first < upper {
			dst = append(dst, Aborted{ProducerID: a.producerID, FirstOffset: a.first, LastOffset: a.last})
		}
		if a.stable >= upper {
			return dst, true
		}
	}
	return dst, false
}

func (s *segment) addAborted(a abortedTxn) {
	s.txnMu.Lock()
	defer s.txnMu.Unlock()
	s.aborted = append(s.aborted, a)
}

// openTxn is a transaction that keeps the last stable offset back: it is open, or its marker is not below the high
// watermark yet, and might still be lost.
type openTxn struct {
	producerID int64
	first      int64
	last       int64 // offset of the marker; -1 while open
}

// openTxns is ordered by first.
type openTxns []openTxn

func (s openTxns) open(producerID, first int64) openTxns {
	return append(s, openTxn{producerID: producerID, first: first, last: -1})
}

// close notes the marker of the producer's open transaction.
func (s openTxns) close(producerID, last int64) {
	for i := range s {
		if s[i].producerID == producerID && s[i].last < 0 {
			s[i].last = last
			return
		}
	}
}

// complete drops what ended below the high watermark.
func (s openTxns) complete(highWatermark int64) openTxns {
	return slices.DeleteFunc(s, func(t openTxn) bool { return t.last >= 0 && t.last < highWatermark })
}

// stable returns the last stable offset under a high watermark.
func (s openTxns) stable(highWatermark int64) int64 {
	if len(s) > 0 {
		return min(s[0].first, highWatermark)
	}
	return highWatermark
}

// firstOpen returns the first offset of the oldest transaction without a marker, or otherwise.
func (s openTxns) firstOpen(otherwise int64) int64 {
	for _, t := range s {
		if t.last < 0 {
			return t.first
		}
	}
	return otherwise
}
