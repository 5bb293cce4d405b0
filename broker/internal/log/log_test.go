package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
)

// bench is a broker's worth of what a log needs.
type bench struct {
	alone   bool // nobody follows the logs, at first
	t       testing.TB
	fs      vfs.FS
	syncer  *Syncer
	memory  *Memory
	config  Config
	files   *Files
	advance func()

	mu  sync.Mutex
	now time.Time
}

func newBench(t testing.TB, fs vfs.FS, mode Sync) *bench {
	b := &bench{t: t, fs: fs, now: time.UnixMilli(1_700_000_000_000)}
	b.syncer = NewSyncer(SyncerOptions{Mode: mode, AfterFunc: func(time.Duration, func()) func() bool {
		return func() bool { return true } // SyncOS syncs at Close only
	}})
	b.memory = NewMemory(4 << 20)
	require.NoError(t, fs.MkdirAll("/data", 0o755))
	require.NoError(t, syncDir(fs, "/"))
	t.Cleanup(b.syncer.Close)
	return b
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bench) options() Options {
	return Options{FS: b.fs, Dir: b.fs.PathJoin("/data", "orders-0"), Topic: "orders", Now: b.clock, Syncer: b.syncer,
		Memory: b.memory, Files: b.files, Config: b.config, OnAdvance: b.advance}
}

func (b *bench) open() *Log {
	l, err := Open(b.options())
	require.NoError(b.t, err)
	if !b.alone {
		l.tail.follow()
	}
	return l
}

// upkeepOf does what the owner of a log does now and then.
func upkeepOf(l *Log) error { return errors.Join(l.Maintain(), l.Compact(nil)) }

// reopen closes the log and opens it again.
func (b *bench) reopen(l *Log) *Log {
	require.NoError(b.t, l.Close())
	return b.open()
}

type rec struct {
	ts         int64
	key, value string
}

// recs makes n records.
func recs(n int) []rec {
	out := make([]rec, n)
	for i := range out {
		out[i] = rec{ts: 1000 + int64(i), key: fmt.Sprintf("k%d", i), value: fmt.Sprintf("value-%d", i)}
	}
	return out
}

func makeBatch(t testing.TB, p batch.Producer, records ...rec) []byte {
	b := batch.NewBuilder(batch.None)
	for _, r := range records {
		b.Append(r.ts, []byte(r.key), []byte(r.value), nil)
	}
	raw, err := b.Finish(p)
	require.NoError(t, err)
	return raw
}

func plain(t testing.TB, records ...rec) []byte { return makeBatch(t, batch.NoProducer(), records...) }

func appendDurable(t testing.TB, l *Log, raw []byte) Appended {
	a, err := l.Append(raw)
	require.NoError(t, err)
	require.NoError(t, l.WaitDurable(context.Background(), a.LastOffset))
	return a
}

// values reads the whole log and returns the value of every record, by offset.
func values(t testing.TB, l *Log, isolation Isolation, maxBytes int) map[int64]string {
	got := make(map[int64]string)
	for offset := l.Start(); ; {
		r, err := l.Read(offset, maxBytes, isolation)
		require.NoError(t, err)
		if len(r.Batches) == 0 {
			return got
		}
		next := offset
		for _, run := range r.Batches {
			for len(run) > 0 {
				b, rest, err := batch.Parse(run)
				require.NoError(t, err)
				require.NoError(t, b.Verify())
				run, next = rest, b.LastOffset()+1
				if b.IsControl() {
					continue
				}
				it, err := b.Records(nil)
				require.NoError(t, err)
				var rec batch.Record
				for it.Next(&rec) {
					if rec.Offset >= offset {
						got[rec.Offset] = string(rec.Value)
					}
				}
				require.NoError(t, it.Err())
			}
		}
		require.Greater(t, next, offset)
		offset = next
	}
}

func isKafka(t testing.TB, want *kerr.Error, err error) {
	t.Helper()
	var got *kerr.Error
	require.ErrorAs(t, err, &got)
	require.Equal(t, want.Message, got.Message, err.Error())
}

