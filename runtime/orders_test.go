package runtime

import (
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/kclient"
	"thalweg/internal/tasks"
)

// TestOrdersAreTakenBack: a task that was not opened yet is opened no more, whatever takes it back.
func TestOrdersAreTakenBack(t *testing.T) {
	a, b := TaskID{0, 0}, TaskID{0, 1}
	for _, kind := range []tasks.Kind{tasks.Drop, tasks.Suspend, tasks.Release} {
		var o orders
		require.Empty(t, o.add([]order{{kind: tasks.Open, task: a}, {kind: tasks.Open, task: b}}))
		require.Equal(t, []TaskID{a}, o.add([]order{{kind: kind, task: a}}))
		require.Equal(t, orders{opens: map[TaskID]kclient.Lease{b: {}}}, o)
	}
}

// TestOrdersAreKept: what is ordered of tasks that are open is kept by kind, until it is done.
func TestOrdersAreKept(t *testing.T) {
	var o orders
	ids := []TaskID{{0, 0}, {0, 1}, {0, 2}, {0, 3}}
	require.Empty(t, o.add([]order{
		{kind: tasks.Drop, task: ids[0]}, {kind: tasks.Resume, task: ids[1]}, {kind: tasks.Suspend, task: ids[2]},
		{kind: tasks.Release, task: ids[3]}, {retire: true},
	}))
	require.Equal(t, orders{drops: ids[:1], resumes: ids[1:2], suspends: ids[2:3], releases: ids[3:], retire: true}, o)
}
