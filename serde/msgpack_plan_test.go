package serde_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"thalweg/serde"
	"thalweg/serde/serdetest"
)

// everything has each kind of field that is coded by a plan.
type everything struct {
	Bool    bool
	Int     int
	I8      int8
	I16     int16
	I32     int32
	I64     int64 `msgpack:"i64,omitempty"`
	Uint    uint
	U8      uint8
	U16     uint16
	U32     uint32
	U64     uint64
	F32     float32
	F64     float64 `msgpack:",omitempty"`
	Text    string  `msgpack:"a much longer name than thirty-one bytes"`
	Raw     []byte
	At      time.Time
	For     time.Duration
	Name    customerID
	Inner   struct{ A, B string }
	Inners  []struct{ X int8 }
	Texts   []string `msgpack:",omitempty"`
	Next    *everything
	Number  *int64
	Skipped string `msgpack:"-"`
}

func randomEverything(rng *rand.Rand, depth int) everything {
	integer := func() int64 { return int64(rng.Uint64()) >> rng.IntN(64) }
	text := func() string { return strings.Repeat("é", []int{0, 3, 15, 16, 130, 33000}[rng.IntN(6)]) }
	v := everything{
		Bool: rng.IntN(2) == 0, Int: int(integer()), I8: int8(integer()), I16: int16(integer()), I32: int32(integer()),
		I64: integer(), Uint: uint(integer()), U8: uint8(integer()), U16: uint16(integer()), U32: uint32(integer()),
		U64: uint64(integer()), F32: rng.Float32(), F64: rng.NormFloat64(), Text: text(), Name: customerID(text()),
		At: time.Unix(integer()>>8, rng.Int64N(2)*rng.Int64N(1e9)).UTC(), For: time.Duration(integer()),
	}
	v.Inner.B = text()
	if rng.IntN(2) == 0 {
		v.Raw = []byte(text())
		v.Inners = make([]struct{ X int8 }, []int{0, 2, 20, 70000}[rng.IntN(4)])
		v.Texts = []string{text(), ""}
		v.Number = new(integer())
	}
	if depth > 0 {
		v.Next = new(randomEverything(rng, depth-1))
	}
	return v
}

// The library reads what a plan writes and a plan reads what the library writes, whatever it is told about size.
func TestPlanSpeaksTheLanguageOfTheLibrary(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	for range 60 {
		want := randomEverything(rng, rng.IntN(3))
		for _, arrays := range []bool{false, true} {
			s := serde.Msgpack[everything]()
			if arrays {
				s = serde.MsgpackArray[everything]()
			}
			ours, err := s.Append(nil, want)
			require.NoError(t, err)
			var theirs everything
			require.NoError(t, msgpack.Unmarshal(ours, &theirs))
			require.Equal(t, want, inUTC(theirs))

			for _, compact := range []bool{false, true} {
				var out strings.Builder
				enc := msgpack.NewEncoder(&out)
				enc.UseCompactInts(compact)
				enc.UseArrayEncodedStructs(arrays)
				require.NoError(t, enc.Encode(&want))
				back, err := s.Decode([]byte(out.String()))
				require.NoError(t, err)
				require.Equal(t, want, back)
				if compact {
					require.Equal(t, out.String(), string(ours))
				}
			}
		}
	}
}

// inUTC undoes the local zone that the library gives to times.
func inUTC(v everything) everything {
	v.At = v.At.UTC()
	if v.Next != nil {
		v.Next = new(inUTC(*v.Next))
	}
	return v
}

func TestPlanConformance(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	small := randomEverything(rng, 0)
	small.Text, small.Name, small.Raw, small.Inners, small.Inner.B, small.Texts = "x", "", nil, nil, "", nil
	values := []everything{{}, small, {Raw: []byte{}, Inners: []struct{ X int8 }{}, Next: &everything{}}}
	serdetest.Run(t, serde.For[everything](), values...)
	serdetest.Run(t, serde.For[*everything](), &values[0], &values[2])
	serdetest.Run(t, serde.MsgpackArray[[]everything](), []everything{}, values)
	serdetest.Run(t, serde.Msgpack[string](), "", "x", strings.Repeat("x", 300))
	serdetest.Run(t, serde.Msgpack[[]string](), []string{}, []string{"", "x"})
	serdetest.Run(t, serde.Msgpack[time.Time](), time.Time{}, time.Unix(1, 0).UTC(), time.Unix(1<<33, 1).UTC())
}

