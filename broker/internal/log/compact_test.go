package log

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/faultfs"
	"thalweg/internal/memory"
)

// entry is what a reader knows of a key.
type entry struct {
	offset int64
	value  string
	dead   bool // a tombstone
}

// fold reads the log as a consumer under read_committed does, from the start, and returns the newest record of each
// key, the number of records, and that of markers.
func fold(t testing.TB, l *Log, maxBytes int) (newest map[string]entry, records, markers int) {
	newest = make(map[string]entry)
	void := map[int64]bool{}
	for offset := l.Start(); offset < l.LastStable(); {
		r, err := l.Read(offset, maxBytes, ReadCommitted)
		require.NoError(t, err)
		if len(r.Batches) == 0 {
			return newest, records, markers
		}
		aborted := r.Aborted
		for _, run := range r.Batches {
			for b, err := range batch.BatchesOf(run) {
				require.NoError(t, err)
				offset = b.LastOffset() + 1
				for len(aborted) > 0 && aborted[0].FirstOffset <= b.LastOffset() {
					void[aborted[0].ProducerID] = true
					aborted = aborted[1:]
				}
				if b.IsControl() {
					markers++
					if kind, _, err := b.Control(); err == nil && kind == batch.Abort {
						delete(void, b.ProducerID())
					}
					continue
				}
				if b.IsTransactional() && void[b.ProducerID()] {
					continue
				}
				it, err := b.Records(nil)
				require.NoError(t, err)
				var rec batch.Record
				for it.Next(&rec) {
					records++
					newest[string(rec.Key)] = entry{rec.Offset, string(rec.Value), rec.Value == nil}
				}
				require.NoError(t, it.Err())
			}
		}
	}
	return newest, records, markers
}

// alive drops the tombstones.
func alive(m map[string]entry) map[string]entry {
	m = maps.Clone(m)
	maps.DeleteFunc(m, func(_ string, e entry) bool { return e.dead })
	return m
}

// keyed appends random keyed batches: plain ones, and transactions of two producers that commit or abort.
type keyed struct {
	t        testing.TB
	rng      *rand.Rand
	sequence map[int64]int32
	open     map[int64]bool
}

func (k *keyed) append(l *Log, n int) {
	for range n {
		id := k.rng.Int64N(3) - 1
		if id >= 0 && k.open[id] && k.rng.IntN(4) == 0 {
			_, err := l.AppendMarker(Marker{ProducerID: id, Commit: k.rng.IntN(2) == 0})
			require.NoError(k.t, err)
			k.open[id] = false
			continue
		}
		bld := batch.NewBuilder(batch.Compression(k.rng.IntN(2) * int(batch.LZ4)))
		count := 1 + k.rng.IntN(5)
		for i := range count {
			value := []byte(fmt.Sprintf("value %d of batch %d", i, l.End()))
			if k.rng.IntN(6) == 0 {
				value = nil
			}
			bld.Append(int64(i), []byte(fmt.Sprintf("key-%d", k.rng.IntN(30))), value, nil)
		}
		p := batch.NoProducer()
		if id >= 0 {
			p = batch.Producer{ID: id, Sequence: k.sequence[id], Transactional: true}
			k.sequence[id] += int32(count)
			k.open[id] = true
		}
		raw, err := bld.Finish(p)
		require.NoError(k.t, err)
		_, err = l.Append(raw)
		require.NoError(k.t, err)
	}
}

// finish ends all transactions.
func (k *keyed) finish(l *Log) {
	for id := range int64(2) {
		if k.open[id] {
			_, err := l.AppendMarker(Marker{ProducerID: id, Commit: true})
			require.NoError(k.t, err)
			k.open[id] = false
		}
	}
}

