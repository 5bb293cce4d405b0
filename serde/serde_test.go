package serde_test

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"thalweg/serde"
	"thalweg/serde/serdetest"
)

type (
	customerID string
	cents      int64
	small      int8
	flags      uint16
	ratio      float32
	yes        bool
	payload    []byte
	digest     [32]byte
	token      [16]byte
	stamp      time.Time
	count      int
	ucount     uint
)

func TestForBuiltIn(t *testing.T) {
	id := uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	when := time.Date(2024, 2, 29, 12, 30, 1, 987654321, time.UTC)
	t.Run("bool", func(t *testing.T) { serdetest.Run(t, serde.For[bool](), false, true) })
	t.Run("int8", func(t *testing.T) { serdetest.Run(t, serde.For[int8](), 0, -128, 127) })
	t.Run("int16", func(t *testing.T) { serdetest.Run(t, serde.For[int16](), 0, -1, math.MinInt16) })
	t.Run("int32", func(t *testing.T) { serdetest.Run(t, serde.For[int32](), 0, -1, math.MinInt32) })
	t.Run("int64", func(t *testing.T) { serdetest.Run(t, serde.For[int64](), 0, -1, math.MinInt64, math.MaxInt64) })
	t.Run("int", func(t *testing.T) { serdetest.Run(t, serde.For[int](), 0, -1, math.MinInt) })
	t.Run("uint8", func(t *testing.T) { serdetest.Run(t, serde.For[uint8](), 0, 255) })
	t.Run("uint16", func(t *testing.T) { serdetest.Run(t, serde.For[uint16](), 0, math.MaxUint16) })
	t.Run("uint32", func(t *testing.T) { serdetest.Run(t, serde.For[uint32](), 0, math.MaxUint32) })
	t.Run("uint64", func(t *testing.T) { serdetest.Run(t, serde.For[uint64](), 0, math.MaxUint64) })
	t.Run("uint", func(t *testing.T) { serdetest.Run(t, serde.For[uint](), 0, math.MaxUint) })
	t.Run("float32", func(t *testing.T) { serdetest.Run(t, serde.For[float32](), 0, -1.5, float32(math.NaN())) })
	t.Run("float64", func(t *testing.T) { serdetest.Run(t, serde.For[float64](), 0, math.Inf(-1), math.NaN()) })
	t.Run("string", func(t *testing.T) { serdetest.Run(t, serde.For[string](), "", "wörter", "\x00\xff") })
	t.Run("bytes", func(t *testing.T) { serdetest.Run(t, serde.For[[]byte](), []byte{}, []byte("x")) })
	t.Run("uuid", func(t *testing.T) { serdetest.Run(t, serde.For[uuid.UUID](), uuid.UUID{}, id) })
	t.Run("[16]byte", func(t *testing.T) { serdetest.Run(t, serde.For[[16]byte](), [16]byte{}, [16]byte(id)) })
	t.Run("time", func(t *testing.T) {
		serdetest.Run(t, serde.For[time.Time](), time.Time{}, when, time.Unix(-1<<40, 1), time.Unix(1<<40, 0))
	})
	t.Run("duration", func(t *testing.T) { serdetest.Run(t, serde.For[time.Duration](), 0, -time.Hour) })
}

