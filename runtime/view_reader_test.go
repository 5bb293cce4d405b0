package runtime

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/state/pebble"
)

// A view that expires in the middle of a scan ends it: its iterators hold the disk as much as its snapshot does, and
// the engine can be closed although nobody closed them.
func TestAViewExpiresInTheMiddleOfAScan(t *testing.T) {
	e, err := pebble.Open("state", pebble.Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	b := e.NewBatch(0)
	for _, key := range []string{"a", "b", "c"} {
		require.NoError(t, b.Set([]byte(key), []byte("value of "+key)))
	}
	require.NoError(t, b.Commit())
	snapshot, err := e.Snapshot()
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		r := newViewReader("rows", snapshot, time.Now())
		told := false
		r.expireAfter(time.Minute, func() { told = true })
		it, err := r.Iterate(nil, nil)
		require.NoError(t, err)
		closed, err := r.Iterate(nil, nil)
		require.NoError(t, err)
		require.NoError(t, closed.Close())
		require.NoError(t, closed.Close())
		require.True(t, it.First())
		value, err := it.Value()
		require.NoError(t, err)
		time.Sleep(time.Minute - 1)
		synctest.Wait()
		require.True(t, it.Next())
		require.NoError(t, it.Error())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.True(t, told)
		require.Equal(t, "b", string(it.Key()), "of the row where it stood")
		require.NotEmpty(t, value)
		_, err = it.Value()
		require.ErrorIs(t, err, ErrViewExpired)
		require.False(t, it.Next())
		require.ErrorIs(t, it.Error(), ErrViewExpired)
		_, _, err = r.Get(nil, []byte("a"))
		require.ErrorIs(t, err, ErrViewExpired)
		require.ErrorIs(t, r.GetSorted([][]byte{[]byte("a")}, nil), ErrViewExpired)
		_, err = r.Iterate(nil, nil)
		require.ErrorIs(t, err, ErrViewExpired)
		require.NoError(t, it.Close())
		require.NoError(t, r.end(errViewClosed))
	})
	require.NoError(t, e.Close())
}