func TestCompactionKeepsTheNewestOfEachKey(t *testing.T) {
	for range 10 {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 4))
		b := newBench(t, vfs.NewMem(), SyncGroup)
		b.config = Config{SegmentBytes: 2500, IndexBytes: 300, TailBytes: 1, Compact: true}
		b.memory = NewMemory(1)
		l := b.open()
		k := &keyed{t: t, rng: rng, sequence: map[int64]int32{}, open: map[int64]bool{}}
		for round := range 6 {
			k.append(l, 60)
			require.NoError(t, l.fsync())
			want, before, _ := fold(t, l, 1+rng.IntN(5000))
			size, end := l.SizeBytes(), l.End()
			require.NoError(t, upkeepOf(l))
			for range 2 {
				got, after, _ := fold(t, l, 1+rng.IntN(5000))
				require.Equal(t, want, got, "nothing is younger than the delete retention yet")
				require.Equal(t, end, l.End())
				if round > 0 { // an open transaction may hold everything back
					require.LessOrEqual(t, after, before)
					require.LessOrEqual(t, l.SizeBytes(), size)
				}
				l = b.reopen(l)
			}
			require.Equal(t, k.open[0] || k.open[1], len(l.OpenTransactions()) > 0)
		}
		k.finish(l)
		require.NoError(t, l.fsync())
		// The producers are known by the log alone.
		producers := l.Producers()
		require.NoError(t, l.Close())
		names, err := b.fs.List(l.Dir())
		require.NoError(t, err)
		for _, offset := range snapshotOffsets(names) {
			require.NoError(t, b.fs.Remove(b.fs.PathJoin(l.Dir(), fileName(offset, producersSuffix))))
		}
		l = b.open()
		require.Equal(t, len(producers), len(l.Producers()))
		for i, p := range l.Producers() {
			require.Equal(t, producers[i].LastSequence, p.LastSequence)
			require.Equal(t, int64(-1), p.TxnFirstOffset)
		}
		require.Equal(t, l.End(), l.LastStable())
		// After the delete retention the tombstones and the markers of the clean part go, but for the producers' last.
		want, _, markersBefore := fold(t, l, 1000)
		for range 3 {
			b.pass(25 * time.Hour)
			for range 40 {
				_, err := l.Append(plain(t, rec{ts: 1, key: "filler", value: fmt.Sprintf("%0100d", l.End())}))
				require.NoError(t, err)
			}
			require.NoError(t, l.fsync())
			require.NoError(t, upkeepOf(l))
		}
		got, records, markers := fold(t, l, 1000)
		delete(got, "filler")
		delete(want, "filler")
		require.Equal(t, alive(want), alive(got))
		require.Equal(t, alive(got), got, "tombstones are gone")
		require.Less(t, records, 150)
		require.Less(t, markers, markersBefore, "a marker stays as long as a record of its transaction does")
		require.NoError(t, l.Close())
	}
}

// With memory for a few keys at a time it takes more rounds, and keeps the same.
func TestCompactionWithLittleMemory(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	b.config = Config{SegmentBytes: 2500, IndexBytes: 300, TailBytes: 1, Compact: true}
	b.memory = NewMemory(1)
	share := memory.NewShare(memory.Compaction, 10*compactionKeyBytes)
	b.memory.compaction = share
	l := b.open()
	k := &keyed{t: t, rng: rand.New(rand.NewPCG(1, 4)), sequence: map[int64]int32{}, open: map[int64]bool{}}
	k.append(l, 200)
	k.finish(l)
	require.NoError(t, l.fsync())
	want, before, _ := fold(t, l, 1000)
	require.NoError(t, upkeepOf(l))
	_, first, _ := fold(t, l, 1000)
	require.Greater(t, first, before/2, "30 keys do not fit into one round")
	for range 60 {
		require.NoError(t, upkeepOf(l))
	}
	got, after, _ := fold(t, l, 1000)
	require.Equal(t, want, got)
	require.Less(t, after, first)
	require.Zero(t, share.UsedBytes())
	require.NoError(t, l.Close())
}

func TestCompactionWaitsUntilItIsWorthIt(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 1000, Compact: true, MinCompactionLag: time.Hour}
	l := b.open()
	for range 100 {
		_, err := l.Append(plain(t, rec{ts: b.clock().UnixMilli(), key: "k", value: "some value of it"}))
		require.NoError(t, err)
	}
	size := l.SizeBytes()
	require.NoError(t, upkeepOf(l))
	require.Equal(t, size, l.SizeBytes(), "too young")
	b.pass(2 * time.Hour)
	require.NoError(t, upkeepOf(l))
	require.Less(t, l.SizeBytes(), int64(1300))
	cleaned := l.checkpoint.cleaned
	require.NoError(t, upkeepOf(l))
	require.Equal(t, cleaned, l.checkpoint.cleaned)
	require.NoError(t, l.Close())
}