func TestAppendAndReadInEveryMode(t *testing.T) {
	for mode := SyncGroup; mode <= SyncNever; mode++ {
		t.Run(mode.String(), func(t *testing.T) {
			b := newBench(t, vfs.NewMem(), mode)
			l := b.open()
			want := make(map[int64]string)
			for i := range 50 {
				r := recs(1 + i%7)
				raw := plain(t, r...)
				a := appendDurable(t, l, raw)
				require.Equal(t, a.BaseOffset+int64(len(r))-1, a.LastOffset)
				for j := range r {
					want[a.BaseOffset+int64(j)] = r[j].value
				}
			}
			require.Equal(t, l.End(), l.HighWatermark())
			require.Equal(t, l.End(), l.LastStable())
			for _, size := range []int{1, 300, 1 << 20} {
				require.Equal(t, want, values(t, l, ReadUncommitted, size))
			}
			l = b.reopen(l)
			require.Equal(t, want, values(t, l, ReadUncommitted, 1<<20))
			require.Equal(t, want, values(t, l, ReadCommitted, 1))
			require.NoError(t, l.Close())
		})
	}
}

func TestReadsEndAtTheHighWatermark(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncOS)
	l := b.open()
	a := appendDurable(t, l, plain(t, recs(3)...))
	r, err := l.Read(3, 1000, ReadUncommitted)
	require.NoError(t, err)
	require.Empty(t, r.Batches)
	_, err = l.Read(4, 1000, ReadUncommitted)
	isKafka(t, kerr.OffsetOutOfRange, err)
	_, err = l.Read(-1, 1000, ReadUncommitted)
	isKafka(t, kerr.OffsetOutOfRange, err)
	// From the middle of a batch: the whole batch.
	r, err = l.Read(1, 1, ReadUncommitted)
	require.NoError(t, err)
	require.Len(t, r.Batches, 1)
	got, _, err := batch.Parse(r.Batches[0])
	require.NoError(t, err)
	require.Equal(t, a.BaseOffset, got.BaseOffset())
	require.NoError(t, l.Close())
	_, err = l.Append(plain(t, recs(1)...))
	isKafka(t, kerr.KafkaStorageError, err)
}

func TestSegmentsRollAndAreReadFromFiles(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 2000, IndexBytes: 200, TailBytes: 1}
	b.memory = NewMemory(1)
	l := b.open()
	want := make(map[int64]string)
	for i := range 200 {
		r := []rec{{ts: int64(i), key: "k", value: fmt.Sprintf("v%d", i)}, {ts: int64(i), key: "k", value: "w"}}
		a := appendDurable(t, l, plain(t, r...))
		want[a.BaseOffset], want[a.BaseOffset+1] = r[0].value, r[1].value
	}
	require.Greater(t, len(*l.segments.Load()), 5)
	for range 3 {
		require.Equal(t, want, values(t, l, ReadUncommitted, 500))
		require.Equal(t, want, values(t, l, ReadUncommitted, 1))
		require.NoError(t, upkeepOf(l)) // drops idle indexes
		l = b.reopen(l)
	}
	names, err := b.fs.List(l.Dir())
	require.NoError(t, err)
	require.Contains(t, names, fileName(0, indexSuffix))
	require.NoError(t, l.Close())
}

func TestBrokenIndexIsRebuilt(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 3000, IndexBytes: 100, TailBytes: 1}
	b.memory = NewMemory(1)
	l := b.open()
	for i := range 100 {
		appendDurable(t, l, plain(t, rec{ts: int64(i), key: "k", value: fmt.Sprintf("v%d", i)}))
	}
	want := values(t, l, ReadUncommitted, 1<<20)
	require.NoError(t, l.Close())
	name := b.fs.PathJoin(l.Dir(), fileName(0, indexSuffix))
	content, err := readFile(b.fs, name)
	require.NoError(t, err)
	require.NotEmpty(t, content)
	for i := 7; i < len(content); i += 8 {
		content[i] ^= 1 // positions between two batches
	}
	require.NoError(t, writeFile(b.fs, name, content, false))
	require.NoError(t, b.fs.Remove(b.fs.PathJoin(l.Dir(), fileName((*l.segments.Load())[1].base, timeIndexSuffix))))
	l = b.open()
	require.Equal(t, want, values(t, l, ReadUncommitted, 1))
	for i := range int64(100) {
		found, ok, err := l.OffsetForTime(i)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, i, found.Offset)
	}
	require.NoError(t, l.Close())
}