func TestForDeclaredOverBuiltIn(t *testing.T) {
	t.Run("string", func(t *testing.T) { serdetest.Run(t, serde.For[customerID](), "", "c-1") })
	t.Run("int64", func(t *testing.T) { serdetest.Run(t, serde.For[cents](), 0, -1) })
	t.Run("int8", func(t *testing.T) { serdetest.Run(t, serde.For[small](), -128, 127) })
	t.Run("uint16", func(t *testing.T) { serdetest.Run(t, serde.For[flags](), 0, 65535) })
	t.Run("float32", func(t *testing.T) { serdetest.Run(t, serde.For[ratio](), 0, 0.25) })
	t.Run("bool", func(t *testing.T) { serdetest.Run(t, serde.For[yes](), true, false) })
	t.Run("bytes", func(t *testing.T) { serdetest.Run(t, serde.For[payload](), payload{}, payload("x")) })
	t.Run("[32]byte", func(t *testing.T) { serdetest.Run(t, serde.For[digest](), digest{}, digest{31: 1}) })
	t.Run("[16]byte", func(t *testing.T) { serdetest.Run(t, serde.For[token](), token{}, token{15: 1}) })
	t.Run("int", func(t *testing.T) { serdetest.Run(t, serde.For[count](), -1, 1) })
	t.Run("uint", func(t *testing.T) { serdetest.Run(t, serde.For[ucount](), 0, 1) })
	t.Run("time", func(t *testing.T) { serdetest.Run(t, serde.For[stamp](), stamp(time.Unix(1, 2).UTC())) })
}

func TestForPointersAndLists(t *testing.T) {
	when := time.Unix(1700000000, 5).UTC()
	t.Run("*string", func(t *testing.T) { serdetest.Run(t, serde.For[*string](), new(""), new("x")) })
	t.Run("*customerID", func(t *testing.T) { serdetest.Run(t, serde.For[*customerID](), new(customerID("x"))) })
	t.Run("*time", func(t *testing.T) { serdetest.Run(t, serde.For[*time.Time](), &when) })
	t.Run("*uuid", func(t *testing.T) { serdetest.Run(t, serde.For[*uuid.UUID](), new(uuid.UUID{1})) })
	t.Run("*bytes", func(t *testing.T) { serdetest.Run(t, serde.For[*[]byte](), new([]byte("x"))) })
	t.Run("strings", func(t *testing.T) { serdetest.Run(t, serde.For[[]string](), []string{}, []string{"", "ab"}) })
	t.Run("bytes", func(t *testing.T) { serdetest.Run(t, serde.For[[][]byte](), [][]byte{nil, {}, {1}}) })
	t.Run("cents", func(t *testing.T) { serdetest.Run(t, serde.For[[]cents](), []cents{}, []cents{1, -1}) })
	t.Run("uuids", func(t *testing.T) { serdetest.Run(t, serde.For[[]uuid.UUID](), []uuid.UUID{{}, {1}}) })
	t.Run("times", func(t *testing.T) { serdetest.Run(t, serde.For[[]time.Time](), []time.Time{when, {}}) })
	t.Run("nullable", func(t *testing.T) {
		s := serde.List(serde.For[*int64]())
		serdetest.Run(t, s, []*int64{}, []*int64{nil, new(int64(1)), nil}, []*int64{nil})
	})
	t.Run("nested", func(t *testing.T) {
		serdetest.Run(t, serde.List(serde.For[[]string]()), [][]string{nil, {}, {"a"}})
	})
	t.Run("bools", func(t *testing.T) { serdetest.Run(t, serde.For[[]bool](), []bool{true, false}) })
	t.Run("ints", func(t *testing.T) { serdetest.Run(t, serde.For[[]int](), []int{1, -1}) })
	t.Run("floats", func(t *testing.T) { serdetest.Run(t, serde.For[[]float32](), []float32{1, -1}) })
	t.Run("small", func(t *testing.T) { serdetest.Run(t, serde.For[[]int8](), []int8{1, -1}) })
}

