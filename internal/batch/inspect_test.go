package batch

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/require"
)

// rawBatch is a batch around records that the test wrote itself.
func rawBatch(c Compression, count int, records []byte) Batch {
	raw := make([]byte, HeaderBytes, HeaderBytes+len(records))
	raw = append(raw, records...)
	putInt32(raw[posLength:], int32(len(raw)-lengthOverhead))
	raw[posMagic] = 2
	binary.BigEndian.PutUint16(raw[posAttributes:], uint16(c))
	putInt32(raw[posLastOffsetDelta:], int32(count-1))
	putInt64(raw[posProducerID:], -1)
	putInt32(raw[posCount:], int32(count))
	sealChecksum(raw)
	return Batch{raw: raw}
}

func finish(t *testing.T, b *Builder) Batch {
	t.Helper()
	raw, err := b.Finish(NoProducer())
	require.NoError(t, err)
	batch, _, err := Parse(raw)
	require.NoError(t, err)
	return batch
}

func TestInspectAgreesWithTheIterator(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	field := func(most int) []byte {
		switch rnd.IntN(4) {
		case 0:
			return nil
		case 1:
			return []byte{}
		}
		b := make([]byte, rnd.IntN(most))
		for i := range b {
			b[i] = byte('a' + rnd.IntN(4))
		}
		return b
	}
	var d Decoder
	for round := range 200 {
		c := Compression(round % 5)
		b := NewBuilder(c)
		var want []RecordInfo
		var found Contents
		for i := range 1 + rnd.IntN(30) {
			ts := rnd.Int64N(1 << 40)
			key := field(50)
			var headers []Header
			for range rnd.IntN(3) {
				headers = append(headers, Header{Key: string(field(5)), Value: field(200)})
			}
			b.Append(ts, key, field(3000), headers)
			want = append(want, RecordInfo{Index: i, Timestamp: ts, NullKey: key == nil})
			if i == 0 {
				found.MinTimestamp, found.MaxTimestamp = ts, ts
			}
			found.MinTimestamp, found.MaxTimestamp = min(found.MinTimestamp, ts), max(found.MaxTimestamp, ts)
			found.NullKeys = found.NullKeys || key == nil
		}
		var got []RecordInfo
		contents, err := d.Inspect(finish(t, b), func(r RecordInfo) { got = append(got, r) })
		require.NoError(t, err, c)
		require.Equal(t, want, got, c)
		require.Equal(t, found, contents, c)
	}
}

// Whatever is cut or flipped in the records, Inspect finds if and only if a reader would fail on it.
func TestInspectRefusesWhatAReaderCannotRead(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	b := NewBuilder(None)
	for i := range 5 {
		b.Append(int64(1000+i), []byte("key"), []byte("some value"), []Header{{Key: "h", Value: []byte("v")}, {Key: "n"}})
	}
	records := bytes.Clone(finish(t, b).payload())
	refused := 0
	for range 20_000 {
		damaged := bytes.Clone(records)
		for range 1 + rnd.IntN(2) {
			damaged[rnd.IntN(len(damaged))] = byte(rnd.IntN(256))
		}
		damaged = damaged[:len(damaged)-rnd.IntN(2)*rnd.IntN(len(damaged))]
		for _, c := range []Compression{None, Snappy} {
			src := damaged
			if c == Snappy {
				src = s2.EncodeSnappy(nil, damaged)
			}
			batch := rawBatch(c, 5, src)
			_, inspected := new(Decoder).Inspect(batch, nil)
			require.Equal(t, readAllRecords(batch), inspected == nil, "codec %v, records %x: %v", c, damaged, inspected)
			if inspected != nil {
				refused++
				require.ErrorIs(t, inspected, ErrCorrupt)
			}
		}
	}
	require.Positive(t, refused)
}

// readAllRecords tells whether a reader gets through the batch, headers included.
func readAllRecords(b Batch) bool {
	it, err := b.Records(nil)
	if err != nil {
		return false
	}
	var r Record
	for it.Next(&r) {
		if _, err := r.Headers(nil); err != nil {
			return false
		}
	}
	return it.Err() == nil
}

