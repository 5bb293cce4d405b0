package serde_test

import (
	"math/big"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	"thalweg/serde"
)

type (
	pointOf struct{ X, Y int }
	// own is a serde of a program that names its format, or does not.
	named struct {
		serde.Serde[string]
		format string
	}
)

func (n named) Format() string { return n.format }

func TestFormats(t *testing.T) {
	for _, f := range []struct {
		want  string
		serde any
	}{
		{"string", serde.For[string]()},
		{"string", serde.String{}},
		{"bytes", serde.For[[]byte]()},
		{"bytes", serde.For[[4]byte]()},
		{"uuid", serde.For[uuid.UUID]()},
		{"time", serde.For[time.Time]()},
		{"int64", serde.For[int]()},
		{"int64", serde.For[time.Duration]()},
		{"int64", serde.Int64{}},
		{"uint64", serde.For[uint]()},
		{"float32", serde.For[float32]()},
		{"int32", serde.For[*int32]()},
		{"list of string", serde.For[[]string]()},
		{"list of string", serde.List(serde.For[string]())},
		{"json string", serde.JSON[string]()},
		{"json serde_test.pointOf", serde.JSON[pointOf]()},
		{"msgpack serde_test.pointOf", serde.For[pointOf]()},
		{"msgpack map[string]int", serde.For[map[string]int]()},
		{"msgpack with arrays serde_test.pointOf", serde.MsgpackArray[pointOf]()},
		{"msgpack int", serde.MsgpackArray[int]()},
		{"protobuf *durationpb.Duration", serde.For[*durationpb.Duration]()},
		{"binary methods of url.URL", serde.For[url.URL]()},
		{"ordered int64", serde.Ordered[int64]()},
		{"ordered string", serde.Ordered[string]()},
		{"uint32", serde.Ordered[uint32]()},
		{"bool", serde.Ordered[bool]()},
		{"descending uint32", serde.Descending(serde.Ordered[uint32]())},
		{"ordered serde_test.pointOf", serde.Ordered[pointOf]()},
		{"version 2 of json string", serde.Versioned(2, serde.JSON[string]())},
		{"ours", named{format: "ours"}},
		{"list of ours", serde.List[string](named{format: "ours"})},
		{"", named{}},
		{"", serde.List[string](named{})},
		{"", serde.PairOf(serde.Ordered[string](), serde.Ordered[bool]())},
		{"", serde.For[chan int]()},
		{"", nil},
	} {
		require.Equal(t, f.want, serde.Format(f.serde), "%T", f.serde)
	}
	require.True(t, serde.Differ(serde.For[string](), serde.JSON[string]()))
	require.False(t, serde.Differ(serde.For[string](), named{}), "nobody knows")
	require.True(t, serde.Same(named{format: "ours"}, named{serde.String{}, "ours"}))
	require.False(t, serde.Same(serde.List[string](named{}), serde.List[string](named{serde.String{}, ""})))
}

// What a serde decodes, an equal one may encode in other bytes, unless the type has one encoding alone.
func TestSameBytes(t *testing.T) {
	for name, pair := range map[string][2]any{
		"string":        {serde.For[string](), serde.For[string]()},
		"uint16":        {serde.For[uint16](), serde.For[uint16]()},
		"float64":       {serde.For[float64](), serde.For[float64]()},
		"uuid":          {serde.For[uuid.UUID](), serde.For[uuid.UUID]()},
		"pointer":       {serde.For[*int32](), serde.For[*int32]()},
		"list":          {serde.For[[]time.Time](), serde.For[[]time.Time]()},
		"list of lists": {serde.List(serde.For[[]string]()), serde.List(serde.For[[]string]())},
		"one value":     {named{format: "ours"}, named{format: "ours"}},
	} {
		require.True(t, serde.SameBytes(pair[0], pair[1]), name)
	}
	for name, pair := range map[string][2]any{
		"json":         {serde.JSON[string](), serde.JSON[string]()},
		"msgpack":      {serde.For[pointOf](), serde.For[pointOf]()},
		"list of json": {serde.List(serde.JSON[string]()), serde.List(serde.JSON[string]())},
		"two types":    {serde.For[int32](), serde.For[int64]()},
		"two formats":  {serde.For[uint32](), serde.JSON[uint32]()},
		"ours":         {named{serde.String{}, "ours"}, named{serde.JSON[string](), "ours"}},
		"no format":    {named{serde.String{}, ""}, named{serde.JSON[string](), ""}},
		"nothing":      {nil, nil},
	} {
		require.False(t, serde.SameBytes(pair[0], pair[1]), name)
	}
}

