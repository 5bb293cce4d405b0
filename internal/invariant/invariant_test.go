package invariant

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckPanicsOnlyWhenEnabled(t *testing.T) {
	require.NotPanics(t, func() { Check(true, "holds") })
	broken := func() { Check(false, "offset %d", 7) }
	if Enabled {
		require.PanicsWithError(t, "invariant broken: offset 7", broken)
	} else {
		require.NotPanics(t, broken)
	}
}

func TestNeverPanics(t *testing.T) {
	require.PanicsWithError(t, "invariant broken: state 3", func() { Never("state %d", 3) })
}
