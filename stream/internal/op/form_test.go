package op

import (
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/topology"
)

// What Kafka Streams 4.3.1 makes of the same bytes.
func TestRowsHaveTheHashOfKafkaStreams(t *testing.T) {
	for text, want := range map[string]string{
		"":                  "9d2764a018e329428c3cf3b035938518",
		"l1":                "a39b2622b628c3aba1efe260087783e7",
		"0123456789abcdef":  "1a6e941ec6a76967d7d82808f505d6b1",
		"0123456789abcdef0": "85e3069a748c16b6bc8c0a283538abb8",
		"the quick brown fox jumps over the lazy dog": "02c400fed0da43bedf6165624053a941",
	} {
		sum := murmur128([]byte(text))
		require.Equal(t, want, hex.EncodeToString(sum[:]), "%q", text)
	}
}

func suppressedRows() []Buffered[string] {
	return []Buffered[string]{
		{Time: 7, Timestamp: 9, New: "new", HasNew: true, Origin: topology.Metadata{Topic: "in", Partition: 3, Offset: 5}},
		{Time: -1, Timestamp: math.MaxInt64, Prior: "prior", HasPrior: true,
			Origin: topology.Metadata{Partition: -1, Offset: -1}},
		{New: "", HasNew: true, Prior: "", HasPrior: true, Headers: []topology.Header{
			{Key: "h", Value: []byte("v")}, {Key: "", Value: []byte{}}, {Key: "null"},
		}},
	}
}

func TestBufferedRowsComeBack(t *testing.T) {
	s := BufferedValues[string]{Values: serde.For[string]()}
	for _, row := range suppressedRows() {
		b, err := s.Append([]byte("before"), row)
		require.NoError(t, err)
		b = b[len("before"):]
		got, err := s.Decode(b)
		require.NoError(t, err)
		require.Equal(t, row, got)
		for n := range b {
			_, err := s.Decode(b[:n:n])
			require.Error(t, err, "%d bytes of %x", n, b)
		}
	}
	// As Kafka Streams has written it, with an old value of its own: "l1" after "x0", which was never emitted.
	b, err := hex.DecodeString("0000018bcfe56a2a00000000000000010000000d6a6176612d66697273742d696e0000000000000000" +
		"ffffffff000000027830000000026c310000018bcfe569e6")
	require.NoError(t, err)
	got, err := s.Decode(b)
	require.NoError(t, err)
	require.Equal(t, Buffered[string]{Time: 1700000000486, Timestamp: 1700000000554, New: "l1", HasNew: true,
		Origin: topology.Metadata{Topic: "java-first-in", Offset: 1}}, got)
}

func TestHeldValuesComeBack(t *testing.T) {
	s := UnmatchedValues[string, int64]{Left: serde.For[string](), Right: serde.For[int64]()}
	for _, held := range []Unmatched[string, int64]{
		{Left: []string{"one"}}, {Left: []string{"", "b"}}, {Right: []int64{1, 2}},
	} {
		b, err := s.Append(nil, held)
		require.NoError(t, err)
		got, err := s.Decode(b)
		require.NoError(t, err)
		require.Equal(t, held, got)
		for n := range b {
			_, err := s.Decode(b[:n:n])
			require.Error(t, err, "%d bytes of %x", n, b)
		}
	}
	b, err := s.Append(nil, Unmatched[string, int64]{Left: []string{"l"}, Right: []int64{1}})
	require.NoError(t, err)
	_, err = s.Decode(b)
	require.ErrorIs(t, err, errUnmatched, "of both sides")
	b, err = s.Append(nil, Unmatched[string, int64]{Left: []string{"l1"}})
	require.NoError(t, err)
	require.Equal(t, "010000000100000003016c31", hex.EncodeToString(b), "as Kafka Streams writes it")
}

func TestSpanKeysComeBack(t *testing.T) {
	for _, c := range []struct {
		size int64
		span Span
		want string
	}{
		{1000, Span{5, 1005}, "6b0000000000000005"},
		{math.MaxInt64, Span{5, math.MaxInt64}, "6b0000000000000005"},
		{-1, Span{5, 6}, "6b00000000000000060000000000000005"},
	} {
		s := SpanKeys[string]{Keys: serde.For[string](), Size: c.size}
		b, err := s.Append(nil, Windowed[string]{"k", c.span})
		require.NoError(t, err)
		require.Equal(t, c.want, hex.EncodeToString(b))
		got, err := s.Decode(b)
		require.NoError(t, err)
		require.Equal(t, Windowed[string]{"k", c.span}, got)
		_, err = s.Decode(b[2:])
		require.Error(t, err)
	}
}

// Whatever a changelog holds, it is a value or an error.
func FuzzForms(f *testing.F) {
	buffered := BufferedValues[string]{Values: serde.For[string]()}
	held := UnmatchedValues[string, int64]{Left: serde.For[string](), Right: serde.For[int64]()}
	for _, row := range suppressedRows() {
		b, err := buffered.Append(nil, row)
		require.NoError(f, err)
		f.Add(b)
	}
	b, err := held.Append(nil, Unmatched[string, int64]{Right: []int64{1, 2}})
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if row, err := buffered.Decode(b); err == nil {
			again, err := buffered.Append(nil, row)
			require.NoError(t, err)
			got, err := buffered.Decode(again)
			require.NoError(t, err)
			require.Equal(t, row, got)
		}
		if h, err := held.Decode(b); err == nil {
			again, err := held.Append(nil, h)
			require.NoError(t, err)
			require.Equal(t, b, again)
		}
	})
}
