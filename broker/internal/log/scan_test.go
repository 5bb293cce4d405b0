package log

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/faultfs"
)

// recovered is what recovery finds out about a log.
type recovered struct {
	view
	stable   int64
	segments []recoveredSegment
	snapshot string // of the producers, as it would be written now
}

type recoveredSegment struct {
	base, size, next int64
	newest           [2]int64
	aborted          []abortedTxn
}

// recoveredFrom opens a copy of what a crash left, and ends it as a kill would.
func recoveredFrom(t *testing.T, mem *vfs.MemFS, config Config, prepare func(fs vfs.FS)) recovered {
	t.Helper()
	fs := mem.CrashClone(vfs.CrashCloneCfg{})
	if prepare != nil {
		prepare(fs)
	}
	b := newBench(t, fs, SyncGroup)
	b.config = config
	l := b.open()
	defer b.halt(l)
	for id, p := range l.producers {
		p.touched = 0 // later than the snapshot, this is the moment of the recovery
		l.producers[id] = p
	}
	r := recovered{stable: l.LastStable(), snapshot: string(l.producers.encode(l.End()))}
	if l.Start() <= viewedFrom && l.End() > viewedFrom {
		r.view = viewOf(t, l)
	}
	for _, s := range *l.segments.Load() {
		require.NoError(t, s.loadIndex(config.IndexBytes))
		requireTrueIndex(t, s, config.IndexBytes)
		newest, at := s.index.newest()
		r.segments = append(r.segments, recoveredSegment{
			base: s.base, size: s.size.Load(), next: s.next.Load(), newest: [2]int64{newest, at},
			aborted: append([]abortedTxn{}, s.aborted...),
		})
	}
	return r
}

// requireTrueIndex compares the index of a segment with its batches. A life of the log may leave twice the distance
// between two entries, since it begins with none.
func requireTrueIndex(t *testing.T, s *segment, every int) {
	t.Helper()
	last, newest, first := map[int64]int64{}, map[int64]int64{}, map[int64]int64{}
	largest, largestAt := int64(-1), int64(-1)
	c := s.scan(0, s.size.Load())
	for {
		b, position, err := c.next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if b.MaxTimestamp() > largest {
			largest, largestAt = b.MaxTimestamp(), b.LastOffset()
		}
		last[position], newest[b.LastOffset()], first[largest] = b.LastOffset(), largest, largestAt
	}
	before := int64(0)
	for _, e := range append(slices.Clone(s.index.offsets), offsetEntry{-1, int32(s.size.Load())}) {
		require.LessOrEqual(t, int64(e.position)-before, int64(2*every+2000))
		before = int64(e.position)
		if e.offset >= 0 {
			require.Equal(t, last[before], s.base+int64(e.offset))
		}
	}
	for _, e := range s.index.times {
		at := s.base + int64(e.offset)
		require.Equal(t, []int64{newest[at], first[e.timestamp]}, []int64{e.timestamp, at})
	}
}

// withoutIndexes makes recovery look at all batches of the segments that it looks at.
func withoutIndexes(t *testing.T) func(fs vfs.FS) {
	return func(fs vfs.FS) {
		names, err := fs.List(closedDir)
		require.NoError(t, err)
		for _, name := range names {
			if strings.HasSuffix(name, indexSuffix) && !strings.HasSuffix(name, txnIndexSuffix) {
				require.NoError(t, fs.Remove(fs.PathJoin(closedDir, name)))
			}
		}
	}
}

// appendSome appends batches with times that go up and down, and ends transactions of producers 1 and 2.
func appendSome(t *testing.T, l *Log, sequences map[int64]int32, rng *rand.Rand, n int) {
	t.Helper()
	for range n {
		id := rng.Int64N(4)
		p := batch.Producer{ID: id, Sequence: sequences[id], Transactional: id < 2}
		if id == 3 {
			p = batch.NoProducer()
		}
		records := recs(1 + rng.IntN(4))
		for i := range records {
			records[i].ts = rng.Int64N(1_000_000)
			records[i].value = strings.Repeat("v", rng.IntN(60))
		}
		appendDurable(t, l, makeBatch(t, p, records...))
		sequences[id] += int32(len(records))
		if id < 2 && rng.IntN(3) == 0 {
			_, err := l.AppendMarker(Marker{ProducerID: id, Commit: rng.IntN(2) == 0})
			require.NoError(t, err)
		}
	}
	require.NoError(t, l.fsync())
}

