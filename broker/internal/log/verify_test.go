package log

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/faultfs"
)

// damageIn returns the paths of the damage that Verify finds in the log of a bench.
func damageIn(t *testing.T, b *bench) (paths []string) {
	t.Helper()
	v, err := Verify(b.fs, b.options().Dir, nil)
	require.NoError(t, err)
	for _, f := range v.Findings {
		if f.Damage {
			paths = append(paths, f.Path)
		}
	}
	return paths
}

func TestVerifyFindsAMissingSegment(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	names := ten(t, b)
	require.Empty(t, damageIn(t, b))
	require.NoError(t, b.fs.Remove(names[1]))
	require.Equal(t, []string{names[0]}, damageIn(t, b), "what follows on it is missing")
}

// The gaps that compaction leaves are no damage, and without the checkpoint any gap may be one of them.
func TestVerifyOfACompactedLog(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 2500, Compact: true, MinCleanable: 0.01}
	l := b.open()
	k := &keyed{t: t, rng: rand.New(rand.NewPCG(1, 2)), sequence: map[int64]int32{}, open: map[int64]bool{}}
	k.append(l, 200)
	k.finish(l)
	require.NoError(t, upkeepOf(l))
	_, records, _ := fold(t, l, 1000)
	require.Less(t, int64(records), l.End()/2, "there are gaps")
	require.NoError(t, l.Close())
	require.Empty(t, damageIn(t, b))
	require.NoError(t, b.fs.Remove("/data/orders-0/"+checkpointName))
	require.Empty(t, damageIn(t, b))
}

// A compaction that was cut short after its decision has its records in a file of its own, and the old ones are going.
func TestVerifyReadsWhatACompactionLeft(t *testing.T) {
	fs := faultfs.New(vfs.NewMem())
	b := newBench(t, fs, SyncGroup)
	b.config = Config{SegmentBytes: 2500, Compact: true, MinCleanable: 0.01}
	l := b.open()
	k := &keyed{t: t, rng: rand.New(rand.NewPCG(1, 2)), sequence: map[int64]int32{}, open: map[int64]bool{}}
	k.append(l, 200)
	k.finish(l)
	end := l.End()
	fs.Fail(&faultfs.Fault{Path: swapTxnSuffix, Kind: isRename, Skip: 1, Err: errors.New("the power went")})
	require.Error(t, upkeepOf(l))
	require.Error(t, l.Close())
	fs.Fail(nil)
	v, err := Verify(fs, closedDir, nil)
	require.NoError(t, err)
	require.Len(t, v.Findings, 1)
	swap := v.Findings[0]
	require.False(t, swap.Damage)
	require.Contains(t, swap.Path, swapSuffix)
	require.Equal(t, end, v.End)

	damaged := vfs.NewMem()
	ok, err := vfs.Clone(fs, damaged, "/data", "/data")
	require.NoError(t, err)
	require.True(t, ok)
	overwrite(t, damaged, swap.Path, 100, []byte{0xff, 0xff, 0xff})
	require.Equal(t, []string{swap.Path}, damageIn(t, &bench{t: t, fs: damaged}))

	l = b.open()
	_, records, markers := fold(t, l, 1000)
	require.NoError(t, l.Close())
	after, err := Verify(fs, closedDir, nil)
	require.NoError(t, err)
	require.Empty(t, after.Findings)
	require.Equal(t, after.Records, v.Records, "as before the start that completed the compaction")
	require.GreaterOrEqual(t, v.Records, int64(records+markers))
}

func isRename(kind errorfs.OpKind) bool { return kind == errorfs.OpRename }

