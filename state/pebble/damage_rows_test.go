package pebble

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"thalweg/state/internal/layout"
)

// Damage says whose rows the file has, as far as its keys tell.
func TestDamageNamesTheRows(t *testing.T) {
	key := func(partition int32, store string) []byte {
		return append(layout.Store(nil, layout.Namespace(partition), store), layout.KindKey, 'k')
	}
	cause := errors.New("wrong bytes")
	for want, c := range map[string][2][]byte{
		" with rows of store by-word in partition 3":                                {key(3, "by-word"), key(3, "by-word")},
		" with rows from store rows in partition 3 to store by-word in partition 4": {key(3, "rows"), key(4, "by-word")},
		" with rows of global store users":                                          {key(-1, "users"), key(-1, "users")},
		"":                                                                          {[]byte("k"), key(3, "rows")},
	} {
		var info pebble.DataCorruptionInfo
		info.Path, info.Details, info.Bounds.Start, info.Bounds.End.Key = "state/000004.sst", cause, c[0], c[1]
		require.EqualError(t, damaged(info), "file state/000004.sst"+want+": wrong bytes")
		require.ErrorIs(t, damaged(info), cause)
	}
}
