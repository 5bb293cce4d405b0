package runtime

import (
	"slices"

	"thalweg/internal/invariant"
)

// holds checks what holds of a worker between two steps, in builds with the tag `invariants`.
func (w *worker) holds() {
	if !invariant.Enabled {
		return
	}
	check := invariant.Check
	check(slices.IsSortedFunc(w.running, func(a, b *job) int { return compareTaskIDs(a.id, b.id) }), "worker %d: its "+
		"tasks are not in order", w.index)
	check(w.search.count >= 0 && w.search.most >= 0, "worker %d: searches %d of %d records", w.index, w.search.count,
		w.search.most)
	for _, j := range w.running {
		check(w.jobs[j.id] == j, "worker %d: task %s runs and is not its own", w.index, j.id)
		check(len(j.restores) == 0, "worker %d: task %s runs while it is restored", w.index, j.id)
		for _, in := range j.inputs {
			check(w.inputs[in.TopicPartition] == in, "worker %d: %s is no input of task %s", w.index, in.TopicPartition, j.id)
		}
	}
	for tp, r := range w.restores {
		check(r.position >= r.start, "worker %d: restore of %s before its start", w.index, tp)
		check(w.jobs[r.job.id] == r.job, "worker %d: restore of %s for a task that is gone", w.index, tp)
	}
}
