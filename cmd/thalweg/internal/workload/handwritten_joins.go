package workload

import (
	"encoding/binary"

	"thalweg/internal/batch"
)

// results are what came out, whatever its order; of a table the last of each key.
type results struct {
	timeless bool // times do not count
	count    int
	hashes   uint64            // added up
	rows     map[string]uint64 // nil: not a table
}

func newResults(table bool) *results {
	r := &results{}
	if table {
		r.rows = map[string]uint64{}
	}
	return r
}

func (r *results) add(ts int64, key, value []byte) {
	hash := fnv(fnv(14695981039346656037, key), value)
	if !r.timeless {
		hash = fnv(hash, binary.BigEndian.AppendUint64(nil, uint64(ts)))
	}
	if r.rows != nil {
		r.rows[string(key)] = hash
		return
	}
	r.count++
	r.hashes += hash
}

func fnv(hash uint64, b []byte) uint64 {
	for _, c := range b {
		hash = (hash ^ uint64(c)) * 1099511628211
	}
	return (hash ^ uint64(len(b))) * 1099511628211
}

func (r *results) n() int { return r.count + len(r.rows) }

func (r *results) sum() uint64 {
	sum := r.hashes
	for _, hash := range r.rows {
		sum += hash
	}
	return sum
}

// newRows reads a table.
func newRows(batches [][]byte) (map[string][]byte, error) {
	rows := map[string][]byte{}
	err := inTime([][][]byte{batches}, func(_ int, r *batch.Record) { rows[string(r.Key)] = r.Value })
	return rows, err
}

// tableAndStream joins records with rows.
type tableAndStream struct {
	h    *handwritten
	rows map[string][]byte
}

func (j *tableAndStream) add(_ int, r *batch.Record) {
	if row, ok := j.rows[string(r.Key)]; ok {
		j.h.scratch = appendRowAndEvent(j.h.scratch[:0], row, r.Value)
		j.h.result(r.Timestamp, r.Key, j.h.scratch)
	}
}

// twoStreams joins the records of two streams.
type twoStreams struct {
	h      *handwritten
	keys   *counts
	byKey  [2][][]timed
	time   int64
	logKey []byte
}

type timed struct {
	ts    int64
	value []byte
}

func newTwoStreams(h *handwritten) *twoStreams { return &twoStreams{h: h, keys: newCounts(1 << 18)} }

func (j *twoStreams) add(side int, r *batch.Record) {
	within := joinWithin.Milliseconds()
	j.time = max(j.time, r.Timestamp)
	key := j.keys.index(r.Key)
	if int(key) == len(j.byKey[0]) {
		j.byKey[0], j.byKey[1] = append(j.byKey[0], nil), append(j.byKey[1], nil)
	}
	for _, o := range j.byKey[1-side][key] {
		if o.ts < r.Timestamp-within || o.ts > r.Timestamp+within {
			continue
		}
		l, right := r.Value, o.value
		if side == 1 {
			l, right = right, l
		}
		j.h.scratch = appendBoth(j.h.scratch[:0], l, right)
		j.h.result(max(r.Timestamp, o.ts), r.Key, j.h.scratch)
	}
	own, oldest := j.byKey[side][key], j.time-2*within-joinGrace.Milliseconds()
	old := 0
	for old < len(own) && own[old].ts < oldest {
		old++
	}
	j.byKey[side][key] = append(own[:copy(own, own[old:])], timed{r.Timestamp, r.Value})
	j.logKey = binary.BigEndian.AppendUint64(append(j.logKey[:0], r.Key...), uint64(r.Timestamp))
	j.h.append(j.h.log, r.Timestamp, j.logKey, r.Value)
}

// latest keeps the last record of each key.
type latest struct {
	h    *handwritten
	keys *counts
	rows []timed
}

func (l *latest) add(_ int, r *batch.Record) {
	key := l.keys.index(r.Key)
	if int(key) == len(l.rows) {
		l.rows = append(l.rows, timed{})
	}
	l.rows[key] = timed{r.Timestamp, r.Value}
	l.keys.hit(key, r.Timestamp)
}

// changed calls f with each row that has changed since the last call.
func (l *latest) changed(f func(key []byte, row timed)) {
	for _, at := range l.keys.dirty {
		e := &l.keys.entries[at]
		e.dirty = false
		f(l.keys.key(e), l.rows[at])
	}
	l.keys.dirty = l.keys.dirty[:0]
}

// foreign joins rows with those that their values name.
type foreign struct {
	latest
	rows map[string][]byte
	key  []byte
}

// commit encodes the rows that changed, whom they name, and what they meet.
func (j *foreign) commit() {
	j.changed(func(key []byte, row timed) {
		j.key = appendForeign(j.key[:0], row.value)
		j.h.append(j.h.log, row.ts, key, row.value)
		named := len(j.key)
		j.key = append(j.key, key...)
		j.h.append(j.h.log, row.ts, j.key, nil)
		if right, ok := j.rows[string(j.key[:named])]; ok {
			j.h.scratch = appendRowAndEvent(j.h.scratch[:0], right, row.value)
			j.h.result(row.ts, key, j.h.scratch)
		}
	})
}
