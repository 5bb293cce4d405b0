package log

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
)

// patched is a batch with bytes changed, under a checksum that is right again.
func patched(raw []byte, at int, bytesAt ...byte) []byte {
	raw = bytes.Clone(raw)
	copy(raw[at:], bytesAt)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

func int64Bytes(v int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(v)) }

const maxTimestampAt, attributesAt, lastDeltaAt, countAt = 35, 22, 26, 60

// The largest timestamp of a batch decides what retention deletes and what a look-up by time finds.
func TestTheLargestTimestampIsComputed(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	l := b.open()
	now := b.now.UnixMilli()
	good := plain(t, rec{ts: now - 5, key: "a"}, rec{ts: now, key: "b"}, rec{ts: now - 9, key: "c"})
	for _, claimed := range []int64{-1, 0, now, now + 365*24*3600*1000, -1 << 63} {
		a, err := l.Append(patched(good, maxTimestampAt, int64Bytes(claimed)...))
		require.NoError(t, err)
		found, ok, err := l.OffsetForTime(now)
		require.NoError(t, err)
		require.True(t, ok, claimed)
		require.Equal(t, TimeOffset{Offset: 1, Timestamp: now}, found)
		r, err := l.Read(a.BaseOffset, 1, ReadUncommitted)
		require.NoError(t, err)
		stored, _, err := batch.Parse(r.Batches[0])
		require.NoError(t, err)
		require.NoError(t, stored.Verify())
		require.Equal(t, now, stored.MaxTimestamp())
	}
	require.NoError(t, l.Close())
}

// Only the broker decides whose clock a timestamp comes from, and until when tombstones stay.
func TestAttributesOfABrokerAreNotTakenFromAClient(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	l := b.open()
	a, err := l.Append(patched(plain(t, recs(2)...), attributesAt, 0x08|0x40))
	require.NoError(t, err)
	r, err := l.Read(a.BaseOffset, 1, ReadUncommitted)
	require.NoError(t, err)
	stored, _, err := batch.Parse(r.Batches[0])
	require.NoError(t, err)
	require.NoError(t, stored.Verify())
	require.False(t, stored.IsLogAppendTime())
	_, ok := stored.DeleteHorizon()
	require.False(t, ok)
	require.NoError(t, l.Close())
}

func TestWhatNoReaderCanReadIsRefused(t *testing.T) {
	one, two := plain(t, recs(1)...), plain(t, recs(2)...)
	gzipped := patched(one, attributesAt, byte(batch.Gzip))
	secondDelta := bytes.Index(two, []byte("value-0")) + len("value-0") + 1 + 3 // headers; length, attributes, time
	for name, raw := range map[string][]byte{
		"two records in the header, one there": patched(patched(one, lastDeltaAt, 1), countAt, 2),
		"one record in the header, two there":  patched(patched(two, lastDeltaAt, 0), countAt, 1),
		"gzip of nothing that is gzip":         gzipped,
		"equal offset deltas":                  patched(two, secondDelta, 0),
		"garbage":                              patched(one, batch.HeaderBytes, bytes.Repeat([]byte{0xff}, 12)...),
	} {
		for _, policy := range []Config{{}, {Compact: true}} {
			b := newBench(t, vfs.NewMem(), SyncNever)
			b.config = policy
			l := b.open()
			_, err := l.Append(raw)
			require.Error(t, err, name)
			isKafka(t, kerr.InvalidRecord, err)
			require.Zero(t, l.End(), name)
			require.NoError(t, l.Close())
		}
	}
}

func TestTimestampsAreBounded(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	b.config = Config{TimestampBeforeMax: time.Minute, TimestampAfterMax: time.Hour}
	l := b.open()
	at := func(d time.Duration) rec { return rec{ts: b.now.Add(d).UnixMilli(), key: "k"} }
	_, err := l.Append(plain(t, at(-time.Minute), at(time.Hour), rec{ts: -1}))
	require.NoError(t, err, "the bounds themselves, and a record without a time")
	bad := plain(t, at(0), at(time.Hour+time.Millisecond), at(0), at(-time.Minute-time.Millisecond))
	for _, origin := range []Origin{OriginClient, OriginProcess} {
		_, err = l.AppendFrom(bad, origin)
		isKafka(t, kerr.InvalidTimestamp, err)
		var invalid *InvalidRecordsError
		require.ErrorAs(t, err, &invalid)
		require.Len(t, invalid.Records, 2)
		require.Equal(t, []int32{1, 3}, []int32{invalid.Records[0].Index, invalid.Records[1].Index})
	}
	require.EqualValues(t, 3, l.End())
	require.NoError(t, l.Close())

	b = newBench(t, vfs.NewMem(), SyncNever)
	b.config = Config{TimestampAfterMax: time.Hour, LogAppendTime: true}
	l = b.open()
	_, err = l.Append(plain(t, at(10*time.Hour)))
	require.NoError(t, err, "the producer's time does not count there")
	require.NoError(t, l.Close())
}

// What is decompressed to be checked waits for its memory, and gives it back.
func TestChecksWaitForMemory(t *testing.T) {
	const recordBytes = 900 << 10
	value := bytes.Repeat([]byte("v"), recordBytes)
	raw := s2.EncodeSnappy(nil, append(binary.AppendVarint([]byte{}, recordBytes+8), append(append([]byte{0, 0, 0, 1},
		binary.AppendVarint(nil, recordBytes)...), append(value, 0)...)...))
	header := plain(t, recs(1)...)[:batch.HeaderBytes]
	packed := append(bytes.Clone(header), raw...)
	binary.BigEndian.PutUint32(packed[8:], uint32(len(packed)-12))
	packed = patched(packed, attributesAt, byte(batch.Snappy))
	parsed, _, err := batch.Parse(packed)
	require.NoError(t, err)
	require.Greater(t, parsed.InspectBytes(), int64(recordBytes))

	b := newBench(t, vfs.NewMem(), SyncNever)
	l := b.open()
	gate := b.memory.checks
	require.NoError(t, gate.Enter(t.Context(), gate.BytesMax()))
	appended := make(chan error, 1)
	go func() {
		_, err := l.Append(packed)
		appended <- err
	}()
	require.Eventually(t, gate.Waited, time.Minute, time.Millisecond)
	require.Zero(t, l.End())
	gate.Leave(gate.BytesMax())
	require.NoError(t, <-appended)
	require.EqualValues(t, 1, l.End())
	require.NoError(t, gate.Enter(t.Context(), gate.BytesMax()), "all is back")
	require.NoError(t, l.Close())
}
