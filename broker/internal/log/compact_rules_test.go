package log

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
)

// left is a batch that compaction has left in a log.
type left struct {
	base, last int64
	records    int
	control    bool
	stamped    bool // with a delete horizon
}

// batchesOf returns what lies in the sealed segments of a log.
func batchesOf(t testing.TB, l *Log) (all []left) {
	t.Helper()
	segments := *l.segments.Load()
	for _, s := range segments[:len(segments)-1] {
		require.True(t, s.acquire())
		c := s.scan(0, s.size.Load())
		for {
			b, _, err := c.next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			_, stamped := b.DeleteHorizon()
			all = append(all, left{b.BaseOffset(), b.LastOffset(), b.Count(), b.IsControl(), stamped})
		}
		s.release()
	}
	return all
}

// rules is a log of one batch per segment, so that everything but the newest batch may be compacted.
type rules struct {
	*bench
	l *Log
}

func newRules(t *testing.T, change func(*Config)) *rules {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 1, Compact: true, MinCleanable: 0.0001}
	if change != nil {
		change(&b.config)
	}
	return &rules{b, b.open()}
}

// put appends a record; without a value it is a tombstone.
func (r *rules) put(key, value string) int64 {
	r.t.Helper()
	return r.putAs(batch.NoProducer(), key, value)
}

func (r *rules) putAs(p batch.Producer, key, value string) int64 {
	r.t.Helper()
	bld := batch.NewBuilder(batch.None)
	var v []byte
	if value != "" {
		v = []byte(value)
	}
	bld.Append(4_102_444_800_000, []byte(key), v, nil) // in the year 2100: no rule goes by it
	raw, err := bld.Finish(p)
	require.NoError(r.t, err)
	return appendDurable(r.t, r.l, raw).LastOffset
}

func (r *rules) mark(m Marker) int64 {
	r.t.Helper()
	done, err := r.l.AppendMarker(m)
	require.NoError(r.t, err)
	require.NoError(r.t, r.l.WaitDurable(r.t.Context(), done.LastOffset))
	return done.LastOffset
}

// compact begins a new segment with a key of its own, and does a round.
func (r *rules) compact() []left {
	r.t.Helper()
	r.put(fmt.Sprint("filler ", r.l.End()), "v")
	require.NoError(r.t, r.l.Compact(nil))
	return batchesOf(r.t, r.l)
}

func offsets(all []left) (records, empty, markers []int64) {
	for _, b := range all {
		switch {
		case b.control:
			markers = append(markers, b.base)
		case b.records == 0:
			empty = append(empty, b.base)
		default:
			records = append(records, b.base)
		}
	}
	return records, empty, markers
}

func TestRuleTheLastValueOfEachKeyIsKept(t *testing.T) {
	r := newRules(t, nil)
	for range 3 {
		r.put("a", "old")
		r.put("b", "old")
	}
	a, b := r.put("a", "new"), r.put("b", "new")
	records, empty, _ := offsets(r.compact())
	require.Equal(t, []int64{a, b}, records)
	require.Empty(t, empty)
	before := a
	a = r.put("a", "newer") // the next round takes what the one before has left
	records, _, _ = offsets(r.compact())
	require.NotContains(t, records, before)
	require.Contains(t, records, a)
	require.Contains(t, records, b)
	require.Equal(t, "newer", values(t, r.l, ReadUncommitted, 1000)[a])
}

func TestRuleTombstonesStayForTheirRetention(t *testing.T) {
	r := newRules(t, func(c *Config) { c.DeleteRetention = time.Hour })
	r.put("a", "v")
	tombstone := r.put("a", "")
	records, _, _ := offsets(r.compact())
	require.Contains(t, records, tombstone)
	require.NotContains(t, records, tombstone-1)
	r.pass(59 * time.Minute)
	records, _, _ = offsets(r.compact())
	require.Contains(t, records, tombstone, "it counts from the first compaction, by the broker's clock")
	r.pass(2 * time.Minute)
	records, _, _ = offsets(r.compact())
	require.NotContains(t, records, tombstone)
}

