package runtime

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTouchedTasks: what is sealed is touched again by what comes after. Only the last touch is taken back.
func TestTouchedTasks(t *testing.T) {
	js := jobsOf(3)
	ts := touched{figures: newPublisher(0)}
	require.True(t, ts.add(js[2]))
	require.False(t, ts.add(js[2]))
	require.True(t, ts.add(js[0]))
	ts.undo(js[2])
	require.Equal(t, []*job{js[0], js[2]}, ts.sorted())
	ts.undo(js[2])
	require.Equal(t, []*job{js[0]}, ts.jobs)

	sealed := ts.seal(nil)
	require.Equal(t, []*job{js[0]}, sealed)
	require.True(t, ts.add(js[0]))
	ts.forget(js[0])
	require.Empty(t, ts.jobs)
	require.Equal(t, []*job{js[2], js[0]}, ts.figures.changed, "a task that had nothing to do may have other figures")
}