func TestInspectRefusesGarbageOfEachCodec(t *testing.T) {
	for c := Gzip; c <= Zstd; c++ {
		for _, src := range [][]byte{bytes.Repeat([]byte{0xff}, 40), nil, []byte("garbage")} {
			_, err := new(Decoder).Inspect(rawBatch(c, 1, src), nil)
			require.ErrorIs(t, err, ErrCorrupt, fmt.Sprint(c, src))
		}
	}
}

// A small batch that would take much memory is refused at the limit.
func TestInspectIsLimited(t *testing.T) {
	var record bytes.Buffer
	record.Write(binary.AppendVarint(nil, 1<<30)) // the record says that it is as long
	record.Write([]byte{0, 0, 0, 1})              // attributes, deltas, null key
	record.Write(binary.AppendVarint(nil, 1<<29))
	record.Write(make([]byte, 4<<20))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(record.Bytes())
	require.NoError(t, err)
	require.NoError(t, z.Close())
	_, err = (&Decoder{MaxBytes: 1 << 20}).Inspect(rawBatch(Gzip, 1, packed.Bytes()), nil)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = (&Decoder{MaxBytes: 8 << 20}).Inspect(rawBatch(Gzip, 1, packed.Bytes()), nil)
	require.ErrorIs(t, err, ErrCorrupt, "the bytes end within the record")
}

func TestInspectStreams(t *testing.T) {
	for _, c := range []Compression{None, Gzip, LZ4, Zstd} {
		b := NewBuilder(c)
		for i := range 1000 {
			b.Append(int64(i), []byte("key"), bytes.Repeat([]byte("v"), 1000), nil)
		}
		batch := finish(t, b)
		var d Decoder
		_, err := d.Inspect(batch, nil)
		require.NoError(t, err)
		const runs, fewBytes = 10, 64 << 10 // of a megabyte of records
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			_, err = d.Inspect(batch, nil)
			require.NoError(t, err)
		}
		runtime.ReadMemStats(&after)
		require.Less(t, (after.TotalAlloc-before.TotalAlloc)/runs, uint64(fewBytes), c)
	}
}

func BenchmarkInspect(b *testing.B) {
	for c := None; c <= Zstd; c++ {
		builder := NewBuilder(c)
		for i := range 1000 {
			builder.Append(int64(i), fmt.Appendf(nil, "key-%d", i), bytes.Repeat([]byte("value-"), 15), nil)
		}
		raw, err := builder.Finish(NoProducer())
		require.NoError(b, err)
		parsed, _, err := Parse(raw)
		require.NoError(b, err)
		b.Run(c.String(), func(b *testing.B) {
			var d Decoder
			for b.Loop() {
				if _, err := d.Inspect(parsed, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
		})
	}
	b.Run("checksum", func(b *testing.B) {
		builder := NewBuilder(None)
		for i := range 1000 {
			builder.Append(int64(i), fmt.Appendf(nil, "key-%d", i), bytes.Repeat([]byte("value-"), 15), nil)
		}
		raw, err := builder.Finish(NoProducer())
		require.NoError(b, err)
		parsed := Batch{raw: raw}
		for b.Loop() {
			if err := parsed.Verify(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
	})
}

// What a broker's walk accepts, a reader decodes; what one refuses, the other does.
func TestOneLimitOfDecompressedBytes(t *testing.T) {
	noise := make([]byte, 1_100_000)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	for _, zeros := range []int{130 << 20, 150 << 20} { // the limit is about 134 MiB
		b := NewBuilder(Zstd)
		b.Append(0, nil, noise, nil)
		b.Append(0, nil, make([]byte, zeros), nil)
		raw, err := b.Finish(NoProducer())
		require.NoError(t, err)
		whole, _, err := Parse(raw)
		require.NoError(t, err)
		require.Less(t, len(raw), 1_200_000)
		_, walked := new(Decoder).Inspect(whole, nil)
		_, read := whole.Records(new(Decoder))
		if zeros < DecompressedBytesMax(len(raw))-len(noise) {
			require.NoError(t, walked)
			require.NoError(t, read)
		} else {
			require.ErrorIs(t, walked, ErrTooLarge)
			require.ErrorIs(t, read, ErrTooLarge)
		}
	}
}