// What lies before the last snapshot, which is that of a clean close or of Maintain, is not read again after a crash.
// And recovery finds the same as if it were.
func TestRecoveryBeginsAtTheLastSnapshot(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			mem := vfs.NewCrashableMem()
			fs := faultfs.New(mem)
			b := newBench(t, fs, SyncGroup)
			b.config = Config{IndexBytes: []int{1, 300, 4000}[rng.IntN(3)], SegmentBytes: 1 << 20, UncheckedBytes: 2000}
			sequences := map[int64]int32{}
			l := b.open()
			for range 3 {
				appendSome(t, l, sequences, rng, 100)
				snapshotAt := l.SizeBytes()
				if rng.IntN(2) == 0 {
					l = b.reopen(l)
				} else {
					require.NoError(t, l.Maintain())
				}
				appendSome(t, l, sequences, rng, 1+rng.IntN(30))
				want := recoveredFrom(t, mem, b.config, withoutIndexes(t))
				require.Equal(t, want, recoveredFrom(t, mem, b.config, nil))
				b.halt(l)
				reads := fs.Count(l.active().path(logSuffix))
				l = b.open()
				// What follows, and what lies between two entries of the index, twice.
				most := l.SizeBytes() - snapshotAt + 2*int64(2*b.config.IndexBytes+2000)
				require.Positive(t, reads.ReadBytes.Load())
				require.LessOrEqual(t, reads.ReadBytes.Load(), most, "of %d bytes", l.SizeBytes())
			}
			b.halt(l)
		})
	}
}

// An index that does not fit its segment is not gone by: all batches are looked at, and it is made again.
func TestRecoveryDoesNotTrustAWrongIndex(t *testing.T) {
	mem := vfs.NewCrashableMem()
	b := newBench(t, mem, SyncGroup)
	b.config = Config{IndexBytes: 300}
	sequences := map[int64]int32{}
	l := b.open()
	rng := rand.New(rand.NewPCG(1, 1))
	appendSome(t, l, sequences, rng, 100)
	l = b.reopen(l)
	appendSome(t, l, sequences, rng, 10)
	active := l.active()
	want := recoveredFrom(t, mem, b.config, nil)
	content, err := readFile(mem, active.path(indexSuffix))
	require.NoError(t, err)
	times, err := readFile(mem, active.path(timeIndexSuffix))
	require.NoError(t, err)
	last := int64(len(content) - offsetEntryBytes)
	for name, damage := range map[string]func(fs vfs.FS){
		"another position": func(fs vfs.FS) {
			overwrite(t, fs, active.path(indexSuffix), last+7, []byte{content[last+7] + 1})
		},
		"another offset": func(fs vfs.FS) {
			overwrite(t, fs, active.path(indexSuffix), last+3, []byte{content[last+3] - 1})
		},
		"another time": func(fs vfs.FS) {
			for at := 7; at < len(times); at += timeEntryBytes { // in the order that there was
				overwrite(t, fs, active.path(timeIndexSuffix), int64(at), []byte{times[at] ^ 1})
			}
		},
		"half an entry":   func(fs vfs.FS) { overwrite(t, fs, active.path(indexSuffix), int64(len(content)), []byte{1}) },
		"half a time":     func(fs vfs.FS) { overwrite(t, fs, active.path(timeIndexSuffix), int64(len(times)), []byte{1}) },
		"no times":        func(fs vfs.FS) { require.NoError(t, fs.Remove(active.path(timeIndexSuffix))) },
		"no index at all": withoutIndexes(t),
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, want, recoveredFrom(t, mem, b.config, damage)) })
	}
	b.halt(l)
}