func TestValidation(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	b.config = Config{MaxBatchBytes: 500, Compact: true}
	l := b.open()
	good := plain(t, recs(2)...)
	flipped := append([]byte(nil), good...)
	flipped[len(flipped)-1] ^= 1
	old := append([]byte(nil), good...)
	old[16] = 1
	nobody := makeBatch(t, batch.Producer{ID: -1, Transactional: true}, recs(1)...)
	control := batch.AppendControl(nil, batch.Control{Type: batch.Commit})
	for _, c := range []struct {
		name string
		raw  []byte
		want *kerr.Error
	}{
		{"nothing", nil, kerr.CorruptMessage},
		{"cut", good[:len(good)-1], kerr.CorruptMessage},
		{"flipped", flipped, kerr.CorruptMessage},
		{"second broken", append(append([]byte(nil), good...), flipped...), kerr.CorruptMessage},
		{"old format", old, kerr.UnsupportedForMessageFormat},
		{"large", plain(t, recs(50)...), kerr.MessageTooLarge},
		{"control", control, kerr.InvalidRecord},
		{"transaction of nobody", nobody, kerr.InvalidRecord},
		{"no sequence", makeBatch(t, batch.Producer{ID: 4, Sequence: -1}, recs(1)...), kerr.InvalidRecord},
	} {
		_, err := l.Append(c.raw)
		require.Error(t, err, c.name)
		isKafka(t, c.want, err)
		require.ErrorContains(t, err, "orders-0")
		if !strings.HasSuffix(c.name, "broken") && c.name != "flipped" { // the checksum alone is taken on trust
			_, err = l.AppendFrom(c.raw, OriginProcess)
			isKafka(t, c.want, err)
		}
	}
	bld := batch.NewBuilder(batch.None)
	bld.Append(1, []byte("k"), nil, nil)
	bld.Append(1, nil, []byte("v"), nil)
	raw, err := bld.Finish(batch.NoProducer())
	require.NoError(t, err)
	_, err = l.Append(raw)
	isKafka(t, kerr.InvalidRecord, err)
	var invalid *InvalidRecordsError
	require.ErrorAs(t, err, &invalid)
	require.Len(t, invalid.Records, 1)
	require.Equal(t, int32(1), invalid.Records[0].Index)
	require.Zero(t, l.End())
	_, err = l.AppendFrom(makeBatch(t, batch.Producer{ID: 4, Sequence: -1}, recs(40)...), OriginCoordinator)
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

func TestLogAppendTime(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	b.config = Config{LogAppendTime: true}
	l := b.open()
	a, err := l.Append(plain(t, recs(2)...))
	require.NoError(t, err)
	require.Equal(t, b.now.UnixMilli(), a.LogAppendTime)
	found, ok, err := l.OffsetForTime(b.now.UnixMilli())
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, TimeOffset{Offset: 0, Timestamp: b.now.UnixMilli()}, found)
	require.NoError(t, l.Close())
}