// TestPowerCutsInCompaction cuts the power at every point of a compaction: what is left must read the same.
func TestPowerCutsInCompaction(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for left := 1; ; left++ {
		rng := rand.New(rand.NewPCG(seed, 5))
		power := faultfs.NewPowerCut(vfs.NewCrashableMem(), rand.New(rand.NewPCG(seed, 6)))
		b := newBench(t, power.FS(), SyncGroup)
		b.config = Config{SegmentBytes: 1500, IndexBytes: 300, Compact: true}
		l := b.open()
		k := &keyed{t: t, rng: rng, sequence: map[int64]int32{}, open: map[int64]bool{}}
		k.append(l, 80)
		k.finish(l)
		require.NoError(t, l.fsync())
		b.syncer.Close()
		want, _, _ := fold(t, l, 5000)
		power.Arm(left, nil)
		require.NoError(t, upkeepOf(l))
		select {
		case <-power.Done():
		default:
			require.NoError(t, l.Close())
			require.Greater(t, left, 20)
			return
		}
		require.NoError(t, l.Close())
		crashed := newBench(t, power.Now(), SyncGroup)
		crashed.config = b.config
		l = crashed.open()
		for range 2 {
			got, _, _ := fold(t, l, 700)
			require.Equal(t, want, got, "cut %d", left)
			require.Equal(t, l.End(), l.LastStable())
			require.NoError(t, upkeepOf(l))
			l = crashed.reopen(l)
		}
		got, _, _ := fold(t, l, 700)
		require.Equal(t, want, got, "cut %d", left)
		require.NoError(t, l.Close())
	}
}

func TestCompactionDropsAbortedRecords(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	b.config = Config{SegmentBytes: 400, Compact: true}
	l := b.open()
	for i := range int32(20) {
		_, err := l.Append(makeBatch(t, batch.Producer{ID: 1, Sequence: i, Transactional: true},
			rec{ts: 1, key: fmt.Sprintf("k%d", i), value: "void"}))
		require.NoError(t, err)
	}
	_, err := l.AppendMarker(Marker{ProducerID: 1})
	require.NoError(t, err)
	for range 10 {
		_, err := l.Append(plain(t, rec{ts: 1, key: "filler", value: "something"}))
		require.NoError(t, err)
	}
	require.NoError(t, upkeepOf(l))
	for _, value := range values(t, l, ReadUncommitted, 1000) {
		require.Equal(t, "something", value)
	}
	require.NoError(t, l.Close())
}

// A compaction that fails leaves no file open.
func TestAFailedCompactionClosesItsFiles(t *testing.T) {
	for name, fault := range map[string]*faultfs.Fault{
		"before the decision": {Path: cleanedSuffix, Kind: isRename, Err: errors.New("no room for a name")},
		"after it":            {Path: swapTxnSuffix, Kind: isRename, Skip: 1, Err: errors.New("no room for a name")},
		"between them":        {Dir: closedDir, Skip: 1, Err: errors.New("the disk is gone"), Kind: isSync},
	} {
		t.Run(name, func(t *testing.T) {
			fs := faultfs.New(vfs.NewMem())
			b := newBench(t, fs, SyncGroup)
			b.files = NewFiles(0)
			b.config = Config{SegmentBytes: 500, Compact: true, MinCleanable: 0.01}
			l := b.open()
			for range 20 {
				appendDurable(t, l, plain(t, recs(2)...))
			}
			require.NoError(t, l.fsync())
			fs.Fail(fault)
			require.Error(t, l.Compact(nil))
			require.Positive(t, fault.Hits.Load())
			fs.Fail(nil)
			_ = l.Close() // where the log has failed, it says so
			require.Zero(t, b.files.Open())
		})
	}
}

func isSync(kind errorfs.OpKind) bool { return kind == errorfs.OpFileSync }
