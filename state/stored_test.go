package state

import (
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state/memory"
)

func TestReadStored(t *testing.T) {
	e := memory.New()
	none, err := ReadStored(e)
	require.NoError(t, err)
	require.Empty(t, none)
	rows, other := NewKV[string, string]("rows"), NewKV[string, string]("row") // one name begins as the other
	origin := Origin{Kind: KindKeyValue, Format: FormatVersion, Filling: FromChangelog, Topic: "a-rows-changelog"}
	for _, namespace := range [][]byte{Namespace(3), Namespace(0), GlobalNamespace()} {
		tx := NewTx(Config{Engine: e, Namespace: namespace, CheckpointCommits: 1})
		for _, name := range []KV[string, string]{rows, other} {
			st, err := name.Open(tx)
			require.NoError(t, err)
			require.NoError(t, tx.SetOrigin(name.Name(), origin))
			require.NoError(t, st.Put("key", "value", 7))
		}
		require.NoError(t, tx.Drain(drainNothing))
		require.NoError(t, tx.Commit(func(string) int64 { return 5 }))
		require.NoError(t, tx.Close())
	}
	all, err := ReadStored(e)
	require.NoError(t, err)
	require.Len(t, all, 6)
	for i, s := range all {
		require.Equal(t, []int32{-1, -1, 0, 0, 3, 3}[i], s.Partition)
		require.Equal(t, []string{"row", "rows"}[i%2], s.Store)
		require.Equal(t, Saved{Offset: 5, Known: true, Origin: origin, Named: true, Rows: true}, s.Saved)
	}
	b := e.NewBatch(0)
	require.NoError(t, b.DeleteRange(all[2].Lower, all[2].Upper)) // "row" of partition 0, and nothing of "rows"
	require.NoError(t, b.Commit())
	left, err := ReadStored(e)
	require.NoError(t, err)
	require.Equal(t, append(all[:2:2], all[3:]...), left)

	b = e.NewBatch(0)
	require.NoError(t, b.Set([]byte("what"), nil))
	require.NoError(t, b.Commit())
	_, err = ReadStored(e)
	require.ErrorContains(t, err, "too short")
}