func TestOffsetForTimeAgainstAScan(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	b := newBench(t, vfs.NewMem(), SyncNever)
	b.config = Config{SegmentBytes: 1500, IndexBytes: 150, TailBytes: 1}
	l := b.open()
	var stamps []int64
	for i := range 150 {
		var r []rec
		for range 1 + rng.IntN(4) {
			ts := int64(10*i) + rng.Int64N(80)
			stamps = append(stamps, ts)
			r = append(r, rec{ts: ts, key: "k"})
		}
		_, err := l.Append(plain(t, r...))
		require.NoError(t, err)
	}
	check := func(start int64) {
		largest := TimeOffset{Timestamp: -1}
		for i, ts := range stamps {
			if int64(i) >= start && ts > largest.Timestamp {
				largest = TimeOffset{Offset: int64(i), Timestamp: ts}
			}
		}
		got, ok, err := l.MaxTimestamp()
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, largest, got)
		for ms := int64(-1); ms < 1700; ms += 7 {
			want := TimeOffset{Offset: -1}
			for i, ts := range stamps {
				if int64(i) >= start && ts >= ms {
					want = TimeOffset{Offset: int64(i), Timestamp: ts}
					break
				}
			}
			got, ok, err := l.OffsetForTime(ms)
			require.NoError(t, err)
			require.Equal(t, want.Offset >= 0, ok, ms)
			if ok {
				require.Equal(t, want, got, ms)
			}
		}
	}
	check(0)
	_, err := l.TrimTo(31)
	require.NoError(t, err)
	check(31)
	l = b.reopen(l)
	check(31)
	require.NoError(t, l.Close())
}

func TestMaxTimestampIsThatOfReadableRecords(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.syncer.Close() // nothing is synced but by hand
	l := b.open()
	_, err := l.Append(plain(t, rec{ts: 50}, rec{ts: 70}, rec{ts: 60}))
	require.NoError(t, err)
	_, ok, err := l.MaxTimestamp()
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, l.fsync())
	_, err = l.Append(plain(t, rec{ts: 90}))
	require.NoError(t, err)
	found, ok, err := l.MaxTimestamp()
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, TimeOffset{Offset: 1, Timestamp: 70}, found)
	require.NoError(t, l.fsync())
	found, _, err = l.MaxTimestamp()
	require.NoError(t, err)
	require.Equal(t, TimeOffset{Offset: 3, Timestamp: 90}, found)
	require.NoError(t, l.Close())
}

func TestTrimAndRetention(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 1000, Delete: true, RetentionAge: time.Hour, RetentionBytes: 3000}
	l := b.open()
	fill := func(n int) {
		for range n {
			appendDurable(t, l, plain(t, rec{ts: b.clock().UnixMilli(), key: "k", value: "0123456789"}))
		}
	}
	fill(100)
	_, err := l.TrimTo(101)
	isKafka(t, kerr.OffsetOutOfRange, err)
	start, err := l.TrimTo(35)
	require.NoError(t, err)
	require.Equal(t, int64(35), start)
	require.LessOrEqual(t, (*l.segments.Load())[0].base, int64(35))
	require.Greater(t, (*l.segments.Load())[1].base, int64(35))
	_, err = l.Read(34, 1000, ReadUncommitted)
	isKafka(t, kerr.OffsetOutOfRange, err)
	l = b.reopen(l)
	require.Equal(t, int64(35), l.Start())
	// By size: whole segments.
	require.NoError(t, upkeepOf(l))
	require.Less(t, l.SizeBytes(), int64(4100))
	require.Greater(t, l.SizeBytes(), int64(2000))
	require.Len(t, values(t, l, ReadUncommitted, 1<<20), int(l.End()-l.Start()))
	// By age: everything, the active segment too.
	b.pass(30 * time.Minute)
	fill(1)
	b.pass(31 * time.Minute)
	require.NoError(t, upkeepOf(l))
	require.LessOrEqual(t, l.Start(), int64(100))
	require.Less(t, int64(90), l.Start())
	b.pass(time.Hour)
	require.NoError(t, upkeepOf(l))
	require.Equal(t, int64(101), l.Start())
	require.Equal(t, int64(101), l.End())
	require.Zero(t, l.SizeBytes())
	fill(2)
	start, err = l.TrimTo(-1)
	require.NoError(t, err)
	require.Equal(t, int64(103), start)
	require.Zero(t, l.SizeBytes())
	l = b.reopen(l)
	require.Equal(t, int64(103), l.Start())
	require.Equal(t, int64(103), l.End())
	fill(1)
	require.Len(t, values(t, l, ReadUncommitted, 100), 1)
	require.NoError(t, l.Release())
}