func TestRuleMarkersStayForTheirRetentionAndTheirTransaction(t *testing.T) {
	r := newRules(t, func(c *Config) { c.DeleteRetention, c.ProducerExpiry = time.Hour, 100*time.Hour })
	p := batch.Producer{ID: 1, Transactional: true}
	data := r.putAs(p, "a", "of the transaction")
	first := r.mark(Marker{ProducerID: 1, Commit: true})
	p.Sequence = 1
	r.putAs(p, "b", "of the next") // so that the first is not the producer's last
	second := r.mark(Marker{ProducerID: 1, Commit: true})
	for range 3 {
		_, _, markers := offsets(r.compact())
		require.Equal(t, []int64{first, second}, markers)
		r.pass(2 * time.Hour)
	}
	r.put("a", "of nobody")
	records, _, markers := offsets(r.compact())
	require.NotContains(t, records, data)
	require.Contains(t, markers, first, "a reader may have the records and not the marker yet")
	r.pass(59 * time.Minute)
	_, _, markers = offsets(r.compact())
	require.Contains(t, markers, first)
	r.pass(2 * time.Minute)
	_, _, markers = offsets(r.compact())
	require.Equal(t, []int64{second}, markers, "its transaction still has a record")
}

func TestRuleTheLastBatchOfAProducerStaysEmptied(t *testing.T) {
	r := newRules(t, func(c *Config) { c.ProducerExpiry = time.Hour })
	first := r.putAs(batch.Producer{ID: 1}, "a", "old")
	second := r.putAs(batch.Producer{ID: 1, Sequence: 1}, "a", "old")
	r.put("a", "new")
	_, empty, _ := offsets(r.compact())
	require.Equal(t, []int64{second}, empty)
	require.NotContains(t, empty, first)
	r.pass(2 * time.Hour) // nobody knows the producer any more
	require.NoError(t, r.l.Maintain())
	_, empty, _ = offsets(r.compact())
	require.Empty(t, empty)
}

// With the marker of a transaction a producer may get a new epoch (version 2 of the protocol): until it writes, only
// the marker tells.
func TestRuleTheMarkerThatBeganAnEpochStays(t *testing.T) {
	r := newRules(t, func(c *Config) { c.DeleteRetention, c.ProducerExpiry = time.Hour, 1000*time.Hour })
	r.putAs(batch.Producer{ID: 1, Transactional: true}, "a", "old")
	marker := r.mark(Marker{ProducerID: 1, ProducerEpoch: 1, Commit: true})
	r.put("a", "new")
	for range 4 {
		r.compact()
		r.pass(2 * time.Hour)
	}
	_, empty, markers := offsets(batchesOf(t, r.l))
	require.Equal(t, []int64{marker}, markers)
	require.Empty(t, empty)
	require.NoError(t, r.l.Close())
	names, err := r.fs.List(r.l.Dir())
	require.NoError(t, err)
	for _, offset := range snapshotOffsets(names) {
		require.NoError(t, r.fs.Remove(r.fs.PathJoin(r.l.Dir(), fileName(offset, producersSuffix))))
	}
	r.l = r.open()
	require.EqualValues(t, 1, r.l.Producers()[0].ProducerEpoch)
}

func TestRuleTheLastBatchOfARoundStaysEmptied(t *testing.T) {
	r := newRules(t, func(c *Config) { c.Compact = false })
	r.put("a", "v")
	p := batch.Producer{ID: 1, Transactional: true}
	aborted := r.putAs(p, "b", "void")
	p.Sequence = 1
	r.putAs(p, "b", "void")
	r.mark(Marker{ProducerID: 1})
	open := batch.Producer{ID: 2, Transactional: true}
	bld := batch.NewBuilder(batch.None)
	bld.Append(1, nil, []byte("from before the log was compacted"), nil)
	raw, err := bld.Finish(batch.NoProducer())
	require.NoError(t, err)
	last := appendDurable(t, r.l, raw).LastOffset
	r.putAs(open, "c", "undecided")
	r.config.Compact = true
	r.l.SetConfig(r.config)
	_, empty, _ := offsets(r.compact())
	require.NotContains(t, empty, aborted)
	require.Contains(t, empty, last)
	// A reader of what is committed comes up to the last stable offset.
	next := int64(0)
	for next < r.l.LastStable() {
		got, err := r.l.Read(next, 1, ReadCommitted)
		require.NoError(t, err)
		require.NotEmpty(t, got.Batches, "at offset %d of %d", next, r.l.LastStable())
		next = endOf(got.Batches[len(got.Batches)-1])
	}
}

func TestRuleNothingAboveTheFirstUnstableOffset(t *testing.T) {
	r := newRules(t, nil)
	r.put("a", "old")
	r.put("a", "new")
	undecided := r.putAs(batch.Producer{ID: 1, Transactional: true}, "b", "undecided")
	above := r.put("a", "newer")
	records, _, _ := offsets(r.compact())
	require.Equal(t, []int64{1, undecided, above}, records)
	r.mark(Marker{ProducerID: 1, Commit: true})
	records, _, _ = offsets(r.compact())
	require.Equal(t, []int64{undecided, above}, records[:2])
}

