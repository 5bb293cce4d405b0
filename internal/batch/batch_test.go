package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type record struct {
	timestamp  int64
	key, value []byte
	headers    []Header
}

func newRNG(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func randomBytes(rng *rand.Rand, most int) []byte {
	switch rng.IntN(8) {
	case 0:
		return nil
	case 1:
		return []byte{}
	case 2:
		most *= 40
	}
	out := make([]byte, rng.IntN(most+1))
	for i := range out {
		out[i] = byte(rng.IntN(16)) // compressible
	}
	return out
}

func randomRecords(rng *rand.Rand, n int) []record {
	records := make([]record, n)
	base := rng.Int64N(2_000_000_000_000)
	for i := range records {
		r := record{
			timestamp: base + rng.Int64N(10_000) - 3_000,
			key:       randomBytes(rng, 20),
			value:     randomBytes(rng, 90),
		}
		if rng.IntN(10) == 0 {
			r.timestamp = rng.Int64N(math.MaxInt64)
		}
		for range rng.IntN(12) / 9 * rng.IntN(80) {
			r.headers = append(r.headers, Header{Key: string(randomBytes(rng, 9)), Value: randomBytes(rng, 9)})
		}
		records[i] = r
	}
	return records
}

func build(t testing.TB, b *Builder, p Producer, records []record) []byte {
	b.Reset()
	for _, r := range records {
		b.Append(r.timestamp, r.key, r.value, r.headers)
	}
	require.Equal(t, len(records), b.Len())
	raw, err := b.Finish(p)
	require.NoError(t, err)
	return raw
}

func requireRecords(t testing.TB, want []record, b Batch, d *Decoder) {
	it, err := b.Records(d)
	require.NoError(t, err)
	var r Record
	for i, w := range want {
		require.True(t, it.Next(&r), "record %d: %v", i, it.Err())
		require.Equal(t, b.BaseOffset()+int64(i), r.Offset)
		require.Equal(t, w.timestamp, r.Timestamp)
		require.Equal(t, w.key, r.Key)
		require.Equal(t, w.value, r.Value)
		require.Equal(t, len(w.headers) > 0, r.HasHeaders())
		headers, err := r.Headers(nil)
		require.NoError(t, err)
		require.Equal(t, w.headers, headers)
	}
	require.False(t, it.Next(&r))
	require.NoError(t, it.Err())
}

func TestRoundTripInEveryCompression(t *testing.T) {
	rng := newRNG(t)
	for c := None; c <= Zstd; c++ {
		t.Run(c.String(), func(t *testing.T) {
			b, d := NewBuilder(c), new(Decoder)
			for range 60 {
				records := randomRecords(rng, 1+rng.IntN(200))
				p := Producer{ID: rng.Int64N(1000) - 1, Epoch: int16(rng.IntN(9)), Sequence: rng.Int32(),
					Transactional: rng.IntN(2) == 0}
				raw := slices.Clone(build(t, b, p, records))
				offset := rng.Int64N(math.MaxInt64 - math.MaxInt32)
				SetBaseOffset(raw, offset, 7)
				got, rest, err := Parse(append(raw, "tail"...))
				require.NoError(t, err)
				require.Equal(t, "tail", string(rest))
				require.NoError(t, got.Verify())
				require.Equal(t, offset, got.BaseOffset())
				require.Equal(t, offset+int64(len(records))-1, got.LastOffset())
				require.Equal(t, int32(7), got.LeaderEpoch())
				require.Equal(t, p.ID, got.ProducerID())
				require.Equal(t, p.Epoch, got.ProducerEpoch())
				require.Equal(t, p.Sequence, got.BaseSequence())
				require.Equal(t, p.Transactional, got.IsTransactional())
				require.False(t, got.IsControl())
				require.Equal(t, records[0].timestamp, got.BaseTimestamp())
				require.Equal(t, slices.MaxFunc(records, func(a, b record) int {
					return int(min(max(a.timestamp-b.timestamp, -1), 1))
				}).timestamp, got.MaxTimestamp())
				requireRecords(t, records, got, d)
			}
		})
	}
}

func TestEncodingEqualsKmsg(t *testing.T) {
	rng := newRNG(t)
	b := NewBuilder(None)
	for range 200 {
		records := randomRecords(rng, 1+rng.IntN(100))
		p := Producer{ID: rng.Int64N(5) - 1, Epoch: int16(rng.IntN(5)), Sequence: rng.Int32(),
			Transactional: rng.IntN(2) == 0}
		require.Equal(t, kmsgBatch(t, p, records), build(t, b, p, records))
	}
}

// TestEncodingEqualsKmsgWhereSizesChange goes over the sizes at which a number takes another byte, and at which a
// record is no longer short.
func TestEncodingEqualsKmsgWhereSizesChange(t *testing.T) {
	field := func(n int) []byte {
		if n < 0 {
			return nil
		}
		return bytes.Repeat([]byte{'x'}, n)
	}
	const base = 1_700_000_000_000
	records := []record{{timestamp: base}}
	for _, key := range []int{-1, 0, 1, 7, 8, 9, 15, 16, 17, 24, 31, 63, 64, 65} {
		for _, value := range []int{-1, 0, 1, 55, 56, 57, 63, 64, 4095, 4096, 8192} {
			for _, delta := range []int64{0, 63, -64, 64, -65, 8191, -8192, 8192, 1 << 40, -1 << 40} {
				records = append(records, record{timestamp: base + delta, key: field(key), value: field(value)})
			}
		}
	}
	for len(records) < 1<<13+2 { // the offset's delta takes a third byte
		records = append(records, record{timestamp: base, value: []byte("v")})
	}
	require.Equal(t, kmsgBatch(t, NoProducer(), records), build(t, NewBuilder(None), NoProducer(), records))
}

// kmsgBatch encodes the records with franz-go's codec.
func kmsgBatch(t testing.TB, p Producer, records []record) []byte {
	var body []byte
	last := records[0].timestamp
	for i, r := range records {
		last = max(last, r.timestamp)
		k := kmsg.Record{TimestampDelta64: r.timestamp - records[0].timestamp, OffsetDelta: int32(i),
			Key: r.key, Value: r.value}
		for _, h := range r.headers {
			k.Headers = append(k.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		// The length field counts what comes after itself; encode once to learn it.
		var size kmsg.Record = k
		size.Length = 0
		k.Length = int32(len(size.AppendTo(nil)) - 1)
		body = k.AppendTo(body)
	}
	k := kmsg.RecordBatch{
		Length: int32(HeaderBytes - lengthOverhead + len(body)), PartitionLeaderEpoch: -1, Magic: 2,
		LastOffsetDelta: int32(len(records) - 1), FirstTimestamp: records[0].timestamp, MaxTimestamp: last,
		ProducerID: p.ID, ProducerEpoch: p.Epoch, FirstSequence: p.Sequence, NumRecords: int32(len(records)),
		Records: body,
	}
	if p.Transactional {
		k.Attributes = attrTransactional
	}
	raw := k.AppendTo(nil)
	sealChecksum(raw)
	require.NoError(t, new(kmsg.RecordBatch).ReadFrom(raw))
	return raw
}

func TestLogAppendTimeIsEveryRecordsTimestamp(t *testing.T) {
	raw := build(t, NewBuilder(None), NoProducer(), []record{{timestamp: 5, key: []byte("a")}, {timestamp: 9}})
	SetLogAppendTime(raw, 77)
	b, _, err := Parse(raw)
	require.NoError(t, err)
	require.NoError(t, b.Verify())
	require.True(t, b.IsLogAppendTime())
	require.Equal(t, int64(77), b.MaxTimestamp())
	requireRecords(t, []record{{timestamp: 77, key: []byte("a")}, {timestamp: 77}}, b, nil)
}

func TestBatchesOfWalksUntilAnIncompleteTail(t *testing.T) {
	var all []byte
	bld := NewBuilder(None)
	for i := range 3 {
		raw := build(t, bld, NoProducer(), []record{{timestamp: int64(i), value: []byte("v")}})
		SetBaseOffset(raw, int64(10+i), 0)
		all = append(all, raw...)
	}
	walk := func(src []byte) (offsets []int64, failure error) {
		for b, err := range BatchesOf(src) {
			if err != nil {
				failure = err
				continue
			}
			offsets = append(offsets, b.BaseOffset())
		}
		return offsets, failure
	}
	offsets, err := walk(all)
	require.NoError(t, err)
	require.Equal(t, []int64{10, 11, 12}, offsets)
	for cut := 1; cut < len(all)/3; cut++ {
		offsets, err = walk(all[:len(all)-cut])
		require.NoError(t, err)
		require.Equal(t, []int64{10, 11}, offsets)
	}
	all[len(all)/3+posMagic] = 1
	offsets, err = walk(all)
	require.ErrorIs(t, err, ErrMagic)
	require.Equal(t, []int64{10}, offsets)
}

func TestParseRefusesContradictions(t *testing.T) {
	good := build(t, NewBuilder(None), NoProducer(), []record{{value: []byte("v")}, {value: []byte("w")}})
	for name, spoil := range map[string]func(raw []byte){
		"negative offset":       func(raw []byte) { putInt64(raw[posBaseOffset:], -1) },
		"overflowing offset":    func(raw []byte) { putInt64(raw[posBaseOffset:], math.MaxInt64) },
		"length below a header": func(raw []byte) { putInt32(raw[posLength:], 48) },
		"negative length":       func(raw []byte) { putInt32(raw[posLength:], -1) },
		"negative last delta":   func(raw []byte) { putInt32(raw[posLastOffsetDelta:], -1) },
		"more records":          func(raw []byte) { putInt32(raw[posCount:], 3) },
		"negative count":        func(raw []byte) { putInt32(raw[posCount:], -1) },
		"unknown compression":   func(raw []byte) { raw[posAttributes+1] = 7 },
	} {
		raw := slices.Clone(good)
		spoil(raw)
		_, _, err := Parse(raw)
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
	for n := range good {
		_, _, err := Parse(good[:n])
		require.ErrorIs(t, err, ErrShort)
	}
}

func TestVerifyFindsEveryFlippedBit(t *testing.T) {
	good := build(t, NewBuilder(None), NoProducer(), []record{{key: []byte("key"), value: []byte("value")}})
	for i := posCRC; i < len(good); i++ {
		raw := slices.Clone(good)
		raw[i] ^= 1 << (i % 8)
		require.ErrorIs(t, Batch{raw: raw}.Verify(), ErrCorrupt, "byte %d", i)
	}
}

func TestRecordsRefuseBrokenPayload(t *testing.T) {
	records := []record{{key: []byte("key"), value: []byte("value"), headers: []Header{{Key: "h", Value: []byte("x")}}},
		{key: []byte("k2")}}
	good := build(t, NewBuilder(None), NoProducer(), records)
	read := func(raw []byte) error {
		b, _, err := Parse(raw)
		require.NoError(t, err)
		it, err := b.Records(nil)
		require.NoError(t, err)
		var r Record
		for it.Next(&r) {
		}
		return it.Err()
	}
	require.NoError(t, read(good))
	// A record cut, a byte too many, offsets out of range.
	short := slices.Clone(good[:len(good)-1])
	putInt32(short[posLength:], int32(len(short)-lengthOverhead))
	require.ErrorIs(t, read(short), ErrCorrupt)
	long := append(slices.Clone(good), 0)
	putInt32(long[posLength:], int32(len(long)-lengthOverhead))
	require.ErrorIs(t, read(long), ErrCorrupt)
	delta := slices.Clone(good)
	delta[HeaderBytes+3] = 2 * 9
	require.ErrorIs(t, read(delta), ErrCorrupt)
}

func TestControlRoundTrip(t *testing.T) {
	for _, want := range []Control{
		{Type: Commit, ProducerID: 9, ProducerEpoch: 3, CoordinatorEpoch: 12, Timestamp: 99},
		{Type: Abort, ProducerID: 1, ProducerEpoch: 0, CoordinatorEpoch: -1, Timestamp: 1 << 41},
	} {
		raw := AppendControl([]byte("x"), want)[1:]
		b, rest, err := Parse(raw)
		require.NoError(t, err)
		require.Empty(t, rest)
		require.NoError(t, b.Verify())
		require.True(t, b.IsControl())
		require.True(t, b.IsTransactional())
		require.Equal(t, want.ProducerID, b.ProducerID())
		require.Equal(t, want.ProducerEpoch, b.ProducerEpoch())
		require.Equal(t, want.Timestamp, b.MaxTimestamp())
		require.Equal(t, int32(-1), b.LastSequence())
		kind, epoch, err := b.Control()
		require.NoError(t, err)
		require.Equal(t, want.Type, kind)
		require.Equal(t, want.CoordinatorEpoch, epoch)
		var key kmsg.ControlRecordKey
		it, err := b.Records(nil)
		require.NoError(t, err)
		var r Record
		require.True(t, it.Next(&r))
		require.NoError(t, key.ReadFrom(r.Key))
		require.Equal(t, int16(want.Type), int16(key.Type))
		var value kmsg.EndTxnMarker
		require.NoError(t, value.ReadFrom(r.Value))
		require.Equal(t, want.CoordinatorEpoch, value.CoordinatorEpoch)
	}
	_, _, err := Batch{raw: build(t, NewBuilder(None), NoProducer(), []record{{}})}.Control()
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestSequenceWraps(t *testing.T) {
	require.Equal(t, int32(0), AddSequence(math.MaxInt32, 1))
	require.Equal(t, int32(4), AddSequence(math.MaxInt32-1, 6))
	require.Equal(t, int32(5), AddSequence(3, 2))
}

func TestFinishTwiceStampsTheLastProducer(t *testing.T) {
	for c := None; c <= Zstd; c++ {
		b := NewBuilder(c)
		_, err := b.Finish(NoProducer())
		require.Error(t, err)
		for range 100 {
			b.Append(1, []byte("key"), []byte("the same value again and again"), nil)
		}
		_, err = b.Finish(Producer{ID: 1, Epoch: 1})
		require.NoError(t, err)
		raw, err := b.Finish(Producer{ID: 1, Epoch: 2})
		require.NoError(t, err)
		got, _, err := Parse(raw)
		require.NoError(t, err)
		require.NoError(t, got.Verify())
		require.Equal(t, int16(2), got.ProducerEpoch())
		require.Equal(t, c, got.Compression())
	}
}

func TestIncompressibleRecordsStayPlain(t *testing.T) {
	raw := build(t, NewBuilder(Gzip), NoProducer(), []record{{value: []byte("q")}})
	b, _, err := Parse(raw)
	require.NoError(t, err)
	require.Equal(t, None, b.Compression())
}

func TestDecompressionHasALimit(t *testing.T) {
	value := make([]byte, 1<<20)
	for c := Gzip; c <= Zstd; c++ {
		raw := build(t, NewBuilder(c), NoProducer(), []record{{value: value}})
		require.Less(t, len(raw), 100_000)
		b, _, err := Parse(raw)
		require.NoError(t, err)
		for _, limit := range []int{1000, 1 << 20} {
			_, err = b.Records(&Decoder{MaxBytes: limit})
			require.ErrorIs(t, err, ErrTooLarge, "%v %d", c, limit)
		}
		_, err = b.Records(&Decoder{MaxBytes: 1<<20 + 100})
		require.NoError(t, err, c)
	}
	// Raw snappy announces its size: the announcement alone must not make us allocate.
	lie := binary.AppendUvarint(nil, 1<<31)
	_, err := unsnappy(lie, 1<<20)
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestBrokenCompressionIsCorruption(t *testing.T) {
	for c := Gzip; c <= Zstd; c++ {
		good := build(t, NewBuilder(c), NoProducer(), []record{{value: bytes.Repeat([]byte("abcdefgh"), 1000)}})
		d := new(Decoder)
		for range 2 {
			raw := slices.Clone(good)
			for i := HeaderBytes; i < len(raw); i++ {
				raw[i] ^= 0x5a
			}
			b, _, err := Parse(raw)
			require.NoError(t, err)
			_, err = b.Records(d)
			require.Error(t, err, c)
			// The decoder is not spoilt by it.
			b, _, err = Parse(good)
			require.NoError(t, err)
			_, err = b.Records(d)
			require.NoError(t, err, c)
		}
	}
}

func TestRawSnappyIsRead(t *testing.T) {
	payload := bytes.Repeat([]byte("thalweg "), 500)
	out, err := unsnappy(s2.EncodeSnappy(nil, payload), 1<<20)
	require.NoError(t, err)
	require.Equal(t, payload, out)
}

func TestParseCompression(t *testing.T) {
	for c := None; c <= Zstd; c++ {
		got, err := ParseCompression(c.String())
		require.NoError(t, err)
		require.Equal(t, c, got)
	}
	_, err := ParseCompression("brotli")
	require.ErrorContains(t, err, "brotli")
}

func TestAllocations(t *testing.T) {
	b := NewBuilder(None)
	key, value := []byte("0123456789abcdef"), make([]byte, 84)
	headers := []Header{{Key: "trace", Value: []byte("abc")}}
	fill := func() {
		b.Reset()
		for i := range 1000 {
			b.Append(int64(i), key, value, headers)
		}
		if _, err := b.Finish(NoProducer()); err != nil {
			panic(err)
		}
	}
	fill()
	require.Zero(t, testing.AllocsPerRun(20, fill))
	raw, err := b.Finish(NoProducer())
	require.NoError(t, err)
	n := 0
	require.Zero(t, testing.AllocsPerRun(20, func() {
		got, _, err := Parse(raw)
		if err != nil || got.Verify() != nil {
			panic(err)
		}
		it, err := got.Records(nil)
		if err != nil {
			panic(err)
		}
		var r Record
		for it.Next(&r) {
			n += len(r.Key)
		}
	}))
	require.NotZero(t, n)
}

func FuzzParse(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for c := None; c <= Zstd; c++ {
		b := NewBuilder(c)
		f.Add(slices.Clone(build(f, b, NoProducer(), randomRecords(rng, 5))))
	}
	f.Add(AppendControl(nil, Control{Type: Commit}))
	f.Fuzz(func(t *testing.T, src []byte) {
		d := &Decoder{MaxBytes: 1 << 20}
		for b, err := range BatchesOf(src) {
			if err != nil {
				return
			}
			_ = b.Verify()
			_, _, _ = b.Control()
			it, err := b.Records(d)
			if err != nil {
				continue
			}
			var r Record
			last, n := b.BaseOffset()-1, 0
			for it.Next(&r) {
				if r.Offset <= last || r.Offset > b.LastOffset() {
					t.Fatalf("offset %d after %d", r.Offset, last)
				}
				last = r.Offset
				n++
				_, _ = r.Headers(nil)
			}
			if it.Err() == nil && n != b.Count() {
				t.Fatalf("%d records of %d", n, b.Count())
			}
		}
	})
}

// FuzzRecords gives the iterator arbitrary record bytes under a valid header, and encodes again what it reads.
func FuzzRecords(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for n := range 5 {
		f.Add(slices.Clone(build(f, NewBuilder(None), NoProducer(), randomRecords(rng, 1+n))[HeaderBytes:]), 1+n)
	}
	f.Fuzz(func(t *testing.T, body []byte, count int) {
		if count < 1 || count > 1000 {
			return
		}
		raw := append(make([]byte, HeaderBytes), body...)
		h := header{count: int32(count), lastOffsetDelta: int32(count - 1), producer: NoProducer()}
		h.write(raw)
		b, _, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		it, err := b.Records(nil)
		if err != nil {
			t.Fatal(err)
		}
		var records []record
		var r Record
		for it.Next(&r) {
			headers, err := r.Headers(nil)
			if err != nil {
				return
			}
			records = append(records, record{r.Timestamp, r.Key, r.Value, headers})
		}
		if it.Err() != nil || len(records) == 0 {
			return
		}
		got, _, err := Parse(build(t, NewBuilder(None), NoProducer(), records))
		if err != nil {
			t.Fatal(err)
		}
		requireRecords(t, records, got, nil)
	})
}

// TestAppendFillsItsRoom: in whatever room there is left, a record comes out as it does with room to spare.
func TestAppendFillsItsRoom(t *testing.T) {
	for key := range 20 {
		for value := range 80 {
			for _, ts := range []int64{0, 100} {
				k, v := bytes.Repeat([]byte("k"), key), bytes.Repeat([]byte("v"), value)
				spacious := NewBuilder(None)
				spacious.Append(0, nil, nil, nil)
				first := spacious.Size()
				spacious.Append(ts, k, v, nil)
				for room := first; room <= first+shortOverhead+key+value+1; room++ {
					tight := NewBuilder(None)
					tight.room = make([]byte, room)
					tight.Append(0, nil, nil, nil)
					tight.Append(ts, k, v, nil)
					require.Equal(t, spacious.room[HeaderBytes:spacious.size], tight.room[HeaderBytes:tight.size])
				}
			}
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, size := range []int{16, 100} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			bld := NewBuilder(None)
			key, value := make([]byte, size/6), make([]byte, size-size/6)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for n := 0; n < b.N; {
				bld.Reset()
				for i := 0; i < 1000 && n < b.N; i++ {
					bld.Append(1_700_000_000_000+int64(i), key, value, nil)
					n++
				}
				if _, err := bld.Finish(NoProducer()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, size := range []int{16, 100} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			bld := NewBuilder(None)
			for i := range 1000 {
				bld.Append(1_700_000_000_000+int64(i), make([]byte, size/6), make([]byte, size-size/6), nil)
			}
			raw, err := bld.Finish(NoProducer())
			require.NoError(b, err)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			sum := 0
			for n := 0; n < b.N; {
				got, _, err := Parse(raw)
				if err != nil || got.Verify() != nil {
					b.Fatal("corrupt")
				}
				it, err := got.Records(nil)
				if err != nil {
					b.Fatal(err)
				}
				var r Record
				for it.Next(&r) {
					sum += len(r.Value)
					n++
				}
			}
			if sum == 0 {
				b.Fatal("nothing read")
			}
		})
	}
}