// The bytes of Kafka's own serializers, as its documentation and sources define them.
func TestKafkaBytes(t *testing.T) {
	is := func(want string, got []byte, err error) {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, want, hex.EncodeToString(got))
	}
	b, err := serde.For[int64]().Append(nil, -2)
	is("fffffffffffffffe", b, err)
	b, err = serde.For[int]().Append(nil, 1)
	is("0000000000000001", b, err)
	b, err = serde.For[int32]().Append(nil, 258)
	is("00000102", b, err)
	b, err = serde.For[int16]().Append(nil, -1)
	is("ffff", b, err)
	b, err = serde.For[float64]().Append(nil, 1)
	is("3ff0000000000000", b, err)
	b, err = serde.For[float32]().Append(nil, -2)
	is("c0000000", b, err)
	b, err = serde.For[bool]().Append(nil, true)
	is("01", b, err)
	b, err = serde.For[[]int32]().Append(nil, []int32{1, 2})
	is("00"+"00000000"+"00000002"+"00000001"+"00000002", b, err)
	b, err = serde.For[[]string]().Append(nil, []string{"a", ""})
	is("01"+"00000002"+"00000001"+"61"+"00000000", b, err)
	b, err = serde.List(serde.For[*int16]()).Append(nil, []*int16{nil, new(int16(7))})
	is("00"+"00000001"+"00000000"+"00000002"+"0007", b, err)
	b, err = serde.For[uuid.UUID]().Append(nil, uuid.MustParse("6BA7B810-9dad-11d1-80b4-00c04fd430c8"))
	require.NoError(t, err)
	require.Equal(t, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", string(b))
}

// For goes by the rules of the package comment.
func TestForChoosesByRule(t *testing.T) {
	require.IsType(t, serde.String{}, serde.For[string]())
	require.IsType(t, serde.Bytes{}, serde.For[[]byte]())
	require.IsType(t, serde.Int64{}, serde.For[int64]())
	bytesOf := func(b []byte, err error) string {
		require.NoError(t, err)
		return string(b)
	}
	require.Equal(t, "B:x", bytesOf(serde.For[viaBinary]().Append(nil, viaBinary{"x"})))
	require.Equal(t, "M:x", bytesOf(serde.For[viaMsg]().Append(nil, viaMsg{"x"})))
	require.Equal(t, "P:x", bytesOf(serde.For[viaMsgpack]().Append(nil, viaMsgpack{"x"})))
	require.Equal(t, "T:x", bytesOf(serde.For[viaText]().Append(nil, "x")))
	require.Equal(t, "half", bytesOf(serde.For[half]().Append(nil, "half")))
	require.Equal(t, "\x0a\x01x", bytesOf(serde.For[*wrapperspb.StringValue]().Append(nil, wrapperspb.String("x"))))
	// A pointer to a built-in goes by its element, though *uuid.UUID has binary methods.
	require.Equal(t, uuid.UUID{}.String(), bytesOf(serde.For[*uuid.UUID]().Append(nil, new(uuid.UUID{}))))
	// A list of what has methods of its own is left to MessagePack, which calls them.
	require.Equal(t, "\x91\xc4\x03T:x", bytesOf(serde.For[[]viaText]().Append(nil, []viaText{"x"})))
}

type viaBinary struct{ s string }

func (v viaBinary) AppendBinary(dst []byte) ([]byte, error) {
	return append(append(dst, "B:"...), v.s...), nil
}
func (v *viaBinary) UnmarshalBinary(src []byte) error { return cut(&v.s, "B:", src) }
func (v viaBinary) MarshalText() ([]byte, error)      { return nil, errors.New("not by text") }
func (v *viaBinary) UnmarshalText([]byte) error       { return errors.New("not by text") }

type viaMsg struct{ s string }

func (v *viaMsg) MarshalMsg(dst []byte) ([]byte, error)   { return append(dst, "M:"+v.s...), nil }
func (v *viaMsg) UnmarshalMsg(src []byte) ([]byte, error) { return nil, cut(&v.s, "M:", src) }

type viaMsgpack struct{ s string }

func (v viaMsgpack) AppendMsgpack(dst []byte) ([]byte, error) { return append(dst, "P:"+v.s...), nil }
func (v *viaMsgpack) UnmarshalMsgpack(src []byte) error       { return cut(&v.s, "P:", src) }

type viaText string

