package runtime_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/runtime"
)

// tasksOf are the tasks that an application processes.
func tasksOf(app *running) (ids []runtime.TaskID) {
	for _, w := range app.Stats().Workers {
		for _, task := range w.Tasks {
			if task.State == "running" {
				ids = append(ids, task.Task)
			}
		}
	}
	return ids
}

// copiesOf are the tasks of which an application has a copy that lacks nothing.
func copiesOf(app *running) (ids []runtime.TaskID) {
	for _, s := range app.Stats().Standbys {
		if s.Lag == 0 {
			ids = append(ids, s.Task)
		}
	}
	return ids
}

// Two processes are in one zone, and one is in another: each task has its copy in the other zone. When a process dies,
// its tasks run where their copies are.
func TestACopyInAnotherZoneTakesOver(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	silence := new(gate)
	var apps [3]*running
	var mu sync.Mutex
	took := map[runtime.TaskID]int{} // which process was the first to run a task since the death of one
	dead := false
	for i := range apps {
		cfg := h.copying(fmt.Sprint("process ", i))
		cfg.Standbys.Tags = map[string]string{"zone": []string{"a", "a", "b"}[i], "rack": "1"}
		cfg.Standbys.SpreadTags = []string{"zone"}
		cfg.SessionTimeout, cfg.TransactionTimeout, cfg.Standbys.AcceptableLag = 6*time.Second, 2*time.Second, 1
		cfg.Hooks.TaskChanged = func(e runtime.TaskEvent) {
			mu.Lock()
			defer mu.Unlock()
			if _, ok := took[e.Task]; dead && !ok && e.State == "running" {
				took[e.Task] = i
			}
		}
		if i == 0 {
			cfg.NoLocal, cfg.ClientOptions = true, h.over(silence.wrap)
		}
		apps[i] = h.start(counted(t), cfg).settled()
	}
	require.Eventually(t, func() bool {
		return tasks(apps[0]) > 0 && tasks(apps[1]) > 0 && tasks(apps[2]) > 0 &&
			tasks(apps[0])+tasks(apps[1])+tasks(apps[2]) == 4
	}, patience, poll)
	h.feedKeys(1000, func(i int) string { return fmt.Sprint("row", i) })
	h.await()
	require.Eventually(t, func() bool {
		there, other := tasksOf(apps[2]), slices.Concat(tasksOf(apps[0]), tasksOf(apps[1]))
		return len(there)+len(other) == 4 && sameTasks(other, copiesOf(apps[2])) &&
			sameTasks(there, slices.Concat(copiesOf(apps[0]), copiesOf(apps[1])))
	}, patience, poll)

	theirs := tasksOf(apps[0])
	mu.Lock()
	dead = true
	mu.Unlock()
	silence.Lock()
	h.feedKeys(1000, func(i int) string { return fmt.Sprint("row", i) })
	h.await()
	mu.Lock()
	for _, id := range theirs {
		require.Equal(t, 2, took[id], "task %s runs where its copy was", id)
	}
	mu.Unlock()
	silence.Unlock()
	for _, app := range apps {
		app.settled()
		app.stop()
	}
	h.exact()
}

// sameTasks tells whether two lists have the same tasks.
func sameTasks(a, b []runtime.TaskID) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(id runtime.TaskID) bool { return !slices.Contains(b, id) })
}