func TestWatchFiresWhenReadable(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	l := b.open()
	w := NewWatch()
	require.False(t, l.Watch(w, 0, 0, ReadUncommitted))
	a, err := l.Append(makeBatch(t, batch.Producer{ID: 7, Transactional: true}, recs(2)...))
	require.NoError(t, err)
	<-w.C()
	require.Greater(t, l.HighWatermark(), a.LastOffset)
	require.True(t, l.Watch(w, 0, 0, ReadUncommitted))
	require.False(t, l.Watch(w, 0, 0, ReadCommitted))
	_, err = l.AppendMarker(Marker{ProducerID: 7, Commit: true})
	require.NoError(t, err)
	<-w.C() // when the marker is written, or durable
	l.WaitMarkers(context.Background())
	require.Equal(t, int64(3), l.LastStable())
	require.False(t, l.Watch(w, 0, 100, ReadCommitted))
	l.Unwatch(w)
	require.False(t, l.Watch(w, 0, 100, ReadCommitted))
	require.NoError(t, l.Close())
	<-w.C()
}

// The watches for a record have fired when its append is answered.
func TestWatchesFireBeforeAnAppendIsAnswered(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	l := b.open()
	for range 5000 {
		var fired atomic.Bool
		require.False(t, l.Watch(NewWatchFunc(func() { fired.Store(true) }), 0, l.End(), ReadUncommitted))
		appendDurable(t, l, plain(t, recs(1)...))
		require.True(t, fired.Load())
	}
	require.NoError(t, l.Close())
}

// One who waits behind a transaction is told that the log begins later, once.
func TestWatchFiresWhenTheStartMoves(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	l := b.open()
	appendDurable(t, l, plain(t, recs(2)...))
	appendDurable(t, l, makeBatch(t, batch.Producer{ID: 7, Transactional: true}, recs(2)...))
	require.EqualValues(t, 2, l.LastStable())
	fired := 0
	w := NewWatchFunc(func() { fired++ })
	require.False(t, l.Watch(w, 0, 2, ReadCommitted))
	for _, start := range []int64{1, 4} {
		_, err := l.TrimTo(start)
		require.NoError(t, err)
		require.Equal(t, 1, fired)
	}
	require.True(t, l.Watch(w, 1, 2, ReadCommitted))
	require.False(t, l.Watch(w, 4, 2, ReadCommitted))
	require.NoError(t, l.Close())
	require.Equal(t, 2, fired)
}

func TestWaitDurableEndsWithItsContext(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	l := b.open()
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("enough"))
	require.ErrorContains(t, l.WaitDurable(ctx, 5), "enough")
	require.NoError(t, l.Close())
	isKafka(t, kerr.KafkaStorageError, l.WaitDurable(context.Background(), 5))
}

func TestMemoryBudgetIsShared(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	b.memory = NewMemory(64 << 10)
	var logs []*Log
	for i := range 4 {
		o := b.options()
		o.Dir = b.fs.PathJoin("/data", fmt.Sprintf("orders-%d", i))
		l, err := Open(o)
		require.NoError(t, err)
		logs = append(logs, l)
	}
	for i := range 400 {
		_, err := logs[i%4].Append(plain(t, recs(20)...))
		require.NoError(t, err)
		require.LessOrEqual(t, b.memory.Bytes(), int64(64<<10)+maxChunkBytes)
	}
	for _, l := range logs {
		require.Len(t, values(t, l, ReadUncommitted, 10_000), 2000)
		require.NoError(t, l.Close())
	}
	require.Zero(t, b.memory.Bytes())
}