func (v viaText) MarshalText() ([]byte, error) { return []byte("T:" + v), nil }
func (v *viaText) UnmarshalText(src []byte) error {
	var s string
	err := cut(&s, "T:", src)
	*v = viaText(s)
	return err
}

// half can't decode itself, so its method doesn't count.
type half string

func (v half) MarshalText() ([]byte, error) { return []byte("T:" + v), nil }

func cut(to *string, prefix string, src []byte) error {
	s, ok := strings.CutPrefix(string(src), prefix)
	if !ok {
		return fmt.Errorf("want %s", prefix)
	}
	*to = s
	return nil
}

func TestForOwnMethods(t *testing.T) {
	t.Run("binary", func(t *testing.T) { serdetest.Run(t, serde.For[viaBinary](), viaBinary{"a"}, viaBinary{}) })
	t.Run("*binary", func(t *testing.T) { serdetest.Run(t, serde.For[*viaBinary](), &viaBinary{"a"}) })
	t.Run("msg", func(t *testing.T) { serdetest.Run(t, serde.For[viaMsg](), viaMsg{"a"}, viaMsg{}) })
	t.Run("msgpack", func(t *testing.T) { serdetest.Run(t, serde.For[viaMsgpack](), viaMsgpack{"a"}) })
	t.Run("text", func(t *testing.T) { serdetest.Run(t, serde.For[viaText](), "", "a") })
	t.Run("netip", func(t *testing.T) {
		serdetest.Run(t, serde.For[netip.Addr](), netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("::1"))
	})
	t.Run("*big.Int", func(t *testing.T) { // text methods only
		b, err := serde.For[*big.Int]().Append(nil, big.NewInt(-12))
		require.NoError(t, err)
		require.Equal(t, "-12", string(b))
		v, err := serde.For[*big.Int]().Decode(b)
		require.NoError(t, err)
		require.Equal(t, int64(-12), v.Int64())
	})
}

func TestDecodeErrorsSayWhatIsWrong(t *testing.T) {
	_, err := serde.For[int64]().Decode(make([]byte, 5))
	require.EqualError(t, err, "int64: want 8 bytes, got 5")
	_, err = serde.For[cents]().Decode(make([]byte, 5))
	require.EqualError(t, err, "int64: want 8 bytes, got 5")
	_, err = serde.For[bool]().Decode([]byte{2})
	require.EqualError(t, err, "bool: want 0 or 1, got 2")
	_, err = serde.For[uuid.UUID]().Decode(bytes.Repeat([]byte("0"), 36))
	require.EqualError(t, err, "uuid: want '-' at position 8, got '0'")
	_, err = serde.For[time.Time]().Decode(bytes.Repeat([]byte{0xff}, 12))
	require.EqualError(t, err, "time: want nanoseconds below 1000000000, got 4294967295")
	_, err = serde.For[[]string]().Decode([]byte{1, 0xff, 0, 0, 0})
	require.EqualError(t, err, "list: want a length of 0 or more, got -16777216")
	_, err = serde.For[[]string]().Decode([]byte{1, 0x0f, 0, 0, 0})
	require.EqualError(t, err, "list: 251658240 elements in 0 bytes")
	_, err = serde.For[[]string]().Decode([]byte{0, 0, 0, 0, 0})
	require.EqualError(t, err, "list: want form 1, got 0")
	_, err = serde.For[[]string]().Decode([]byte{1, 0, 0, 0, 1, 255, 255, 255, 255})
	require.EqualError(t, err, "list: element 0: null in a list of a type without null")
	_, err = serde.Ordered[string]().Decode([]byte("ab"))
	require.EqualError(t, err, "ordered string: want the terminator 00 01, got the end of the bytes")
	_, err = serde.Ordered[regionDay]().Decode([]byte("eu\x00\x01\x80"))
	require.EqualError(t, err, "ordered serde_test.regionDay field Day: want 4 bytes, got 1")
}

