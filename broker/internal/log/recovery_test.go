package log

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
	"thalweg/internal/faultfs"
)

// overwrite changes a file's bytes in place, or makes it longer.
func overwrite(t testing.TB, fs vfs.FS, name string, at int64, content []byte) {
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.WriteAt(content, at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// halt stops using a log as a kill would: nothing is written any more.
func (b *bench) halt(l *Log) { require.NoError(b.t, l.shut()) }

func TestTornTailIsCut(t *testing.T) {
	whole := plain(t, recs(4)...)
	batch.SetBaseOffset(whole, 12, 0)
	wrongOffset := plain(t, recs(4)...)
	batch.SetBaseOffset(wrongOffset, 99, 0)
	for name, tail := range map[string][]byte{
		"half a batch":    whole[:len(whole)-7],
		"half a header":   whole[:30],
		"zeros":           make([]byte, 10_000),
		"noise":           []byte("what is this? some noise that is longer than a header, so more than 61 B"),
		"a wrong offset":  wrongOffset,
		"a hole behind 1": append(append([]byte(nil), whole...), make([]byte, 5000)...),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, vfs.NewMem(), SyncGroup)
			l := b.open()
			for range 3 {
				appendDurable(t, l, plain(t, recs(4)...))
			}
			size := l.SizeBytes()
			b.syncer.Close()
			b.halt(l)
			overwrite(t, b.fs, l.active().path(logSuffix), size, tail)
			l = b.open()
			n := 12
			if name == "a hole behind 1" {
				n = 16
			}
			require.Equal(t, int64(n), l.End())
			require.Len(t, values(t, l, ReadUncommitted, 100), n)
			info, err := b.fs.Stat(l.active().path(logSuffix))
			require.NoError(t, err)
			require.Equal(t, l.SizeBytes(), info.Size(), "the file ends where the batches do")
			a, err := l.Append(plain(t, recs(1)...))
			require.NoError(t, err)
			require.Equal(t, int64(n), a.BaseOffset)
			l = b.reopen(l)
			require.Len(t, values(t, l, ReadUncommitted, 100), n+1)
			require.NoError(t, l.Close())
		})
	}
}

func TestDamageBelowTheSyncedOffsetIsAnError(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	l := b.open()
	for range 5 {
		appendDurable(t, l, plain(t, recs(2)...))
	}
	size := l.SizeBytes()
	require.NoError(t, l.fsync())
	name := l.active().path(logSuffix)
	b.syncer.Close()
	b.halt(l)
	content, err := readFile(b.fs, name)
	require.NoError(t, err)

	overwrite(t, b.fs, name, size/2, []byte{content[size/2] ^ 1})
	_, err = Open(b.options())
	isKafka(t, kerr.KafkaStorageError, err)
	for _, part := range []string{"orders-0", name, "offset 4", "10", "restore"} {
		require.ErrorContains(t, err, part)
	}
	// Cut at the end of a batch: nothing is broken, but something is missing.
	require.NoError(t, writeFile(b.fs, name, slices.Clone(content[:size*4/5]), false))
	_, err = Open(b.options())
	isKafka(t, kerr.KafkaStorageError, err)
	require.ErrorContains(t, err, "synced up to offset 10")
	require.NoError(t, b.fs.Remove(name))
	_, err = Open(b.options())
	isKafka(t, kerr.KafkaStorageError, err)
	require.NoError(t, writeFile(b.fs, name, slices.Clone(content), false))
	l = b.open()
	require.Len(t, values(t, l, ReadUncommitted, 100), 10)
	require.NoError(t, l.Close())
}

func TestDamageInAFileIsNeverServed(t *testing.T) {
	for name, index := range map[string]int{"without index entries": 0, "with an index entry for each batch": 1} {
		t.Run(name, func(t *testing.T) { testDamageInAFile(t, index) })
	}
}

func testDamageInAFile(t *testing.T, index int) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 1000, IndexBytes: index}
	l := b.open()
	for i := range 30 {
		appendDurable(t, l, plain(t, rec{ts: 1, key: "k", value: fmt.Sprintf("value %d", i)}))
	}
	want := values(t, l, ReadUncommitted, 1)
	require.NoError(t, l.Close())
	name := (*l.segments.Load())[0].path(logSuffix)
	content, err := readFile(b.fs, name)
	require.NoError(t, err)
	for at := 0; at < len(content); at += 5 {
		overwrite(t, b.fs, name, int64(at), []byte{content[at] ^ 0x10})
		l = b.open() // a clean close: the file is not looked at
		failed := false
		for offset := range int64(30) {
			r, err := l.Read(offset, 1, ReadUncommitted)
			if err != nil {
				failed = true
				isKafka(t, kerr.CorruptMessage, err)
				require.ErrorContains(t, err, name)
				damage, ok := errors.AsType[*DamageError](err)
				require.True(t, ok)
				require.Equal(t, offset+1, damage.Next, "byte %d", at)
				r, err := l.Read(damage.Next, 1, ReadUncommitted)
				require.NoError(t, err)
				after, _, err := batch.Parse(r.Batches[0])
				require.NoError(t, err)
				require.Equal(t, damage.Next, after.BaseOffset())
				continue
			}
			got, _, err := batch.Parse(r.Batches[0])
			require.NoError(t, err)
			it, err := got.Records(nil)
			require.NoError(t, err)
			var rec batch.Record
			require.True(t, it.Next(&rec))
			require.Equal(t, want[rec.Offset], string(rec.Value))
		}
		// The leader epoch is outside of the checksum and means nothing to us.
		inBatch := at % (len(content) / int((*l.segments.Load())[1].base))
		if inBatch < 12 || inBatch > 15 {
			require.True(t, failed, "byte %d", at)
		}
		require.NoError(t, l.Close())
		overwrite(t, b.fs, name, int64(at), content[at:at+1])
	}
}