func TestRuleLags(t *testing.T) {
	r := newRules(t, func(c *Config) { c.MinCompactionLag = time.Hour })
	r.put("a", "old")
	r.put("a", "new")
	records, _, _ := offsets(r.compact())
	require.Equal(t, []int64{0, 1}, records, "it is too young")
	r.pass(61 * time.Minute)
	young := r.put("a", "newer")
	records, _, _ = offsets(r.compact())
	require.NotContains(t, records, int64(0))
	require.Contains(t, records, int64(1), "what is too young replaces nothing")
	require.Contains(t, records, young)

	r = newRules(t, func(c *Config) { c.MinCleanable, c.MaxCompactionLag = 1, time.Hour })
	r.put("a", "old")
	r.put("a", "new")
	r.compact()
	r.put("a", "newer") // a small share of the log is dirty
	for range 20 {
		r.put(fmt.Sprint("key ", r.l.End()), "v")
	}
	before := len(batchesOf(t, r.l))
	require.NoError(t, r.l.Compact(nil))
	require.Len(t, batchesOf(t, r.l), before, "it is not worth it")
	r.pass(61 * time.Minute)
	require.NoError(t, r.l.Compact(nil))
	require.Less(t, len(batchesOf(t, r.l)), before, "a record waits for an hour at most")
}

func TestRuleCompactedAndDeleted(t *testing.T) {
	r := newRules(t, func(c *Config) { c.Delete, c.RetentionAge = true, 24*time.Hour })
	r.put("a", "old")
	r.pass(23 * time.Hour)
	kept := r.put("a", "new")
	records, _, _ := offsets(r.compact())
	require.Equal(t, []int64{kept}, records)
	require.NoError(t, r.l.Maintain())
	require.Zero(t, r.l.Start(), "a segment's age is that of its last append, compacted or not")
	r.pass(25 * time.Hour)
	require.NoError(t, r.l.Maintain())
	require.Equal(t, r.l.End(), r.l.Start())
}

// Compaction keeps within its budget, and is interrupted by a deletion of records and by a close.
func TestCompactionIsPacedAndInterrupted(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 1 << 20, Compact: true, MinCleanable: 0.0001}
	waited, hook := time.Duration(0), func(time.Duration, func()) {}
	o := b.options()
	o.Pacer = NewPacer(func() int64 { return 1 << 20 }, b.clock, func(d time.Duration, f func()) func() bool {
		waited += d
		hook(d, f)
		return func() bool { return true }
	})
	l, err := Open(o)
	require.NoError(t, err)
	value := make([]byte, 10_000)
	fill := func() {
		for i := range 400 {
			bld := batch.NewBuilder(batch.None)
			bld.Append(1, fmt.Appendf(nil, "%d", i%300), value, nil)
			raw, err := bld.Finish(batch.NoProducer())
			require.NoError(t, err)
			_, err = l.Append(raw)
			require.NoError(t, err)
		}
		require.NoError(t, l.fsync())
	}
	fill()
	hook = func(d time.Duration, f func()) { b.pass(d); f() }
	size := l.SizeBytes()
	require.NoError(t, l.Compact(nil))
	// Two reads of the sealed segments, one write of what is left, and a second for nothing.
	require.InDelta(t, float64(2*size)/(1<<20)-1, waited.Seconds(), 3)
	require.Greater(t, waited, 4*time.Second)

	fill()
	waiting := make(chan struct{}, 1)
	hook = func(time.Duration, func()) { waiting <- struct{}{} } // forever
	compacted := make(chan error)
	for _, interrupt := range []func(){
		func() { _, err := l.TrimTo(1); require.NoError(t, err) },
		func() { require.NoError(t, l.Close()) },
	} {
		go func() { compacted <- l.Compact(nil) }()
		<-waiting
		require.NoError(t, l.Maintain(), "nobody waits for it")
		interrupt()
		require.NoError(t, <-compacted)
	}
	l, err = Open(b.options())
	require.NoError(t, err)
	require.NoError(t, l.Compact(nil))
	newest, _, _ := fold(t, l, 1<<20)
	require.Len(t, newest, 300)
	require.NoError(t, l.Close())
	stop := make(chan struct{})
	close(stop)
	l, err = Open(b.options())
	require.NoError(t, err)
	fill()
	cleaned := l.checkpoint.cleaned
	require.NoError(t, l.Compact(stop))
	require.Equal(t, cleaned, l.checkpoint.cleaned)
	require.NoError(t, l.Close())
}
