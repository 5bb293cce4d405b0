package state

import (
	"math"
	"slices"
	"time"

	"thalweg/serde"
	"thalweg/state/engine"
	"thalweg/state/internal/layout"
)

// histories is the untyped part of a versioned store.
type histories struct {
	keyed
	cache typedCache[history]

	retained   int64 // milliseconds
	streamTime [3]int64
	savedTime  int64

	changelog      []changelogEntry // puts since the last drain
	changelogBytes []byte           // their keys and values
	scratch        []byte           // an encoded value
}

// The stream time now, as of the last drain, and as of the last commit.
const (
	timeNow = iota
	timeDrained
	timeCommitted
)

// noTimes are the times of a store without rows.
var noTimes = [3]int64{-1, -1, -1}

// changelogEntry is a changelog record to write: [key][value] in changelogBytes; size -1 is a tombstone.
type changelogEntry struct {
	from, keySize, size int
	timestamp           int64
}

func newHistories(r *storeBase, retention time.Duration) *histories {
	r.writesOwnChangelog = true // see changelog
	h := &histories{retained: retention.Milliseconds(), streamTime: noTimes, savedTime: -1}
	openTypedCache(&h.cache, r, r.keyRows(), 0, serde.Serde[history](historySerde{}))
	h.keyed = keyed{r, h.cache.rows}
	return h
}

func (h *histories) horizon() int64 {
	if h.streamTime[timeNow] < 0 {
		return math.MinInt64
	}
	return h.streamTime[timeNow] - h.retained
}

// version returns the version of a key that held at a time, and when the next one began.
func (h *histories) version(key []byte, asOf int64) (v version, to int64, found bool, err error) {
	index, found, err := h.rows.lookup(key)
	if !found {
		return v, 0, false, err
	}
	past, _, found, err := cachedValue(&h.cache, index)
	if !found {
		return v, 0, false, err
	}
	at, _ := past.position(asOf)
	if at == len(past.versions) || at > 0 && asOf < h.horizon() {
		return v, 0, false, nil
	}
	if at == 0 {
		return past.versions[0], Latest, true, nil
	}
	return past.versions[at], past.versions[at-1].timestamp, true, nil
}

// earliest returns the first version of a key in [from, to] that is a value.
func (h *histories) earliest(key []byte, from, to int64) (v version, found bool, err error) {
	index, found, err := h.rows.lookup(key)
	if !found {
		return v, false, err
	}
	past, _, found, err := cachedValue(&h.cache, index)
	if !found {
		return v, false, err
	}
	horizon := h.horizon()
	for i, v := range slices.Backward(past.versions) {
		if i > 0 && past.versions[i-1].timestamp <= horizon {
			continue // replaced before the history begins: it is there until the key is written
		}
		if v.timestamp >= from && v.timestamp <= to && v.value != nil {
			return v, true, nil
		}
	}
	return v, false, nil
}

func (h *histories) put(key, value []byte, timestamp int64) (latest, accepted bool, err error) {
	if timestamp < h.horizon() {
		return false, false, nil
	}
	if err := h.base.checkSize(key, 0, len(value)); err != nil {
		return false, false, err
	}
	if latest, err = h.write(key, value, timestamp); err != nil {
		return false, false, err
	}
	if h.base.logged {
		e := changelogEntry{from: len(h.changelogBytes), keySize: len(key), size: len(value), timestamp: timestamp}
		h.changelogBytes = append(append(h.changelogBytes, key...), value...)
		if value == nil {
			e.size = -1
		}
		h.changelog = append(h.changelog, e)
	}
	return latest, true, nil
}

// write changes the key's history.
func (h *histories) write(key, value []byte, timestamp int64) (latest bool, err error) {
	index, err := h.rows.find(key)
	if err != nil {
		return false, err
	}
	past, _, _, err := cachedValue(&h.cache, index)
	if err != nil {
		return false, err
	}
	if value != nil {
		value = h.base.tx.views.copy(value)
	}
	latest = past.put(timestamp, value)
	h.streamTime[timeNow] = max(h.streamTime[timeNow], timestamp)
	if !past.trim(h.horizon()) {
		h.rows.remove(index, timestamp)
		return latest, nil
	}
	return latest, setValue(&h.cache, index, past, past.versions[0].timestamp)
}

// vacant is false: a changelog record is one version of a row, which is read before it is written.
func (h *histories) vacant() bool { return false }

func (h *histories) restore(key, value []byte, timestamp int64) error {
	if timestamp < h.horizon() {
		return nil
	}
	_, err := h.write(key, value, timestamp)
	return err
}

// restored takes what restore wrote as committed: histories are read before they are written, so they go through the
// lists of a change.
func (h *histories) restored() error {
	if err := h.rows.markDrained(); err != nil {
		return err
	}
	h.endDrain()
	h.rows.commit()
	h.endCommit()
	return nil
}

func (h *histories) begin(e engine.Engine) error {
	if err := h.keyed.begin(e); err != nil {
		return err
	}
	value, found, err := e.Get(nil, h.base.segmentsRow())
	if err != nil || !found {
		return err
	}
	at, err := layout.Number(value)
	h.streamTime, h.savedTime = [3]int64{at, at, at}, at
	return err
}

// drainDiary writes one record for each put.
func (h *histories) drainChangelog(emit func(Store, []byte, []byte, int64) error) error {
	for _, e := range h.changelog {
		key := h.changelogBytes[e.from : e.from+e.keySize]
		var value []byte
		if e.size >= 0 {
			value = h.changelogBytes[e.from+e.keySize : e.from+e.keySize+e.size]
		}
		if err := emit(h.base.store, key, value, e.timestamp); err != nil {
			return err
		}
	}
	return nil
}

func (h *histories) endDrain() {
	h.changelog, h.changelogBytes = h.changelog[:0], h.changelogBytes[:0]
	h.streamTime[timeDrained] = h.streamTime[timeNow]
}

func (h *histories) endCommit() { h.streamTime[timeCommitted] = h.streamTime[timeDrained] }

func (h *histories) rollback() {
	h.changelog, h.changelogBytes = h.changelog[:0], h.changelogBytes[:0]
	h.streamTime[timeDrained] = h.streamTime[timeCommitted]
	h.streamTime[timeNow] = h.streamTime[timeCommitted]
}

func (h *histories) hasDeletes() bool { return h.streamTime[timeCommitted] != h.savedTime }

func (h *histories) writeDeletes(b engine.Batch) error {
	return b.Set(h.base.segmentsRow(), layout.AppendNumber(nil, h.streamTime[timeCommitted]))
}

func (h *histories) deletesWritten() { h.savedTime = h.streamTime[timeCommitted] }

func (h *histories) wiped() {
	h.changelog, h.changelogBytes = nil, nil
	h.streamTime, h.savedTime = noTimes, -1
}