func TestCheckRefusesWhatHasNoEncoding(t *testing.T) {
	type hidden struct{ a, b int }
	_ = hidden{a: 1, b: 2}
	type inner struct{ C chan int }
	type outer struct{ In []map[string]*inner }
	type tree struct {
		Left, Right *tree
		Value       int
	}
	for name, err := range map[string]error{
		"chan":      serde.Check(serde.For[chan int]()),
		"func":      serde.Check(serde.For[func()]()),
		"complex":   serde.Check(serde.For[complex128]()),
		"interface": serde.Check(serde.For[fmt.Stringer]()),
		"hidden":    serde.Check(serde.For[hidden]()),
		"inner":     serde.Check(serde.For[outer]()),
		"json":      serde.Check(serde.JSON[outer]()),
		"list":      serde.Check(serde.List(serde.For[chan int]())),
		"pointer":   serde.Check(serde.Pointer(serde.For[hidden]())),
		"ordered":   serde.Check(serde.Ordered[struct{ A []string }]()),
		"compose":   serde.Check(serde.PairOf(serde.Ordered[int](), serde.Ordered[[]string]())),
		"version":   serde.Check(serde.Versioned(1, serde.For[chan int]())),
	} {
		require.Error(t, err, name)
	}
	require.ErrorContains(t, serde.Check(serde.For[outer]()), "field In.C: chan int has no encoding")
	require.NoError(t, serde.Check(serde.For[tree]()))
	require.NoError(t, serde.Check(serde.For[any]()))
	require.NoError(t, serde.Check(serde.For[struct{}]()))
	require.NoError(t, serde.Check(serde.For[struct{ time.Time }]()))
	_, err := serde.For[chan int]().Append(nil, nil)
	require.Error(t, err)
}

func TestNull(t *testing.T) {
	require.Nil(t, serde.NullOf[string]())
	require.Nil(t, serde.NullOf[struct{ p *int }]())
	require.Nil(t, serde.NullOf[[1]*int]())
	for _, nilable := range []bool{
		serde.IsNilable[*int](), serde.IsNilable[[]byte](), serde.IsNilable[map[string]int](), serde.IsNilable[any](),
		serde.IsNilable[payload](), serde.IsNilable[error](),
	} {
		require.True(t, nilable)
	}
	isNull := serde.NullOf[[]byte]()
	require.True(t, isNull(new([]byte)))
	require.False(t, isNull(new([]byte{})))
	require.False(t, isNull(new([]byte("abc")[:0])))
	require.True(t, serde.NullOf[map[string]int]()(new(map[string]int)))
	require.False(t, serde.NullOf[map[string]int]()(new(map[string]int{})))
	require.True(t, serde.NullOf[*int]()(new(*int)))
	require.True(t, serde.NullOf[any]()(new(any)))
	require.False(t, serde.NullOf[any]()(new(any((*int)(nil)))))
	empty, err := serde.For[[]byte]().Decode([]byte{})
	require.NoError(t, err)
	require.NotNil(t, empty)
}

type regionDay struct {
	Region string
	Day    int32
	hour   uint8
	_      [3]byte
	Nested struct{ Big bool }
}

func compareRegionDay(a, b regionDay) int {
	boolInt := map[bool]int{true: 1}
	return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Day, b.Day), cmp.Compare(a.hour, b.hour),
		cmp.Compare(boolInt[a.Nested.Big], boolInt[b.Nested.Big]))
}

