package runtime

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCheckpointIsDue: it is due some time after the first commit that it is to have.
func TestCheckpointIsDue(t *testing.T) {
	c := checkpoints{every: time.Second}
	_, ok := c.dueAt()
	require.False(t, ok)
	first := time.UnixMilli(1000)
	c.committed(first)
	c.committed(first.Add(time.Second / 2))
	at, ok := c.dueAt()
	require.True(t, ok)
	require.Equal(t, first.Add(time.Second), at)
	require.NoError(t, c.due(at.Add(-1)))
	_, ok = c.dueAt()
	require.True(t, ok)
	require.NoError(t, c.due(at))
	_, ok = c.dueAt()
	require.False(t, ok)
}

// TestCheckpointForgets: a task that is closed has written its own.
func TestCheckpointForgets(t *testing.T) {
	var c checkpoints
	js := jobsOf(2)
	for _, j := range []*job{js[0], js[1], js[0]} {
		c.add(j)
	}
	require.Equal(t, js, c.behind)
	c.forget(js[0])
	require.Equal(t, js[1:], c.behind)
}
