package serde_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
)

type renamed pointOf

// What a program may read after its types or serdes were changed.
func TestReadings(t *testing.T) {
	version := func(n byte, s serde.Serde[string]) any { return serde.Versioned(n, s) }
	for _, c := range []struct {
		was, now any
		want     serde.Reading
	}{
		{serde.For[int](), serde.For[int64](), serde.Readable},
		{serde.For[int](), serde.For[string](), serde.Unreadable},
		{serde.For[int](), serde.For[float64](), serde.Unreadable},
		{serde.For[int](), serde.For[int32](), serde.Unreadable},
		{serde.For[int](), serde.For[uint](), serde.Doubtful},
		{serde.For[int](), serde.For[bool](), serde.Unreadable},
		{serde.For[string](), serde.For[[]byte](), serde.Doubtful},
		{serde.JSON[pointOf](), serde.For[[]byte](), serde.Doubtful},
		{serde.For[int](), named{}, serde.Readable},
		{named{}, serde.For[int](), serde.Readable},
		{named{format: "ours"}, serde.JSON[string](), serde.Unreadable},
		{named{format: "list ours"}, named{format: "list theirs"}, serde.Unreadable},
		{serde.For[pointOf](), serde.JSON[pointOf](), serde.Unreadable},
		{serde.For[pointOf](), serde.For[renamed](), serde.Doubtful},
		{serde.For[pointOf](), serde.MsgpackArray[pointOf](), serde.Doubtful},
		{serde.For[pointOf](), serde.For[binary](), serde.Unreadable},
		{serde.JSON[pointOf](), serde.JSON[renamed](), serde.Doubtful},
		{serde.JSON[int](), serde.JSON[float64](), serde.Doubtful},
		{serde.JSON[int](), serde.JSON[string](), serde.Unreadable},
		{serde.JSON[int](), serde.JSON[pointOf](), serde.Doubtful},
		{serde.List(serde.For[string]()), serde.List(serde.For[int]()), serde.Unreadable},
		{serde.List(serde.JSON[pointOf]()), serde.List(serde.JSON[renamed]()), serde.Doubtful},
		{serde.List(serde.For[string]()), serde.For[string](), serde.Unreadable},
		{serde.Ordered[int64](), serde.For[int64](), serde.Unreadable},
		{serde.Ordered[int64](), serde.Ordered[string](), serde.Unreadable},
		{serde.Ordered[pointOf](), serde.Ordered[renamed](), serde.Doubtful},
		{serde.Descending(serde.Ordered[uint32]()), serde.Descending(serde.Ordered[bool]()), serde.Unreadable},
		{version(1, serde.JSON[string]()), version(2, serde.For[string]()), serde.Readable},
		{version(1, serde.JSON[string]()), version(1, serde.For[string]()), serde.Unreadable},
		{serde.JSON[string](), version(1, serde.JSON[string]()), serde.Unreadable},
	} {
		was, now := serde.Format(c.was), serde.Format(c.now)
		require.Equal(t, c.want, serde.ReadingOf(was, now), "%s, %s", was, now)
		require.Equal(t, c.want, serde.ReadingOf(now, was), "%s, %s", now, was)
	}
	for _, pair := range [][2]string{
		{"msgp methods of a.T", "msgpack methods of b.T"}, {"msgpack a.T", "msgp methods of a.T"},
		{"uuid", "string"}, {"protobuf *a.T", "protobuf *b.T"}, {"text methods of a.T", "text methods of b.T"},
	} {
		require.Equal(t, serde.Doubtful, serde.ReadingOf(pair[0], pair[1]), pair)
	}
}
