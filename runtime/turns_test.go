package runtime

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTurnsOfTasksThatRest: a task that rests has no turn, whatever it waited for, and can have one again.
func TestTurnsOfTasksThatRest(t *testing.T) {
	var ts turns
	j := jobsOf(1)[0]
	ts.schedule.put(j, 1)
	ts.alarms.set(j, 5)
	ts.setRetrying(j, true)
	ts.rest(j)
	require.Zero(t, ts.schedule.count)
	require.Empty(t, ts.alarms)
	require.Empty(t, ts.retrying)
	_, ok := ts.dueAt()
	require.False(t, ok)

	ts.alarms.set(j, 5)
	at, ok := ts.dueAt()
	require.True(t, ok)
	require.Equal(t, time.UnixMilli(5), at)
}

// TestTurnsOfIdleTasks: a worker sleeps for no longer than it takes to see that an input is idle, while a task waits.
func TestTurnsOfIdleTasks(t *testing.T) {
	ts := turns{maxIdle: time.Second}
	require.Equal(t, idleMost, ts.patience())
	ts.schedule.put(jobsOf(1)[0], 1)
	require.Equal(t, time.Second/4, ts.patience())
}
