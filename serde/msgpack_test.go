package serde_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"thalweg/serde"
	"thalweg/serde/serdetest"
)

func TestMsgpack(t *testing.T) {
	t.Run("struct", func(t *testing.T) { serdetest.Run(t, serde.For[order](), orders()...) })
	t.Run("*struct", func(t *testing.T) { serdetest.Run(t, serde.For[*order](), &orders()[0], &orders()[1]) })
	t.Run("array", func(t *testing.T) { serdetest.Run(t, serde.MsgpackArray[order](), orders()...) })
	t.Run("slice", func(t *testing.T) { serdetest.Run(t, serde.For[[]order](), []order{}, orders()) })
	t.Run("map", func(t *testing.T) {
		serdetest.Run(t, serde.For[map[string]string](), map[string]string{}, map[string]string{"b": "", "a": "x"})
	})
	t.Run("any", func(t *testing.T) { serdetest.Run(t, serde.For[any](), any("x"), any(true), any([]any{"a", nil})) })
	t.Run("tree", func(t *testing.T) {
		serdetest.Run(t, serde.For[tree](), tree{}, tree{Value: 1, Left: &tree{Value: 2, Right: &tree{}}})
	})
}

type tree struct {
	Left, Right *tree
	Value       int
}

// A reader and a writer of the library understand ours and are understood.
func TestMsgpackIsWireCompatible(t *testing.T) {
	s := serde.Msgpack[order]()
	for _, want := range orders() {
		b, err := s.Append(nil, want)
		require.NoError(t, err)
		var got order
		require.NoError(t, msgpack.Unmarshal(b, &got))
		require.Equal(t, want, got)

		b, err = msgpack.Marshal(want)
		require.NoError(t, err)
		got, err = s.Decode(b)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestMsgpackStructsEvolve(t *testing.T) {
	type v1 struct{ Name, Gone string }
	type v2 struct {
		Added int
		Name  string
	}
	b, err := serde.For[v1]().Append(nil, v1{"ada", "x"})
	require.NoError(t, err)
	require.Equal(t, "\x82\xa4Name\xa3ada\xa4Gone\xa1x", string(b))
	v, err := serde.For[v2]().Decode(b)
	require.NoError(t, err)
	require.Equal(t, v2{Name: "ada"}, v)

	b, err = serde.MsgpackArray[v1]().Append(nil, v1{"ada", "x"})
	require.NoError(t, err)
	require.Equal(t, "\x92\xa3ada\xa1x", string(b))
}

// One instance after another value must not leak what the earlier one left in it.
func TestMsgpackScratchIsClean(t *testing.T) {
	s := serde.Local(serde.For[order]())
	for range 3 {
		for _, want := range slices.Backward(orders()) {
			b, err := s.Append(nil, want)
			require.NoError(t, err)
			got, err := s.Decode(b)
			require.NoError(t, err)
			require.Equal(t, want, got)
			_, err = s.Decode(b[:len(b)/2])
			require.Error(t, err)
		}
	}
}

func TestMsgpackRefusesHostileBytes(t *testing.T) {
	anything, structure := serde.For[any](), serde.For[order]()
	for name, src := range map[string][]byte{
		"empty":         {},
		"never used":    {0xc1},
		"two values":    {0xc0, 0xc0},
		"short string":  []byte("\xa5abc"),
		"long array":    {0xdd, 0xff, 0xff, 0xff, 0xff},
		"long map":      {0xdf, 0xff, 0xff, 0xff, 0xff},
		"long bytes":    {0xc6, 0xff, 0xff, 0xff, 0xff, 1},
		"deep":          bytes.Repeat([]byte{0x91}, 1<<20),
		"array as key":  {0x81, 0x91, 1, 0xc0},
		"short ext":     {0xc7, 5, 1, 0},
		"short float":   {0xcb, 0, 0},
		"short integer": {0xd3, 0, 0},
	} {
		_, err := anything.Decode(src)
		require.Error(t, err, name)
		_, err = structure.Decode(src)
		require.Error(t, err, name)
	}
	_, err := structure.Decode(append([]byte{0x81, 0xa2, 'I', 'D'}, 0xc3))
	require.ErrorContains(t, err, "serde_test.order: 5 bytes: ")
	_, err = anything.Decode(bytes.Repeat([]byte{0x91}, 5000))
	require.ErrorContains(t, err, "values nest deeper than 1000 levels")
}

// Every size class of every family, each followed by one more value to show that the skip ends where it should.
func TestMsgpackSkip(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	many := make([]any, 1<<16)
	sizes := map[string]any{}
	for i := range 20 {
		sizes[strings.Repeat("k", i)] = i
	}
	for _, v := range []any{
		nil, true, 1, -1, -33, 200, 1 << 15, 1 << 30, 1 << 40, -1 << 7, -1 << 15, -1 << 31, -1 << 62, uint64(1) << 63,
		float32(1.5), 1.5, "", "s", long[:40], long[:300], long, []byte{}, []byte(long[:300]), []byte(long),
		many[:3], many[:20], many, map[string]any{"a": 1}, sizes, time.Unix(1, 0), time.Unix(1, 1), time.Unix(-1, 1),
	} {
		var out bytes.Buffer
		enc := msgpack.NewEncoder(&out)
		enc.UseCompactInts(true)
		require.NoError(t, enc.Encode([]any{v, "end"}))
		got, err := serde.For[any]().Decode(out.Bytes())
		require.NoError(t, err, "%T", v)
		require.Equal(t, "end", got.([]any)[1])
	}
}