// Power cuts at any moment of several lives: recovery finds the same whether it reads all of the segment or not.
func TestRecoveryAfterPowerCutsReadsWhatItHasTo(t *testing.T) {
	for range 30 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 7))
			mem := vfs.NewCrashableMem()
			for range 6 {
				power := faultfs.NewPowerCut(mem, rng)
				power.Arm(20+rng.IntN(400), nil)
				b := newBench(t, power.FS(), SyncAlways) // one goroutine
				b.config = Config{IndexBytes: 200, SegmentBytes: 4000 + rng.Int64N(20_000), UncheckedBytes: 1000}
				l := b.open()
				sequences := map[int64]int32{}
				for _, p := range l.Producers() {
					sequences[p.ProducerID] = p.LastSequence + 1
				}
				for range 3 {
					appendSome(t, l, sequences, rng, 20)
					switch rng.IntN(3) {
					case 0:
						l = b.reopen(l)
					case 1:
						require.NoError(t, l.Maintain())
					}
				}
				b.syncer.Close()
				b.halt(l)
				mem = power.Now()
				require.Equal(t, recoveredFrom(t, mem, b.config, withoutIndexes(t)), recoveredFrom(t, mem, b.config, nil))
			}
		})
	}
}

// A snapshot that can't be written costs nothing but time, and the next one is taken when it can.
func TestASnapshotOnAFullDisk(t *testing.T) {
	mem := vfs.NewMem()
	fs := faultfs.New(mem)
	b := newBench(t, fs, SyncGroup)
	b.config = Config{UncheckedBytes: 1000}
	l := b.open()
	for range 30 {
		appendDurable(t, l, plain(t, recs(3)...))
	}
	snapshots := func() []int64 {
		names, err := mem.List(closedDir)
		require.NoError(t, err)
		return snapshotOffsets(names)
	}
	fs.Fail(&faultfs.Fault{Kind: faultfs.Grows, Err: errors.New("no space left on device")})
	require.NoError(t, l.Maintain())
	require.Empty(t, snapshots())
	fs.Fail(nil)
	for range 2 { // the second time there is nothing new
		require.NoError(t, l.Maintain())
		require.Equal(t, []int64{90}, snapshots())
	}
	appendDurable(t, l, plain(t, recs(3)...))
	require.NoError(t, l.Maintain())
	require.Equal(t, []int64{90}, snapshots())
	require.NoError(t, l.Close())
}

// A segment that is sealed while a snapshot of it is written keeps the indexes that it was sealed with.
func TestARollDuringASnapshot(t *testing.T) {
	for _, appended := range []int{0, 5} {
		rolls := 0
		for skip := int64(0); ; skip++ { // at each step of it
			mem := vfs.NewCrashableMem()
			fs := faultfs.New(mem)
			b := newBench(t, fs, SyncGroup)
			b.config = Config{IndexBytes: 100, UncheckedBytes: 1000}
			sequences := map[int64]int32{}
			l := b.open()
			appendSome(t, l, sequences, rand.New(rand.NewPCG(1, 1)), 50)
			b.syncer.Close()
			step := &faultfs.Fault{Kind: faultfs.Writes, Skip: skip, Once: true}
			step.Before = func() {
				if !l.mu.TryLock() { // it is renaming
					return
				}
				defer l.mu.Unlock()
				fs.Fail(nil)
				for range appended {
					raw := plain(t, rec{ts: 2_000_000_000_000, key: "k", value: "newer than all before"})
					_, err := l.appendLocked(raw, l.config.Load(), OriginClient, false)
					require.NoError(t, err)
				}
				_, err := l.roll()
				require.NoError(t, err)
				rolls++
			}
			fs.Fail(step)
			l.snapshot(l.config.Load())
			fs.Fail(nil)
			if step.Hits.Load() == 0 {
				b.halt(l)
				break
			}
			require.NoError(t, l.fsync())
			names, err := mem.List(closedDir)
			require.NoError(t, err)
			require.False(t, slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, tempSuffix) }))
			require.Equal(t, recoveredFrom(t, mem, b.config, withoutIndexes(t)), recoveredFrom(t, mem, b.config, nil))
			b.halt(l)
			require.Empty(t, damageIn(t, b))
		}
		require.Greater(t, rolls, 10)
	}
}