func TestOrdered(t *testing.T) {
	texts := []string{
		"", "\x00", "\x00\x00", "\x00\x01", "\x00\xff", "\x01", "a", "a\x00", "a\x00b", "ab", "b", "\xff", "\xff\xff",
	}
	raws := make([][]byte, len(texts))
	for i, s := range texts {
		raws[i] = []byte(s)
	}
	t.Run("string", func(t *testing.T) { serdetest.RunOrdered(t, serde.Ordered[string](), cmp.Compare, texts...) })
	t.Run("bytes", func(t *testing.T) { serdetest.RunOrdered(t, serde.Ordered[[]byte](), bytes.Compare, raws...) })
	t.Run("int64", func(t *testing.T) {
		serdetest.RunOrdered(t, serde.Ordered[int64](), cmp.Compare, math.MinInt64, -256, -1, 0, 1, 255, math.MaxInt64)
	})
	t.Run("int", func(t *testing.T) { serdetest.RunOrdered(t, serde.Ordered[int](), cmp.Compare, math.MinInt, -1, 0, 1) })
	t.Run("int32", func(t *testing.T) {
		serdetest.RunOrdered(t, serde.Ordered[int32](), cmp.Compare, math.MinInt32, -1, 0, 1)
	})
	t.Run("int16", func(t *testing.T) { serdetest.RunOrdered(t, serde.Ordered[int16](), cmp.Compare, -32768, -1, 0, 1) })
	t.Run("int8", func(t *testing.T) { serdetest.RunOrdered(t, serde.Ordered[small](), cmp.Compare, -128, -1, 0, 1) })
	t.Run("uint64", func(t *testing.T) {
		serdetest.RunOrdered(t, serde.Ordered[uint64](), cmp.Compare, 0, 255, 256, math.MaxUint64)
	})
	t.Run("uint", func(t *testing.T) { serdetest.RunOrdered(t, serde.Ordered[uint](), cmp.Compare, 0, math.MaxUint) })
	t.Run("uint32", func(t *testing.T) { serdetest.RunOrdered(t, serde.Ordered[uint32](), cmp.Compare, 0, 1<<31) })
	t.Run("uint16", func(t *testing.T) { serdetest.RunOrdered(t, serde.Ordered[flags](), cmp.Compare, 0, 1<<15) })
	t.Run("uint8", func(t *testing.T) { serdetest.RunOrdered(t, serde.Ordered[uint8](), cmp.Compare, 0, 128) })
	floats := []float64{math.NaN(), math.Inf(-1), -math.MaxFloat64, -1, -math.SmallestNonzeroFloat64, 0,
		math.SmallestNonzeroFloat64, 1, math.MaxFloat64, math.Inf(1)}
	t.Run("float64", func(t *testing.T) { serdetest.RunOrdered(t, serde.Ordered[float64](), cmp.Compare, floats...) })
	t.Run("float32", func(t *testing.T) {
		serdetest.RunOrdered(t, serde.Ordered[ratio](), cmp.Compare, ratio(math.Inf(-1)), -1, 0, 1e-40, 1, ratio(math.Inf(1)))
	})
	t.Run("bool", func(t *testing.T) {
		serdetest.RunOrdered(t, serde.Ordered[bool](), func(a, b bool) int {
			return map[bool]int{true: 1}[a] - map[bool]int{true: 1}[b]
		}, false, true)
	})
	t.Run("time", func(t *testing.T) {
		serdetest.RunOrdered(t, serde.Ordered[time.Time](), time.Time.Compare,
			time.Time{}, time.Unix(-1, 5).UTC(), time.Unix(0, 0).UTC(), time.Unix(0, 1).UTC(), time.Unix(1<<40, 0).UTC())
	})
	t.Run("duration", func(t *testing.T) {
		serdetest.RunOrdered(t, serde.Ordered[time.Duration](), cmp.Compare, -time.Hour, 0, time.Hour)
	})
	t.Run("uuid", func(t *testing.T) {
		serdetest.RunOrdered(t, serde.Ordered[uuid.UUID](), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) },
			uuid.UUID{}, uuid.UUID{15: 1}, uuid.UUID{1})
	})
	t.Run("struct", func(t *testing.T) {
		serdetest.RunOrdered(t, serde.Ordered[regionDay](), compareRegionDay, regionDay{}, regionDay{Region: "eu"},
			regionDay{Region: "eu", Day: -1}, regionDay{Region: "eu", Day: 1, hour: 3}, regionDay{Region: "eu\x00"},
			regionDay{Region: "eu", Nested: struct{ Big bool }{true}}, regionDay{Region: "eua", Day: math.MinInt32})
	})
	t.Run("descending", func(t *testing.T) {
		serdetest.RunOrdered(t, serde.Descending(serde.Ordered[string]()),
			func(a, b string) int { return cmp.Compare(b, a) }, texts...)
	})
}

