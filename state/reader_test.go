package state

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReaderSeesWhatWasCheckpointed(t *testing.T) {
	e := pebbleEngine(t)
	name := NewKV[string, string]("rows")
	for partition, keys := range [][]string{{"a", "c"}, {"b", "d"}} {
		tx := NewTx(Config{Engine: e, Namespace: Namespace(int32(partition)), CheckpointCommits: 1})
		st, err := name.Open(tx)
		require.NoError(t, err)
		for _, key := range keys {
			require.NoError(t, st.Put(key, "value of "+key, 7))
		}
		require.NoError(t, tx.Drain(drainNothing))
		require.NoError(t, tx.Commit(func(string) int64 { return 5 }))
		require.NoError(t, st.Put("uncommitted", "x", 8))
		require.NoError(t, tx.Close())
	}
	snapshot, err := e.Snapshot()
	require.NoError(t, err)
	r := name.Read(NewReader(snapshot, Namespace(0), Namespace(1), Namespace(2)))
	value, timestamp, ok, err := r.Get("d")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "value of d", value)
	require.Equal(t, int64(7), timestamp)
	_, _, ok, err = r.Get("uncommitted")
	require.NoError(t, err)
	require.False(t, ok)
	keys := func(from, to string) (keys []string) {
		for e, err := range r.Range(from, to) {
			require.NoError(t, err)
			keys = append(keys, e.Key)
		}
		return keys
	}
	require.Equal(t, []string{"a", "c", "b", "d"}, keys("", "z"))
	require.Equal(t, []string{"c", "b"}, keys("b", "c"))
	require.Empty(t, keys("x", "b"))
	lacking := name.Read(NewReader(snapshot, Namespace(1)).Lacking(io.ErrNoProgress))
	value, _, ok, err = lacking.Get("d")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "value of d", value)
	_, _, ok, err = lacking.Get("a")
	require.ErrorIs(t, err, io.ErrNoProgress)
	require.False(t, ok)
	scanned := 0
	for e, err := range lacking.All() {
		if scanned++; scanned <= 2 {
			require.NoError(t, err)
			require.NotEmpty(t, e.Key)
		} else {
			require.ErrorIs(t, err, io.ErrNoProgress)
		}
	}
	require.Equal(t, 3, scanned)
	for range lacking.All() {
		break // it is not asked for the rest
	}
	offset, ok, err := SavedPosition(snapshot, Namespace(1), "rows")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, int64(5), offset)
	require.NoError(t, snapshot.Close())
}
