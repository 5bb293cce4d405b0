package log

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
)

// ten closes a log of ten records in segments of one or two, and returns the names of their files.
func ten(t *testing.T, b *bench) (names []string) {
	t.Helper()
	b.config = Config{SegmentBytes: 200}
	l := b.open()
	for i := range 10 {
		appendDurable(t, l, plain(t, rec{ts: 1, key: "k", value: fmt.Sprintf("value %d", i)}))
	}
	for _, s := range *l.segments.Load() {
		names = append(names, s.path(logSuffix))
	}
	require.Greater(t, len(names), 3)
	require.NoError(t, l.Close())
	return names
}

func TestAMissingSegmentIsDamage(t *testing.T) {
	t.Run("the first", func(t *testing.T) {
		b := newBench(t, vfs.NewMem(), SyncGroup)
		names := ten(t, b)
		require.NoError(t, b.fs.Remove(names[0]))
		_, err := Open(b.options())
		isKafka(t, kerr.KafkaStorageError, err)
		require.ErrorContains(t, err, "00000000000000000000.log is missing")
	})
	t.Run("one in the middle", func(t *testing.T) {
		b := newBench(t, vfs.NewMem(), SyncGroup)
		names := ten(t, b)
		require.NoError(t, b.fs.Remove(names[1]))
		l := b.open() // a clean close: the files are not looked at
		gap := (*l.segments.Load())[0]
		_, err := l.Read(gap.next.Load()-1, 100, ReadUncommitted)
		isKafka(t, kerr.CorruptMessage, err)
		require.ErrorContains(t, err, names[0])
		first, err := l.Read(0, 1, ReadUncommitted)
		require.NoError(t, err)
		require.Len(t, first.Batches, 1)
		b.halt(l)

		files, err := b.fs.List("/data/orders-0")
		require.NoError(t, err)
		for _, offset := range snapshotOffsets(files) {
			require.NoError(t, b.fs.Remove("/data/orders-0/"+fileName(offset, producersSuffix)))
		}
		_, err = Open(b.options()) // from here on they are
		isKafka(t, kerr.KafkaStorageError, err)
		require.ErrorContains(t, err, names[0])
	})
	t.Run("all", func(t *testing.T) {
		b := newBench(t, vfs.NewMem(), SyncGroup)
		for _, name := range ten(t, b) {
			require.NoError(t, b.fs.Remove(name))
		}
		_, err := Open(b.options())
		isKafka(t, kerr.KafkaStorageError, err)
	})
	t.Run("the directory", func(t *testing.T) {
		b := newBench(t, vfs.NewMem(), SyncGroup)
		ten(t, b)
		require.NoError(t, b.fs.RemoveAll("/data/orders-0"))
		o := b.options()
		o.Known = true
		_, err := Open(o)
		isKafka(t, kerr.KafkaStorageError, err)
		require.ErrorContains(t, err, "/data/orders-0: the directory of the partition is missing")
		_, err = b.fs.Stat("/data/orders-0")
		require.ErrorIs(t, err, fs.ErrNotExist, "it is not made: a check finds it missing, too")
	})
	t.Run("all that the directory holds", func(t *testing.T) {
		b := newBench(t, vfs.NewMem(), SyncGroup)
		ten(t, b)
		require.NoError(t, b.fs.RemoveAll("/data/orders-0"))
		require.NoError(t, b.fs.MkdirAll("/data/orders-0", 0o750))
		o := b.options()
		o.Known = true
		for range 2 {
			_, err := Open(o)
			isKafka(t, kerr.KafkaStorageError, err)
			require.ErrorContains(t, err, "neither a segment nor a checkpoint: all records of the partition are missing")
		}
	})
}

// Without its checkpoint, as when it was copied from another broker, a compacted log is whole: its gaps are no damage.
func TestALogWithoutItsCheckpointIsWhole(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	b.config = Config{SegmentBytes: 2500, Compact: true, MinCleanable: 0.01}
	l := b.open()
	k := &keyed{t: t, rng: rand.New(rand.NewPCG(1, 2)), sequence: map[int64]int32{}, open: map[int64]bool{}}
	k.append(l, 200)
	k.finish(l)
	require.NoError(t, upkeepOf(l))
	require.NoError(t, upkeepOf(l))
	end := l.End()
	want, records, _ := fold(t, l, 1000)
	require.Less(t, int64(records), end/2, "there are gaps")
	require.NoError(t, l.Close())
	for range 2 {
		require.NoError(t, b.fs.Remove("/data/orders-0/"+checkpointName))
		l = b.open()
		require.Equal(t, end, l.End())
		got, _, _ := fold(t, l, 1000)
		require.Equal(t, want, got)
		require.NoError(t, l.Close())
	}
	l = b.open() // and with the one that was made
	got, _, _ := fold(t, l, 1000)
	require.Equal(t, want, got)
	require.NoError(t, l.Close())
}

// Without its checkpoint nothing says what was synced: damage before the last segment deletes none of those behind it.
func TestDamageWithoutACheckpointDeletesNothing(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	names := ten(t, b)
	require.NoError(t, b.fs.Remove("/data/orders-0/"+checkpointName))
	overwrite(t, b.fs, names[1], 70, []byte{0xff})
	_, err := Open(b.options())
	isKafka(t, kerr.KafkaStorageError, err)
	require.ErrorContains(t, err, names[1])
	for _, name := range names {
		_, err := b.fs.Stat(name)
		require.NoError(t, err)
	}
}

// Apache Kafka's compaction leaves markers without a record.
func TestAnImportedMarkerMayBeEmpty(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	raw := batch.AppendControl(nil, batch.Control{Type: batch.Commit, ProducerID: 7, ProducerEpoch: 1})
	parsed, _, err := batch.Parse(raw)
	require.NoError(t, err)
	var w batch.Rewriter
	empty, kept, err := w.Rewrite(parsed, -1, func(*batch.Record) bool { return false })
	require.NoError(t, err)
	require.Zero(t, kept)
	require.NoError(t, b.fs.MkdirAll("/data/orders-0", 0o755))
	require.NoError(t, writeFile(b.fs, "/data/orders-0/"+fileName(0, logSuffix), slices.Clone(empty), false))
	l := b.open()
	require.EqualValues(t, 1, l.End())
	require.Empty(t, l.Producers())
	require.NoError(t, l.Close())
}

// A log that was never compacted has no gaps, from its first segment on, before it is opened again as after.
func TestAGapInANewLogIsDamage(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	l := b.open()
	raw := plain(t, recs(1)...)
	for range 3 {
		appendDurable(t, l, plain(t, recs(1)...))
	}
	l.tail.clear()
	overwrite(t, b.fs, l.active().path(logSuffix), int64(len(raw))+7, []byte{2}) // the base offset, which was 1
	_, err := l.Read(1, 100, ReadUncommitted)
	isKafka(t, kerr.CorruptMessage, err)
	require.NoError(t, l.Close())
}
