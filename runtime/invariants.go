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
	inOrder := slices.IsSortedFunc(w.jobs.running, func(a, b *job) int { return compareTaskIDs(a.id, b.id) })
	check(inOrder, "worker %d: its tasks are not in order", w.index)
	for _, p := range w.search.suspects {
		check(w.jobs.of[p.job.id] == p.job, "worker %d: task %s is suspected and is not its own", w.index, p.job.id)
		check(p.most > 0, "worker %d: task %s may process %d records", w.index, p.job.id, p.most)
	}
	for _, j := range w.jobs.running {
		check(w.jobs.of[j.id] == j, "worker %d: task %s runs and is not its own", w.index, j.id)
		check(j.touched || !j.task.Unsealed(), "worker %d: task %s has something to commit that is not known", w.index, j.id)
		check(!j.sealed || w.commits.underWay, "worker %d: task %s has a part in no commit", w.index, j.id)
		check(j.restoring == nil, "worker %d: task %s runs while it is restored", w.index, j.id)
		for _, in := range j.inputs {
			check(w.inputs.of[in.TopicPartition] == in, "worker %d: %s is no input of task %s", w.index, in.TopicPartition, j.id)
		}
	}
	for _, j := range w.jobs.of {
		check(j.restoring == nil || j.restoring.job == j, "worker %d: task %s is restored as another", w.index, j.id)
	}
}
