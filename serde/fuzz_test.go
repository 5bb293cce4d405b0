package serde_test

import (
	"bytes"
	"cmp"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"thalweg/serde"
)

// FuzzDecode feeds hostile bytes to a serde of every kind: none may panic, and what is accepted can be written again.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "\x00", "\x01\x00\x00\x00\x01\x00\x00\x00\x01a", "\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02",
		"\x82\xa2ID\xa1x\xa5Items\x92\xa1a\xa1b", `{"ID":"x","Items":["a"]}`, "a\x00\xffb\x00\x01\x80\x00\x00\x01",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8", "\x81\xa2At\xd6\xff\x00\x00\x00\x00",
	} {
		f.Add([]byte(seed))
	}
	serdes := []func(*testing.T, []byte){
		tryDecode(serde.For[bool]()), tryDecode(serde.For[int]()), tryDecode(serde.For[float32]()),
		tryDecode(serde.For[time.Time]()), tryDecode(serde.For[uuid.UUID]()), tryDecode(serde.For[[]string]()),
		tryDecode(serde.For[[]uint32]()), tryDecode(serde.List(serde.For[*int64]())),
		tryDecode(serde.List(serde.For[[][]byte]())), tryDecode(serde.For[order]()), tryDecode(serde.For[any]()),
		tryDecode(serde.For[map[string]any]()), tryDecode(serde.MsgpackArray[tree]()), tryDecode(serde.JSON[order]()),
		tryDecode[abc](composedParts()), tryDecode[float64](serde.Ordered[float64]()),
		tryDecode[regionDay](serde.Ordered[regionDay]()),
		tryDecode(serde.Versioned(1, serde.For[order]())), tryDecode(serde.For[viaBinary]()),
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		for _, try := range serdes {
			try(t, src)
		}
	})
}

func tryDecode[T any](s serde.Serde[T]) func(*testing.T, []byte) {
	isNull := serde.NullOf[T]()
	return func(t *testing.T, src []byte) {
		before := bytes.Clone(src)
		v, err := s.Decode(src)
		require.Equal(t, before, src)
		if err != nil || isNull != nil && isNull(&v) {
			return
		}
		_, err = s.Append(nil, v)
		require.NoError(t, err)
	}
}

// FuzzOrdered checks order, round trip and canonical form of a composed key.
func FuzzOrdered(f *testing.F) {
	f.Add("", int16(0), "", "\x00", int16(-1), "a\x00", []byte("a\x00\x01"))
	f.Add("a", int16(5), "\x00\x01", "a\x00", int16(5), "", []byte("\x00\xff\x00\x01\x80\x00\x00\x01"))
	s := composedParts()
	f.Fuzz(func(t *testing.T, a1 string, b1 int16, c1, a2 string, b2 int16, c2 string, src []byte) {
		v, w := abc{a1, b1, c1}, abc{a2, b2, c2}
		x, err := s.Append(nil, v)
		require.NoError(t, err)
		y, err := s.Append(nil, w)
		require.NoError(t, err)
		require.Equal(t, cmp.Compare(compareABC(v, w), 0), bytes.Compare(x, y), "% x, % x", x, y)
		back, err := s.Decode(x)
		require.NoError(t, err)
		require.Equal(t, v, back)
		if v, err := s.Decode(src); err == nil { // one value, one encoding
			again, err := s.Append(nil, v)
			require.NoError(t, err)
			require.Equal(t, src, again)
		}
	})
}
