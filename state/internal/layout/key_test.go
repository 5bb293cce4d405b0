package layout

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStoresOfANamespaceAreDisjointRanges(t *testing.T) {
	names := []string{"a", "ab", "b", "a-long-name", "a\xff"}
	var prefixes [][]byte
	for _, partition := range []int32{0, 1, 255, 256} {
		for _, name := range names {
			prefixes = append(prefixes, Store(nil, Namespace(partition), name))
		}
	}
	for i, a := range prefixes {
		end := StoreEnd(nil, a)
		for _, kind := range []byte{KindPosition, KindKey, KindExpiring, KindSegments} {
			key := append(append(bytes.Clone(a), kind), "\xff\xff\xff"...)
			require.True(t, bytes.Compare(a, key) < 0 && bytes.Compare(key, end) < 0)
			for j, b := range prefixes {
				inside := bytes.Compare(key, b) >= 0 && bytes.Compare(key, StoreEnd(nil, b)) < 0
				require.Equal(t, i == j, inside)
			}
		}
	}
}

func TestAfterIsTheEndOfAPrefix(t *testing.T) {
	require.Equal(t, []byte("b"), After([]byte("a")))
	require.Equal(t, []byte("b"), After([]byte("a\xff\xff")))
	require.Nil(t, After([]byte("\xff\xff")))
	require.Nil(t, After(nil))
}

func TestRowsRefuseTruncation(t *testing.T) {
	timestamp, value, err := Value(append(AppendTimestamp(nil, -5), "v"...))
	require.NoError(t, err)
	require.Equal(t, int64(-5), timestamp)
	require.Equal(t, "v", string(value))
	_, value, err = Value(AppendTimestamp(nil, 5))
	require.NoError(t, err)
	require.NotNil(t, value, "empty is not null")
	_, _, err = Value([]byte("short"))
	require.Error(t, err)
	offset, err := Number(AppendNumber(nil, 77))
	require.NoError(t, err)
	require.Equal(t, int64(77), offset)
	_, err = Number([]byte("123456789"))
	require.Error(t, err)
}
