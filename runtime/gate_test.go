package runtime

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// TestVisitsEndWithACommit: a worker comes out of the gate that is closed once it has committed, and not before.
func TestVisitsEndWithACommit(t *testing.T) { synctest.Test(t, visitsEndWithACommit) }

func visitsEndWithACommit(t *testing.T) {
	commits, failure := 0, error(nil)
	commit := func() error { commits++; return failure }
	enter := func(v *visit) bool {
		inside, err := v.enter(commit)
		require.ErrorIs(t, err, failure)
		return inside
	}
	var g gate
	v := visit{gate: &g}
	require.True(t, enter(&v))
	require.True(t, enter(&v))
	require.Equal(t, 1, g.inside)
	require.Zero(t, commits)

	closed := make(chan error, 1)
	go func() { closed <- g.close(t.Context()) }()
	synctest.Wait()
	require.True(t, g.isClosed())
	failure = errors.New("no commit")
	require.False(t, enter(&v))
	require.Equal(t, 1, g.inside)
	failure = nil
	require.False(t, enter(&v))
	require.NoError(t, <-closed)
	require.Equal(t, 2, commits)
	require.False(t, enter(&v), "it is still closed")
	g.open()
	require.True(t, enter(&v))
	v.leave()
	v.leave()
	require.Zero(t, g.inside)

	require.True(t, enter(&visit{}), "there are no global stores")
}
