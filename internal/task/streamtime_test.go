package task

import (
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/topology"
)

func TestStreamTimeGoesBackToTheLastCommit(t *testing.T) {
	env := topology.Env{StreamTime: topology.Unknown}
	s := newStreamTime(&env)
	s.see(5)
	s.see(3)
	require.EqualValues(t, 5, env.StreamTime, "it never goes back with a record")
	s.seal()
	s.see(7)
	s.advance()
	s.see(9)
	require.EqualValues(t, 9, env.StreamTime)
	s.rewind()
	s.set()
	require.EqualValues(t, 5, env.StreamTime, "what came after the seal is not committed")
}

func TestStreamTimeGoesNoFurtherThanItMay(t *testing.T) {
	env := topology.Env{Aligning: true, Aligned: 10}
	s := newStreamTime(&env)
	s.see(8)
	require.EqualValues(t, 8, env.StreamTime)
	require.False(t, s.isHeld())
	s.see(12)
	require.EqualValues(t, 10, env.StreamTime)
	require.True(t, s.isHeld())
	env.Aligned = 20
	s.set()
	require.EqualValues(t, 12, env.StreamTime)
}
