package runtime

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSlowCallsHoldRecordsBack: for some commits after one that may last as long as a transaction.
func TestSlowCallsHoldRecordsBack(t *testing.T) {
	s := slowCalls{timeout: time.Second, pace: newPace(100 * time.Millisecond)}
	s.took(450 * time.Millisecond)
	require.False(t, s.holdBack())
	s.took(451 * time.Millisecond)
	for range slowCommits {
		require.True(t, s.holdBack())
		s.committed()
	}
	require.False(t, s.holdBack())
	s.committed()
	require.False(t, s.holdBack())

	without := slowCalls{pace: newPace(0)}
	without.took(time.Hour)
	require.False(t, without.holdBack())
}