func TestPlanErrors(t *testing.T) {
	s := serde.For[everything]()
	refuses := func(want string, src string) {
		t.Helper()
		_, err := s.Decode([]byte(src))
		require.ErrorContains(t, err, "serde_test.everything: ")
		require.ErrorContains(t, err, want)
	}
	refuses("field I8: 200 does not fit 8 bits", "\x81\xa2I8\xcc\xc8")
	refuses("field U16: -1 does not fit 16 bits", "\x81\xa3U16\xff")
	refuses("field Int: 18446744073709551615 does not fit 64 bits", "\x81\xa3Int\xcf\xff\xff\xff\xff\xff\xff\xff\xff")
	refuses("field Bool: want a bool, got code 01", "\x81\xa4Bool\x01")
	refuses("field Inners: element 0: field X: want an integer, got code a0", "\x81\xa6Inners\x91\x81\xa1X\xa0")
	refuses("field Inners: the value is cut off", "\x81\xa6Inners\xdd\xff\xff\xff\xff")
	refuses("want a map or an array of serde_test.everything, got code 01", "\x01")
	refuses("field At: want a timestamp, got code a1", "\x81\xa2At\xa1x")
	refuses("name of a field: want a string, got code 01", "\x81\x01\x01")
	refuses("1 bytes after the value", "\x80\x80")
	refuses("values nest deeper than 1000 levels", strings.Repeat("\x81\xa4Next", 2000))
	refuses("values nest deeper than 1000 levels", "\x81\xa1?"+strings.Repeat("\x91", 2000))

	loop := &everything{}
	loop.Next = loop
	_, err := s.Append(nil, *loop)
	require.ErrorContains(t, err, "does one contain itself?")
}

func TestPlanDecodesOddities(t *testing.T) {
	s := serde.For[everything]()
	decode := func(src string) everything {
		t.Helper()
		v, err := s.Decode([]byte(src))
		require.NoError(t, err)
		return v
	}
	// Null is zero, the last of two fields of a name counts, a field from elsewhere does not, a number is a float.
	require.Equal(t, everything{}, decode("\x81\xa4Text\xc0"))
	require.Equal(t, everything{}, decode("\xc0"))
	require.Equal(t, everything{}, decode("\x82\xa5Inner\x81\xa1A\xa1x\xa5Inner\xc0"))
	require.Equal(t, everything{U8: 2}, decode("\x83\xa2U8\x01\xa3new\x92\x01\x02\xa2U8\x02"))
	require.Equal(t, everything{F64: -3, F32: 1.5}, decode("\x82\xa3F64\xfd\xa3F32\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"))
	require.Equal(t, everything{Bool: true, Int: 7}, decode("\x92\xc3\x07"))
	require.Equal(t, everything{F32: float32(math.Inf(1))}, decode("\x81\xa3F32\xca\x7f\x80\x00\x00"))
	// Bytes are a copy, which an aggregate may write to.
	src := []byte("\x81\xa3Raw\xc4\x01x")
	v, err := s.Decode(src)
	require.NoError(t, err)
	v.Raw[0] = 'y'
	require.Equal(t, "\x81\xa3Raw\xc4\x01x", string(src))
}

// A plan in its fast path allocates nothing but what a value consists of.
func TestPlanAllocations(t *testing.T) {
	check(t, "plan", serde.Msgpack[sample](), newSample(), 0, 0)
	check(t, "plan, arrays", serde.MsgpackArray[sample](), newSample(), 0, 0)
	check(t, "pointer", serde.For[*sample](), new(newSample()), 0, 1)
}

func FuzzPlan(f *testing.F) {
	s := serde.For[everything]()
	for _, v := range []everything{{}, {Text: "x", I8: -100, Texts: []string{"a"}, Next: &everything{Raw: []byte{1}}}} {
		b, err := s.Append(nil, v)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		v, err := s.Decode(src)
		if err != nil {
			return
		}
		b, err := s.Append(nil, v)
		require.NoError(t, err)
		again, err := s.Decode(b)
		require.NoError(t, err)
		c, err := s.Append(nil, again)
		require.NoError(t, err)
		require.Equal(t, b, c) // NaN is no equal of itself, its bytes are
	})
}