type abc struct {
	a string
	b int16
	c string
}

func composedParts() serde.Part[abc] {
	return serde.Compose3(serde.Ordered[string](), serde.Descending(serde.Ordered[int16]()), serde.Ordered[string](),
		func(v abc) (string, int16, string) { return v.a, v.b, v.c },
		func(a string, b int16, c string) abc { return abc{a, b, c} })
}

func compareABC(x, y abc) int {
	return cmp.Or(cmp.Compare(x.a, y.a), cmp.Compare(y.b, x.b), cmp.Compare(x.c, y.c))
}

func TestComposedOrderProperty(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	text := func() string {
		b := make([]byte, rng.IntN(4))
		for i := range b {
			b[i] = []byte{0, 1, 'a', 0xfe, 0xff}[rng.IntN(5)]
		}
		return string(b)
	}
	values := make([]abc, 120)
	for i := range values {
		values[i] = abc{text(), int16(rng.IntN(5) - 2), text()}
	}
	s := composedParts()
	serdetest.RunOrdered(t, s, compareABC, values...)

	byValue, byBytes := slices.Clone(values), slices.Clone(values)
	slices.SortFunc(byValue, compareABC)
	raw := func(v abc) []byte {
		b, err := s.Append(nil, v)
		require.NoError(t, err)
		return b
	}
	slices.SortFunc(byBytes, func(x, y abc) int { return bytes.Compare(raw(x), raw(y)) })
	require.Equal(t, byValue, byBytes)

	// The bytes of the first part are the exact prefix of the keys that have it.
	for _, v := range values {
		prefix, err := serde.Ordered[string]().Append(nil, v.a)
		require.NoError(t, err)
		for _, w := range values {
			require.Equal(t, w.a == v.a, bytes.HasPrefix(raw(w), prefix))
		}
	}
}

func TestVersioned(t *testing.T) {
	type v1 struct{ Name string }
	old := serde.For[string]()
	now := serde.Versioned(2, serde.Msgpack[v1](), serde.Upcast(1, old, func(s string) (v1, error) {
		return v1{Name: s}, nil
	}))
	serdetest.Run(t, now, v1{}, v1{"x"})
	v, err := now.Decode([]byte("\x01ada"))
	require.NoError(t, err)
	require.Equal(t, v1{"ada"}, v)
	_, err = now.Decode([]byte{7})
	require.EqualError(t, err, "version 7: unknown: this program writes version 2 and reads 1 older ones")
	_, err = now.Decode([]byte{})
	require.Error(t, err)
	twice := serde.Upcast(2, old, func(string) (v1, error) { return v1{}, nil })
	require.ErrorContains(t, serde.Check(serde.Versioned(2, serde.Msgpack[v1](), twice)), "version 2 is there twice")
	t.Run("nilable", func(t *testing.T) { serdetest.Run(t, serde.Versioned(1, serde.For[*string]()), new("")) })
}

func TestProto(t *testing.T) {
	serdetest.Run(t, serde.Proto[*wrapperspb.StringValue](), wrapperspb.String(""), wrapperspb.String("x"))
	_, err := serde.For[*wrapperspb.StringValue]().Decode([]byte{0xff})
	require.ErrorContains(t, err, "*wrapperspb.StringValue: protobuf: 1 bytes: ")
}