func TestConcurrentAppendersReadersAndMaintenance(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 20_000, IndexBytes: 500, TailBytes: 10_000, Compact: true, MinCleanable: 0.01}
	l := b.open()
	const writers, each = 4, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				p := batch.Producer{ID: int64(w), Sequence: int32(3 * i), Transactional: w%2 == 0}
				a, err := l.Append(makeBatch(t, p, recs(3)...))
				if err == nil && i%3 == 0 {
					err = l.WaitDurable(context.Background(), a.LastOffset)
				}
				if err == nil && p.Transactional && i%5 == 4 {
					_, err = l.AppendMarker(Marker{ProducerID: p.ID, Commit: i%2 == 0})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for _, isolation := range []Isolation{ReadUncommitted, ReadCommitted} {
		wg.Go(func() {
			watch := NewWatch()
			for offset := int64(0); offset < writers*each*3; {
				r, err := l.Read(offset, 3000, isolation)
				if err != nil {
					t.Error(err)
					return
				}
				if len(r.Batches) == 0 {
					if !l.Watch(watch, 0, offset, isolation) {
						<-watch.C()
					}
					continue
				}
				offset = endOf(r.Batches[len(r.Batches)-1])
				if isolation == ReadCommitted && offset > r.LastStable || offset > r.HighWatermark {
					t.Errorf("read up to %d beyond %d, %d", offset, r.HighWatermark, r.LastStable)
				}
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			if err := upkeepOf(l); err != nil {
				t.Error(err)
			}
			_, _, _ = l.OffsetForTime(1001)
			l.OpenTransactions()
		}
	})
	wg.Wait()
	require.NoError(t, l.Close())
}

// TestTailIsKeptWhileSomebodyFollows reads batches out of memory after a reader has come to the end, and takes no
// memory before, nor when nobody has read for long.
func TestTailIsKeptWhileSomebodyFollows(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	b.alone = true
	b.config.TailBytes = 1 << 20
	l := b.open()
	defer l.Close()
	large := strings.Repeat("x", maxChunkBytes/2)
	next := func(n int) {
		for range n {
			_, err := l.Append(plain(t, rec{ts: 1, key: "k", value: fmt.Sprint(l.End(), large)}))
			require.NoError(t, err)
		}
	}
	read := func(offset int64) ReadResult {
		r, err := l.Read(offset, 1<<20, ReadUncommitted)
		require.NoError(t, err)
		return r
	}
	next(5)
	require.NotEmpty(t, read(3).Batches)
	next(1)
	require.Zero(t, b.memory.Bytes(), "the reader is behind")

	require.Empty(t, read(6).Batches)
	next(2)
	require.NotZero(t, b.memory.Bytes(), "the reader is up to date")
	held := read(6).Batches[0]
	before := bytes.Clone(held)
	require.Same(t, &held[0], &read(6).Batches[0][0], "out of the tail")

	next(30)
	require.Zero(t, b.memory.Bytes(), "nobody reads any more")
	require.Equal(t, before, held)
	require.Equal(t, before, read(6).Batches[0][:len(before)], "out of the file")
	require.Len(t, values(t, l, ReadUncommitted, 1<<20), 38)
	next(2)
	require.NotZero(t, b.memory.Bytes(), "values has read up to the end")
	require.Len(t, values(t, l, ReadUncommitted, 1<<20), 40)
}

func TestIndexFindsTheEndOfARead(t *testing.T) {
	var x index
	x.reset()
	for i := range 10 {
		x.add(0, int64(i), i*100, 100, 1, 50)
	}
	require.EqualValues(t, 400, x.within(100, 499))
	require.EqualValues(t, 400, x.within(100, 400))
	require.EqualValues(t, -1, x.within(400, 499), "nothing begins in between")
	require.EqualValues(t, -1, x.within(900, 2000))
	require.EqualValues(t, 900, x.within(0, 2000))
}

func TestSummedBatchesAreNotSummedAgain(t *testing.T) {
	l := newBench(t, vfs.NewMem(), SyncNever).open()
	wrong := plain(t, recs(2)...)
	wrong[17] ^= 1 // the checksum itself
	_, err := l.Append(wrong)
	isKafka(t, kerr.CorruptMessage, err)
	_, err = l.AppendFrom(wrong, OriginProcess)
	require.NoError(t, err)
	require.EqualValues(t, 2, l.End())
	require.NoError(t, l.Close())
}