func TestFailedFsyncIsFinal(t *testing.T) {
	fs := faultfs.New(vfs.NewMem())
	b := newBench(t, fs, SyncGroup)
	l := b.open()
	appendDurable(t, l, plain(t, recs(2)...))
	fs.Fail(&faultfs.Fault{Kind: faultfs.Syncs, Err: errors.New("the disk is on fire")})
	a, err := l.Append(plain(t, recs(2)...))
	require.NoError(t, err)
	err = l.WaitDurable(context.Background(), a.LastOffset)
	isKafka(t, kerr.KafkaStorageError, err)
	require.ErrorContains(t, err, "on fire")
	fs.Fail(nil)
	_, err = l.Append(plain(t, recs(1)...))
	require.ErrorContains(t, err, "on fire")
	require.Error(t, upkeepOf(l))
	require.Equal(t, int64(2), l.HighWatermark(), "what is not durable is not served")
	require.Len(t, func() [][]byte { r, _ := l.Read(0, 1000, ReadUncommitted); return r.Batches }(), 1)
	require.Error(t, l.Close())
	l = b.open()
	require.NoError(t, l.Close())
}

func TestFullDiskLeavesTheLogUsable(t *testing.T) {
	fs := faultfs.New(vfs.NewMem())
	full := &faultfs.Fault{Kind: faultfs.Grows, Err: errors.New("no space left on device")}
	b := newBench(t, fs, SyncGroup)
	b.config = Config{SegmentBytes: 600}
	l := b.open()
	p := batch.Producer{ID: 3}
	for range 20 {
		fs.Fail(full)
		_, err := l.Append(makeBatch(t, p, recs(2)...))
		isKafka(t, kerr.KafkaStorageError, err)
		require.ErrorContains(t, err, "no space left")
		fs.Fail(nil)
		a := appendDurable(t, l, makeBatch(t, p, recs(2)...))
		require.False(t, a.Duplicate, "the refused batch left no trace")
		p.Sequence += 2
	}
	require.Len(t, values(t, l, ReadUncommitted, 100), 40)
	l = b.reopen(l)
	require.Len(t, values(t, l, ReadUncommitted, 100), 40)
	require.NoError(t, l.Close())
}

// TestHalfWrittenAppendDoesNotSurvive leaves half a batch behind a failed write; the next one is shorter, and the
// segment is sealed before anything else could write over the rest.
func TestHalfWrittenAppendDoesNotSurvive(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	l := b.open()
	appendDurable(t, l, plain(t, recs(2)...))
	active := l.active()
	overwrite(t, b.fs, active.path(logSuffix), active.size.Load(), plain(t, recs(30)...)[:900])
	active.stream, active.torn = nil, true
	appendDurable(t, l, plain(t, recs(1)...))
	l.mu.Lock()
	_, err := l.roll()
	l.mu.Unlock()
	require.NoError(t, err)
	appendDurable(t, l, plain(t, recs(3)...))
	for range 2 {
		l.tail.clear()
		require.Len(t, values(t, l, ReadUncommitted, 10_000), 6)
		b.syncer.Close()
		b.halt(l)
		l = b.open()
	}
	require.NoError(t, l.Close())
}

// TestPowerCuts appends from several producers, cuts the power between any two operations of the file system, opens
// what is left, and demands: everything acknowledged is there and unchanged; nothing is served that was not appended;
// the offsets continue where they ended; retries of acknowledged batches are recognized. Then it continues from there.
func TestPowerCuts(t *testing.T) {
	for range 60 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			cutPower(t, rand.New(rand.NewPCG(seed, 3)))
		})
	}
}