type order struct {
	ID       string
	Customer string `json:"customer" msgpack:"customer"`
	Amount   float64
	Items    []string
	Paid     bool
	At       time.Time
	Tags     map[string]string
	Ref      *int64
}

func orders() []order {
	return []order{
		{},
		{ID: "o-1", Customer: "ada", Amount: 12.5, Items: []string{"a", "b"}, Paid: true},
		{ID: strings.Repeat("x", 300), Items: []string{}, Ref: new(int64(-5)),
			Tags: map[string]string{"b": "1", "a": "2", "c": ""}},
	}
}

func TestJSON(t *testing.T) {
	serdetest.Run(t, serde.JSON[order](), orders()...)
	serdetest.Run(t, serde.JSON[*order](), &orders()[1])
	b, err := serde.JSON[map[string]any]().Append(nil, map[string]any{"b": "<&>", "a": nil})
	require.NoError(t, err)
	require.Equal(t, `{"a":null,"b":"<&>"}`, string(b))
	_, err = serde.JSON[order]().Decode([]byte(`{"Amount":"x"}`))
	require.ErrorContains(t, err, "serde_test.order: 14 bytes: json: ")
}

type tagged string

func (tagged) TopicSerde() serde.Serde[tagged] { return tags{} }

type tags struct{}

func (tags) Append(dst []byte, v tagged) ([]byte, error) { return append(append(dst, '#'), v...), nil }
func (tags) Decode(src []byte) (tagged, error)           { return tagged(src[1:]), nil }

func TestForTopicTakesTheTypesOwnSerde(t *testing.T) {
	require.Equal(t, serde.Serde[tagged](tags{}), serde.ForTopic[tagged]())
	require.NotEqual(t, serde.Serde[tagged](tags{}), serde.For[tagged](), "stores")
	require.Equal(t, serde.For[string](), serde.ForTopic[string]())
	require.IsType(t, serde.For[any](), serde.ForTopic[any](), "an interface has no value to ask")
}

func TestSameKnowsEqualSerdes(t *testing.T) {
	type point struct{ X int }
	require.True(t, serde.Same(serde.For[string](), serde.For[string]()))
	require.True(t, serde.Same(serde.For[int32](), serde.For[int32]()))
	require.True(t, serde.Same(serde.For[cents](), serde.For[cents]()))
	require.True(t, serde.Same(serde.For[*int32](), serde.For[*int32]()))
	require.True(t, serde.Same(serde.For[[]int32](), serde.For[[]int32]()))
	one := serde.For[point]()
	require.True(t, serde.Same(one, one))
	require.True(t, serde.Same(one, serde.For[point]()), "one format")
	require.False(t, serde.Same(one, serde.JSON[point]()))
	require.False(t, serde.Same(serde.For[int32](), serde.For[cents]()))
	require.False(t, serde.Same(serde.For[int64](), serde.Ordered[int64]()))
	require.False(t, serde.Same(serde.List(serde.For[int32]()), serde.List[int32](serde.Ordered[int32]())))
	require.False(t, serde.Same(nil, nil))
}

// Types whose equal values may have different bytes are no keys: maps, but those that MessagePack sorts, however deep.
func TestKeysNeedAnOrder(t *testing.T) {
	type deep struct{ In []struct{ M map[int]string } }
	type texts struct{ M map[string]string }
	for want, err := range map[string]error{
		"field In.M: a map is encoded in no fixed order": serde.CheckKey(serde.For[deep]()),
		"map[int]string: a map is encoded in":            serde.CheckKey(serde.For[map[int]string]()),
	} {
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, serde.CheckKey(serde.For[texts]()))
	require.NoError(t, serde.CheckKey(serde.For[string]()))
	require.NoError(t, serde.CheckKey(serde.JSON[deep]()))
	require.NoError(t, serde.Check(serde.For[deep]()), "it is a value all the same")
}
