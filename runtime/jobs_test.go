package runtime

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestJobsThatComeAndGo: those who have got the tasks keep what they have got while others come and go.
func TestJobsThatComeAndGo(t *testing.T) {
	var s jobs
	js := jobsOf(3)
	s.add(js[2])
	s.add(js[0])
	s.run(js[2])
	s.run(js[0])
	require.Equal(t, []*job{js[0], js[2]}, s.running)
	before := s.sorted()
	s.add(js[1])
	require.Equal(t, js, s.sorted())
	require.False(t, s.runs(js[1]))
	s.rest(js[0])
	require.False(t, s.runs(js[0]))
	s.remove(js[2])
	require.Empty(t, s.running)
	require.Equal(t, []*job{js[0], js[1]}, s.sorted())
	require.Equal(t, []*job{js[0], js[2]}, before)
	require.Nil(t, s.of[js[2].id])
}
