package log

import (
	"encoding/binary"
	"hash/crc32"
	"sync/atomic"
	"time"
)

// Which clock each rule goes by. Record timestamps are the producers': no rule deletes by them.
//
//	rule                                     counts from                                clock
//	retention by time (retention.ms)         the segment's last append                  steady
//	roll by time (segment.ms)                the segment's first append                 steady
//	compaction lag (min.compaction.lag.ms)   the segment's last append                  steady
//	compaction lag (max.compaction.lag.ms)   the segment's first append                 steady
//	tombstones, markers (delete.retention)   the compaction that first met them         steady, stamped on the batch
//	silent producers                         their last append                          steady, in the snapshot
//	LogAppendTime, timestamps of markers     -                                          wall
//	bounds of timestamps (before/after.max)  -                                          wall
//	offsets of empty groups                  the commit, or the last member's leaving   steady, in the record
//	transactional ids                        the last transaction                       steady, in the record
//	sessions, rebalances, transactions       the last sign of life, the begin           steady
//	idle connections                         the last byte                              steady
//	look-up by time, largest timestamp       -                                          the records' own
//
// The steady clock (clock.Steady) is the wall clock as long as nobody sets that one. Apache Kafka counts retention from
// the segment's largest record timestamp; so an import of old events is empty there at the next check, and one record
// of the future keeps a topic forever.

// ages are the moments of a segment that rules go by, in milliseconds of the steady clock; 0: there are no records yet.
// The appender writes them, Maintain reads those of sealed segments.
type ages struct {
	created  atomic.Int64 // the first append
	appended atomic.Int64 // the last append
}

// age is a moment of the steady clock in milliseconds.
func (l *Log) age() int64 { return l.options.Age().UnixMilli() }

// touch notes an append.
func (a *ages) touch(now int64) {
	if a.created.Load() == 0 {
		a.created.Store(now)
	}
	a.appended.Store(max(a.appended.Load(), now))
}

// merge takes the earlier creation and the later append.
func (a *ages) merge(created, appended int64) {
	if have := a.created.Load(); have == 0 || created != 0 && created < have {
		a.created.Store(created)
	}
	a.appended.Store(max(a.appended.Load(), appended))
}

// Ages of the segments that are sealed lie in files beside them, so that what removes or replaces a segment does so
// with its ages:
//
//	0 "TWST" | 4 uint32 version = 1 | 8 int64 created | 16 int64 last append | 24 uint32 CRC32C
//
// Those of the active segment lie in the checkpoint.
const (
	agesMagic  = "TWST"
	agesBytes  = 28
	agesSummed = agesBytes - 4
)

func (a *ages) encode() []byte {
	be := binary.BigEndian
	out := be.AppendUint32(append(make([]byte, 0, agesBytes), agesMagic...), 1)
	out = be.AppendUint64(out, uint64(a.created.Load()))
	out = be.AppendUint64(out, uint64(a.appended.Load()))
	return be.AppendUint32(out, crc32.Checksum(out, castagnoli))
}

func decodeAges(src []byte) (created, appended int64, ok bool) {
	be := binary.BigEndian
	if len(src) != agesBytes || string(src[:4]) != agesMagic || be.Uint32(src[4:]) != 1 ||
		be.Uint32(src[agesSummed:]) != crc32.Checksum(src[:agesSummed], castagnoli) {
		return 0, 0, false
	}
	return int64(be.Uint64(src[8:])), int64(be.Uint64(src[16:])), true
}

// loadAges finds the ages of a segment at open, in its file and in the checkpoint. A segment that has neither was
// written by an older version, or came from elsewhere: the time of its file is taken for both, once. It is not believed
// when it lies in the future.
func (r *recovery) loadAges(s *segment, modified time.Time) {
	l := r.log
	if content, err := readFile(s.fs, s.path(agesSuffix)); err == nil {
		if created, appended, ok := decodeAges(content); ok {
			s.ages.merge(created, appended)
		}
	}
	if cp := l.checkpoint; cp.agesOf == s.base && cp.agesEnd > 0 {
		s.ages.merge(cp.created, cp.appended)
	}
	switch ms := min(modified.UnixMilli(), l.age()); {
	case s.ages.appended.Load() != 0 || s.size.Load() == 0:
	case l.checkpoint.agesEnd > 0 && s.base >= l.checkpoint.agesEnd:
		s.ages.touch(l.age()) // our own, of shortly before a crash
	default:
		s.ages.merge(ms, ms)
		r.foreign = append(r.foreign, s)
	}
}

// completeAges completes the ages of what recovery found: appends that the checkpoint does not know of may be as young
// as this moment. Then all ages are where the next open finds them.
func (r *recovery) completeAges() {
	l := r.log
	active := r.segments[len(r.segments)-1]
	imported := false
	for _, s := range r.foreign {
		imported = imported || s == active
		if s == active {
			continue
		}
		// As good as before when it fails.
		if err := writeFile(s.fs, s.path(agesSuffix), s.ages.encode(), false); err != nil {
			l.options.Logger.Warn("ages of a segment not written", "partition", l.options.name(),
				"file", s.path(agesSuffix), "err", err)
		}
	}
	if active.size.Load() > 0 && !imported && r.end > l.checkpoint.agesEnd {
		active.ages.touch(l.age())
	}
}

// noteAges takes the active segment's ages into a checkpoint. l.mu is held.
func (l *Log) noteAges(cp *checkpoint) {
	s := l.active()
	cp.agesOf, cp.agesEnd = s.base, l.end.Load()
	cp.created, cp.appended = s.ages.created.Load(), s.ages.appended.Load()
}

// keepAges notes the ages where nothing else is to be noted: a mark of a clean close stays valid. Its failure leaves
// them as they were.
func (l *Log) keepAges() {
	cp := l.checkpoint
	l.noteAges(&cp)
	if cp == l.checkpoint {
		return
	}
	if err := l.checkpoints.write(cp, nil); err != nil {
		l.options.Logger.Warn("checkpoint not written", "partition", l.options.name(), "err", err)
		return
	}
	l.checkpoint = cp
}

// LastAppend returns when the log was last appended to, by the steady clock; the zero time if it is empty.
func (l *Log) LastAppend() time.Time {
	last := int64(0)
	for _, s := range *l.segments.Load() {
		last = max(last, s.ages.appended.Load())
	}
	if last == 0 {
		return time.Time{}
	}
	return time.UnixMilli(last)
}