// The index of aborted transactions has no checksum: it is compared with the markers. Without the file a start makes it
// again.
func TestVerifyComparesAbortedTransactions(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 1000}
	l := b.open()
	for i := range int32(10) {
		transaction(t, l, 1, i, i%2 == 0)
		transaction(t, l, 2, i, false)
	}
	first := (*l.segments.Load())[0]
	require.Greater(t, len(*l.segments.Load()), 2)
	require.NoError(t, l.Close())
	require.Empty(t, damageIn(t, b))
	name := first.path(txnIndexSuffix)
	content, err := readFile(b.fs, name)
	require.NoError(t, err)
	require.Greater(t, len(content), 2*abortedTxnBytes)
	for at := 2; at < abortedTxnBytes-8; at++ { // all but the version, and the stable offset, which nothing can tell
		wrong := slices.Clone(content)
		wrong[at] ^= 1
		require.NoError(t, writeFile(b.fs, name, wrong, false))
		v, err := Verify(b.fs, closedDir, nil)
		require.NoError(t, err)
		require.Len(t, v.Findings, 1, "byte %d", at)
		require.Equal(t, name, v.Findings[0].Path)
	}
	require.NoError(t, writeFile(b.fs, name, slices.Clone(content[abortedTxnBytes:]), false))
	require.Equal(t, []string{name}, damageIn(t, b), "an entry is missing")
	require.NoError(t, b.fs.Remove(name))
	require.Empty(t, damageIn(t, b))
	require.NoError(t, b.open().Close())
	again, err := readFile(b.fs, name)
	require.NoError(t, err)
	require.Equal(t, content, again)
}

// The index of times has no checksum either: it is compared with the batches. Without the file it is made again.
func TestVerifyComparesTimes(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 1000, IndexBytes: 1}
	l := b.open()
	for i := range int64(30) {
		appendDurable(t, l, plain(t, rec{ts: 1000 + 10*(i^1), key: "k", value: "v"}, rec{ts: 10, key: "k", value: "v"}))
	}
	first, last := (*l.segments.Load())[0], l.active()
	require.NotSame(t, first, last)
	require.NoError(t, l.Close())
	require.Empty(t, damageIn(t, b))
	for _, s := range []*segment{first, last} {
		name := s.path(timeIndexSuffix)
		content, err := readFile(b.fs, name)
		require.NoError(t, err)
		require.Greater(t, len(content), 2*timeEntryBytes)
		for at := range content {
			wrong := slices.Clone(content)
			wrong[at] ^= 1
			require.NoError(t, writeFile(b.fs, name, wrong, false))
			v, err := Verify(b.fs, closedDir, nil)
			require.NoError(t, err)
			inOffset := at%timeEntryBytes == timeEntryBytes-1 // both offsets of a batch will do
			require.Len(t, v.Findings, map[bool]int{true: 0, false: 1}[inOffset], "byte %d", at)
		}
		require.NoError(t, writeFile(b.fs, name, slices.Clone(content[:len(content)-timeEntryBytes]), false))
		require.Equal(t, []string{name}, damageIn(t, b), "the last entry is missing")
		require.NoError(t, b.fs.Remove(name))
		require.Empty(t, damageIn(t, b))
		require.NoError(t, b.reopen(b.open()).Close())
		again, err := readFile(b.fs, name)
		require.NoError(t, err)
		require.Equal(t, content, again)
	}
}

// An index that speaks of offsets behind the end of its segment is made again when the log is opened.
func TestAnIndexBehindTheEndIsMadeAgain(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 1000, IndexBytes: 1}
	l := b.open()
	for i := range int64(30) {
		appendDurable(t, l, plain(t, rec{ts: 1000 + i, key: "k", value: "v"}))
	}
	first := (*l.segments.Load())[0]
	require.NoError(t, l.Close())
	for suffix, bytes := range map[string]int{indexSuffix: offsetEntryBytes, timeIndexSuffix: timeEntryBytes} {
		content, err := readFile(b.fs, first.path(suffix))
		require.NoError(t, err)
		wrong := slices.Clone(content)
		at := len(wrong) - 1 // of the offset of the last entry
		if suffix == indexSuffix {
			at -= 4
		}
		require.Greater(t, len(wrong), bytes)
		wrong[at] |= 0x40
		require.NoError(t, writeFile(b.fs, first.path(suffix), wrong, false))
		require.NoError(t, b.open().Close())
		again, err := readFile(b.fs, first.path(suffix))
		require.NoError(t, err)
		require.Equal(t, content, again, suffix)
	}
}
