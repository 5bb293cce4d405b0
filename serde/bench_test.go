package serde_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"thalweg/serde"
)

// Hot paths allocate nothing: what a task does per record with its local serdes.
func TestAllocations(t *testing.T) {
	type point struct {
		X, Y int64
		Z    float64
	}
	check(t, "string", serde.For[string](), "word", 0, 0)
	check(t, "bytes", serde.For[[]byte](), []byte("word"), 0, 0)
	check(t, "int64", serde.For[int64](), 7, 0, 0)
	check(t, "int", serde.For[int](), 7, 0, 0)
	check(t, "float64", serde.For[float64](), 7, 0, 0)
	check(t, "named string", serde.For[customerID](), "c-1", 0, 0)
	check(t, "named int64", serde.For[cents](), 7, 0, 0)
	check(t, "uuid", serde.For[uuid.UUID](), uuid.UUID{1}, 0, 0)
	check(t, "time", serde.For[time.Time](), time.Unix(1, 2), 0, 0)
	check(t, "*int64", serde.For[*int64](), new(int64(7)), 0, 1)
	check(t, "own methods", serde.For[viaBinary](), viaBinary{"x"}, 0, 2) // its own copies
	check(t, "ordered struct", serde.Serde[regionDay](serde.Ordered[regionDay]()), regionDay{Region: "eu"}, 0, 0)
	check(t, "composed", serde.Serde[abc](composedParts()), abc{"a", 1, "b"}, 0, 1) // descending copies
	check(t, "versioned", serde.Versioned(1, serde.For[int64]()), 7, 0, 0)
	check(t, "msgpack numbers", serde.For[point](), point{1, 2, 3}, 0, 0)
	check(t, "json", serde.JSON[point](), point{1, 2, 3}, 0, 0)
}

func check[T any](t *testing.T, name string, shared serde.Serde[T], v T, appendMax, decodeMax float64) {
	t.Helper()
	s := serde.Local(shared)
	raw, err := s.Append(nil, v)
	require.NoError(t, err)
	dst := make([]byte, 0, 2*len(raw))
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { _, _ = s.Append(dst, v) }), appendMax, "append %s", name)
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { _, _ = s.Decode(raw) }), decodeMax, "decode %s", name)
}

func BenchmarkString(b *testing.B) { bench(b, serde.For[string](), "the word") }
func BenchmarkInt64(b *testing.B)  { bench(b, serde.For[int64](), 123456789) }
func BenchmarkInt32(b *testing.B)  { bench(b, serde.For[int32](), 123456789) }
func BenchmarkNamed(b *testing.B)  { bench(b, serde.For[customerID](), "the word") }
func BenchmarkUUID(b *testing.B)   { bench(b, serde.For[uuid.UUID](), uuid.UUID{1, 2, 3}) }
func BenchmarkTime(b *testing.B)   { bench(b, serde.For[time.Time](), time.Unix(1700000000, 5)) }

func BenchmarkOrderedString(b *testing.B) {
	bench(b, serde.Serde[string](serde.Ordered[string]()), "the word")
}
func BenchmarkOrderedStruct(b *testing.B) {
	bench(b, serde.Serde[regionDay](serde.Ordered[regionDay]()), regionDay{Region: "eu-central", Day: 20000})
}
func BenchmarkList(b *testing.B) { bench(b, serde.For[[]int64](), []int64{1, 2, 3, 4, 5, 6, 7, 8}) }

// sample has the shape of the document that the figures for reflection serdes were measured with: 7 fields, 82 bytes.
type sample struct {
	ID       string
	Customer string
	Amount   float64
	Quantity int64
	Paid     bool
	Country  string
	At       int64
}

func BenchmarkMsgpack(b *testing.B)      { bench(b, serde.Msgpack[sample](), newSample()) }
func BenchmarkMsgpackArray(b *testing.B) { bench(b, serde.MsgpackArray[sample](), newSample()) }
func BenchmarkJSON(b *testing.B)         { bench(b, serde.JSON[sample](), newSample()) }

func newSample() sample {
	return sample{"order-123456", "customer-42", 129.95, 3, true, "DE", 1700000000000}
}

func bench[T any](b *testing.B, shared serde.Serde[T], v T) {
	for name, s := range map[string]serde.Serde[T]{"shared": shared, "local": serde.Local(shared)} {
		raw, err := s.Append(nil, v)
		require.NoError(b, err)
		dst := make([]byte, 0, len(raw))
		b.Run("append/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Append(dst, v); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("decode/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Decode(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