// A format stands for bytes: serdes of one format write the same, and where Differ holds they do not.
func TestOneFormatIsOneEncoding(t *testing.T) {
	write := func(s any) []byte {
		b, err := s.(serde.Serde[uint32]).Append(nil, 7)
		require.NoError(t, err)
		return b
	}
	all := []any{
		serde.For[uint32](), serde.Ordered[uint32](), serde.JSON[uint32](), serde.Msgpack[uint32](),
		serde.MsgpackArray[uint32](), serde.Descending(serde.Ordered[uint32]()), serde.Versioned(1, serde.For[uint32]()),
	}
	for _, a := range all {
		for _, b := range all {
			require.Equal(t, serde.Format(a) == serde.Format(b), string(write(a)) == string(write(b)), "%s, %s",
				serde.Format(a), serde.Format(b))
		}
	}
}

type (
	money struct {
		Currency string
		amount   int64
	}
	priced   struct{ Price []map[string]*money }
	embedded struct {
		money
		Note string
	}
	base     struct{ ID int }
	extends  struct{ base }
	hidden   int
	extended struct {
		hidden
		Note string
	}
	consented struct {
		Note  string
		cache string `msgpack:"-"`
	}
	binary struct {
		Note string
		n    int
	}
	locked struct {
		mu   sync.Mutex
		once *sync.Once
		_    [8]byte
		none struct{}
		Note string
	}
	others struct {
		At   time.Time
		Sum  *big.Int
		Addr netip.Addr
		URL  url.URL
		Took *durationpb.Duration
		Any  any
	}
	withBinary struct{ B binary }
	chain      struct {
		Next *chain
		Note string
	}
	closed struct {
		chain *closed
		Note  string
	}
)

func (b binary) MarshalBinary() ([]byte, error)  { return []byte{byte(b.n)}, nil }
func (b *binary) UnmarshalBinary(p []byte) error { b.n = int(p[0]); return nil }

// What MessagePack would lose of a type is refused where nobody has named the serde; nothing else is.
func TestUnexportedFieldsAreRefusedByType(t *testing.T) {
	_ = []any{ // what is not exported is never written otherwise
		&locked{mu: sync.Mutex{}, once: nil, none: struct{}{}}, consented{cache: ""}, money{amount: 1}, extended{hidden: 1},
		closed{chain: nil},
	}
	for want, s := range map[string]any{
		"serde of serde_test.money: the field amount of serde_test.money is not exported":   serde.For[money](),
		"serde of *serde_test.money: the field amount of":                                   serde.For[*money](),
		"serde of serde_test.priced: field Price: the field amount of serde_test.money":     serde.For[priced](),
		"serde of []serde_test.priced: field Price: the field amount":                       serde.For[[]priced](),
		"serde of map[serde_test.money]bool: the field amount":                              serde.For[map[money]bool](),
		"serde of serde_test.embedded: field money: the field amount of serde_test.money":   serde.For[embedded](),
		"serde of serde_test.extended: the field hidden of serde_test.extended":             serde.For[extended](),
		"serde of serde_test.closed: the field chain of serde_test.closed":                  serde.For[closed](),
		`tag it msgpack:"-" if it need not be kept, give the type methods that encode it`:   serde.For[money](),
		"or name a serde, which says that this is meant: serde.Msgpack[serde_test.money]()": serde.For[money](),
		"serde of [3]serde_test.money: the field amount of serde_test.money":                serde.For[[3]money](),
		"serde of struct { A serde_test.money }: field A: the field amount":                 serde.For[struct{ A money }](),
	} {
		require.ErrorContains(t, serde.Check(s), want)
	}
	_, err := serde.For[money]().Append(nil, money{})
	require.ErrorContains(t, err, "is not exported", "what nobody checks fails at its first value")
	for _, s := range []any{
		serde.For[consented](), serde.For[binary](), serde.For[withBinary](), serde.For[locked](), serde.For[others](),
		serde.For[extends](), serde.For[chain](), serde.Msgpack[money](), serde.MsgpackArray[money](), serde.JSON[money](),
		serde.Ordered[money](), serde.For[*durationpb.Duration](), serde.For[time.Time](), serde.For[[]time.Time](),
		serde.For[big.Int](), serde.For[url.URL](),
	} {
		require.NoError(t, serde.Check(s), "%T", s)
	}
}

// The types that are taken keep what they have.
func TestTypesThatAreTakenKeepWhatTheyHave(t *testing.T) {
	in := others{At: time.Unix(5, 7), Sum: big.NewInt(12), Addr: netip.MustParseAddr("::1"), Any: "x"}
	keep(t, in)
	keep(t, extends{base{3}})
	keep(t, withBinary{binary{n: 9}})
	keep(t, chain{Next: &chain{Note: "b"}, Note: "a"})
}

func keep[T any](t *testing.T, v T) {
	t.Helper()
	s := serde.For[T]()
	b, err := s.Append(nil, v)
	require.NoError(t, err)
	got, err := s.Decode(b)
	require.NoError(t, err)
	require.Equal(t, v, got)
}