func cutPower(t *testing.T, rng *rand.Rand) {
	mode := SyncGroup
	if rng.IntN(4) == 0 {
		mode = SyncAlways
	}
	mem := vfs.NewCrashableMem()
	acked := map[int64]string{} // by offset
	start := int64(0)
	for round := range 4 {
		var mu sync.Mutex
		offered := map[string]bool{}
		atCut, startAtCut := map[int64]string{}, int64(0)
		power := faultfs.NewPowerCut(mem, rand.New(rand.NewPCG(rng.Uint64(), 4)))
		b := newBench(t, power.FS(), mode)
		b.files = NewFiles(2 + rng.IntN(4))
		b.config = Config{SegmentBytes: 500 + rng.Int64N(3000), IndexBytes: 300, TailBytes: 2000, UncheckedBytes: 400}
		power.Arm(1+rng.IntN(300), func() {
			mu.Lock()
			defer mu.Unlock()
			atCut, startAtCut = maps.Clone(acked), start
		})
		l := b.open()
		for offset, value := range values(t, l, ReadUncommitted, 3000) {
			offered[value] = true
			acked[offset] = value
		}
		produce(t, l, round, &mu, acked, offered, rng)
		if rng.IntN(3) == 0 {
			_, err := l.TrimTo(l.HighWatermark() / 2)
			require.NoError(t, err)
			mu.Lock()
			start = l.Start()
			mu.Unlock()
		}
		require.NoError(t, upkeepOf(l))
		require.NoError(t, l.Close())
		mem = power.Now() // where the cut would have come later
		check := newBench(t, mem, mode)
		check.config = b.config
		l = check.open()
		got := values(t, l, ReadUncommitted, 1000)
		require.LessOrEqual(t, l.Start(), start)
		for offset, value := range atCut {
			if offset >= l.Start() && offset >= startAtCut {
				require.Equal(t, value, got[offset], "acknowledged, at offset %d", offset)
			}
		}
		for offset, value := range got {
			require.True(t, offered[value], "nobody appended %q at %d", value, offset)
		}
		requireRetries(t, l, round, atCut, startAtCut)
		require.NoError(t, l.Close())
		acked, start = got, l.Start()
		mem = crashedClean(mem)
	}
}

// crashedClean is what a power cut after a clean close leaves.
func crashedClean(mem *vfs.MemFS) *vfs.MemFS { return mem.CrashClone(vfs.CrashCloneCfg{}) }

const producersOfRound = 3

// produce appends from several producers at once. acked holds what was acknowledged.
func produce(t *testing.T, l *Log, round int, mu *sync.Mutex, acked map[int64]string, offered map[string]bool,
	rng *rand.Rand,
) {
	rounds := 10 + rng.IntN(30)
	var wg sync.WaitGroup
	for w := range producersOfRound {
		wg.Go(func() {
			for i := range rounds {
				value := fmt.Sprintf("r%d-w%d-%d", round, w, i)
				mu.Lock()
				offered[value] = true
				mu.Unlock()
				p := batch.Producer{ID: int64(10*round + w), Sequence: int32(i), Transactional: w == 0}
				a, err := l.Append(makeBatch(t, p, rec{ts: int64(i), key: "k", value: value}))
				if err == nil {
					err = l.WaitDurable(context.Background(), a.LastOffset)
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked[a.BaseOffset] = value
				mu.Unlock()
				if w == 0 && i%4 == 3 {
					if _, err := l.AppendMarker(Marker{ProducerID: p.ID, Commit: i%8 == 3}); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// requireRetries sends the newest acknowledged batch of each producer again: the log must know it.
func requireRetries(t *testing.T, l *Log, round int, acked map[int64]string, start int64) {
	for w := range producersOfRound {
		newest, at := -1, int64(-1)
		for offset, value := range acked {
			var r, p, i int
			_, err := fmt.Sscanf(value, "r%d-w%d-%d", &r, &p, &i)
			require.NoError(t, err)
			if r == round && p == w && i > newest {
				newest, at = i, offset
			}
		}
		if newest < 0 || at < start {
			continue
		}
		p := batch.Producer{ID: int64(10*round + w), Sequence: int32(newest), Transactional: w == 0}
		a, err := l.Append(makeBatch(t, p, rec{ts: int64(newest), key: "k", value: acked[at]}))
		require.NoError(t, err)
		require.True(t, a.Duplicate)
		require.Equal(t, at, a.BaseOffset)
	}
}

// However few entries the index is to have, a read and a search behind damage look at the file piece by piece.
func TestFewIndexEntriesCostNoMemory(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	b.alone, b.config = true, Config{IndexBytes: math.MaxInt32}
	l := b.open()
	raw := plain(t, rec{ts: 1, key: "k", value: strings.Repeat("v", 100_000)})
	const n = 200
	for range n {
		_, err := l.Append(slices.Clone(raw))
		require.NoError(t, err)
	}
	allocated := func(offset int64) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := l.Read(offset, 1, ReadUncommitted)
		runtime.ReadMemStats(&after)
		if err == nil {
			require.Len(t, r.Batches, 1)
		} else {
			damage, ok := errors.AsType[*DamageError](err)
			require.True(t, ok, err)
			require.Equal(t, offset+1, damage.Next)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	const most = 10 * maxIndexBytes
	require.Less(t, allocated(n-2), uint64(most))
	require.Less(t, allocated(0), uint64(most))
	overwrite(t, b.fs, l.active().path(logSuffix), 8, []byte{0xff, 0xff, 0xff, 0xff}) // no size to go by
	l.active().index.offsets = nil                                                    // as an older version wrote it
	require.Less(t, allocated(0), uint64(most))
	require.NoError(t, l.Close())
}
