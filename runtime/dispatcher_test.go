package runtime

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/tasks"
)

// A task that can't be opened is ordered again, at once after the first failure and ever later then, and says why. When
// it runs nothing is left of that.
func TestATaskThatCannotBeOpened(t *testing.T) {
	now := time.Unix(1000, 0)
	a := &app{cfg: Config{Workers: 1, Clock: func() time.Time { return now }}.withDefaults()}
	a.machine = newMachine(func(_, _ State) {})
	a.standbys = newStandbys(a)
	d := newDispatcher(a)
	w := newWorker(a, 0)
	d.workers[0] = w
	id := TaskID{1, 2}
	d.tasks.SetWorkers(1)
	d.tasks.Want(tasks.Task{ID: managed(id)})
	d.troubles[id] = &taskTrouble{since: now}
	for failures := range 4 {
		d.giveOrders(time.Now().Add(time.Hour))
		require.Equal(t, []order{{kind: tasks.Open, task: id}}, w.inbox.take(), "%d failures", failures)
		require.Equal(t, 0, d.pending()[0].Worker)
		require.Contains(t, d.pending()[0].Reason, "worker 0 opens or restores it")
		d.report(report{worker: 0, kind: taskClosed, task: id, err: errors.New("no leader")})
		require.False(t, d.takeReports())
		require.Contains(t, d.pending()[0].Reason, "no leader")
		require.Equal(t, now, d.pending()[0].Since)
	}
	require.Contains(t, d.pending()[0].Reason, "it failed 4 times, at last: no leader")
	require.Zero(t, pauseAfter(1))
	require.Equal(t, againLeast, pauseAfter(2))
	require.Equal(t, againMost, pauseAfter(100))
	at, ok := d.tasks.Next()
	require.True(t, ok)
	d.giveOrders(at.Add(-time.Nanosecond))
	require.Empty(t, w.inbox.take())
	d.giveOrders(at)
	require.Len(t, w.inbox.take(), 1)
	d.report(report{worker: 0, kind: taskRuns, task: id})
	require.False(t, d.takeReports())
	require.Empty(t, d.pending())
	require.Empty(t, d.troubles)
}

// An assignment that arrives while the application stops is not looked at any more, and nobody waits for its turn.
func TestAStopDoesNotSpinOnAnAssignment(t *testing.T) {
	a := &app{cfg: Config{Workers: 1}.withDefaults()}
	a.machine = newMachine(func(_, _ State) {})
	a.standbys = newStandbys(a)
	d := newDispatcher(a)
	d.adopting = true
	require.Zero(t, d.sleep())
	d.stop()
	require.Equal(t, idleMost, d.sleep())
}
