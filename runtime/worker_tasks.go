package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"thalweg/internal/link"
	"thalweg/topology"
)

// event handles one change of the membership.
func (w *worker) event(ctx context.Context, stop <-chan struct{}, e link.Event) error {
	defer e.Done() // whatever happens: the group must not wait for a worker that is on its way out
	switch e.Kind {
	case link.Assigned:
		w.log.Info("assigned", "partitions", e.Partitions)
		for _, tp := range e.Partitions {
			w.assigned[tp] = true
		}
		w.joined, w.pending = true, true
		w.unsettle()
		return nil
	case link.Revoked:
		w.log.Info("revoked", "partitions", e.Partitions)
		return w.revoke(ctx, stop, e.Partitions)
	case link.Lost:
		w.log.Warn("lost the membership: what was not committed is dropped", "partitions", e.Partitions)
		return w.lose(ctx, e.Partitions)
	default:
		if link.ClassOf(e.Err) == link.Fatal {
			return fmt.Errorf("group %s: %w", w.app.cfg.ApplicationID, e.Err)
		}
		w.log.Warn("trouble with the group, trying again", "err", e.Err)
		return nil
	}
}

// revoke commits, and gives tasks up in a state in which others can go on. Their local state stays on disk.
func (w *worker) revoke(ctx context.Context, stop <-chan struct{}, tps []link.TopicPartition) error {
	w.unsettle()
	if w.touches(tps) && (!w.open.IsZero() || !w.skipped.IsZero()) {
		if err := w.commit(ctx, w.app.cfg.Clock()); err != nil {
			if err := w.heal(ctx, stop, err); err != nil {
				return err
			}
		}
	}
	return w.drop(tps)
}

// lose gives up tasks that are somebody else's already. The transaction can't be committed: the worker goes back with
// all its tasks.
func (w *worker) lose(ctx context.Context, tps []link.TopicPartition) error {
	w.unsettle()
	err := w.rewind(ctx, link.Fenced)
	w.pending = false // what is left was lost, too, or is opened with the next assignment
	return errors.Join(w.drop(tps), err)
}

func (w *worker) touches(tps []link.TopicPartition) bool {
	return slices.ContainsFunc(tps, func(tp link.TopicPartition) bool { return w.inputs[tp] != nil })
}

// drop closes the tasks that need one of the partitions.
func (w *worker) drop(tps []link.TopicPartition) error {
	var errs []error
	for _, tp := range tps {
		delete(w.assigned, tp)
		if in := w.inputs[tp]; in != nil {
			errs = append(errs, w.closeJob(in.job))
		}
	}
	w.pending = true // others may be left to open, and the worker settles again
	return errors.Join(errs...)
}

func (w *worker) unsettle() {
	if w.settled.Swap(false) {
		w.app.refresh()
	}
}

// settle says that the worker works on all that it was given.
func (w *worker) settle() {
	if !w.joined || w.pending || len(w.running) != len(w.jobs) {
		return
	}
	w.tasks.Store(int32(len(w.jobs)))
	if !w.settled.Swap(true) {
		w.app.refresh()
	}
}

// openTasks makes the tasks whose inputs are all assigned. Those whose state a neighbour has not let go of stay for
// another turn.
func (w *worker) openTasks(ctx context.Context, now time.Time) error {
	w.doing(&doingOpen)
	w.pending = false
	ids := w.toOpen()
	if len(ids) == 0 {
		w.settle()
		return nil
	}
	if !w.open.IsZero() { // the next steps may take their time, and an open transaction has a timeout
		if err := w.commit(ctx, now); err != nil {
			w.pending = true
			w.release(ids)
			return err
		}
	}
	err := w.openAll(ctx, ids, now)
	if err != nil {
		w.pending = true
		for _, id := range ids {
			if w.jobs[id] == nil {
				w.app.claims.release(id)
			}
		}
		return err
	}
	w.settle()
	return nil
}

func (w *worker) release(ids []TaskID) {
	for _, id := range ids {
		w.app.claims.release(id)
	}
}

// toOpen are the tasks to make, claimed.
func (w *worker) toOpen() []TaskID {
	lay := w.app.layout
	var ids []TaskID
	for _, s := range w.app.topo.Subtopologies() {
		for p := range lay.partitions[s.ID] {
			id := TaskID{s.ID, p}
			inputs := lay.inputs(s, p)
			if w.jobs[id] != nil || len(inputs) == 0 ||
				slices.ContainsFunc(inputs, func(tp link.TopicPartition) bool { return !w.assigned[tp] }) {
				continue
			}
			if !w.app.claims.take(id, w.index, w.wake) {
				w.pending = true
				continue
			}
			ids = append(ids, id)
		}
	}
	return ids
}

func (w *worker) openAll(ctx context.Context, ids []TaskID, now time.Time) error {
	ctx, cancel := w.app.untilStop(ctx)
	defer cancel()
	var tps []link.TopicPartition
	for _, id := range ids {
		tps = append(tps, w.app.layout.inputs(w.app.topo.Subtopologies()[id.Subtopology], id.Partition)...)
	}
	starts, err := w.starts(ctx, tps, now)
	if err != nil {
		return err
	}
	var opened []*job
	for _, id := range ids {
		j, err := w.openJob(id, starts, now.UnixMilli())
		if err != nil {
			return fmt.Errorf("task %s: %w", id, err)
		}
		opened = append(opened, j)
	}
	return w.beginRestore(ctx, opened, now)
}

// starts are the committed offsets, or where a partition without one begins.
func (w *worker) starts(
	ctx context.Context, tps []link.TopicPartition, now time.Time,
) (map[link.TopicPartition]link.Offset, error) {
	offsets, err := w.link.CommittedOffsets(ctx, tps)
	if err != nil {
		return nil, err
	}
	ask := map[int64][]link.TopicPartition{} // where to look → what for
	for _, tp := range tps {
		if offsets[tp].Next >= 0 {
			continue
		}
		at, err := w.app.layout.resets[tp.Topic].at(tp, now)
		if err != nil {
			return nil, err
		}
		ask[at] = append(ask[at], tp)
	}
	for _, at := range slices.Sorted(maps.Keys(ask)) {
		found, err := w.link.ListOffsets(ctx, ask[at], at, true)
		if err != nil {
			return nil, err
		}
		for tp, offset := range found {
			offsets[tp] = link.Offset{TopicPartition: tp, Next: offset, LeaderEpoch: -1}
		}
	}
	return offsets, nil
}

// at is where ListOffsets has to look.
func (r resetting) at(tp link.TopicPartition, now time.Time) (int64, error) {
	switch r.Policy {
	case topology.ResetLatest:
		return link.Latest, nil
	case topology.ResetBack:
		return max(now.UnixMilli()-r.BackMillis, 0), nil
	case topology.ResetNone:
		return 0, fmt.Errorf("node %s (%s): the group has no committed offset for %s, and the source's reset policy "+
			"is none: commit one, or choose earliest or latest", r.node, r.site, tp)
	default:
		return link.Earliest, nil
	}
}

// refused handles an input that can't be fetched.
func (w *worker) refused(in *input, cause error) error {
	out, ok := errors.AsType[*link.OutOfRangeError](cause)
	if !ok {
		return cause
	}
	r := w.app.layout.resets[in.Topic]
	if r.Policy == topology.ResetNone {
		return fmt.Errorf("node %s (%s): %w, and the source's reset policy is none: the records in between were "+
			"deleted before they were processed; set the group's offset by hand", r.node, r.site, cause)
	}
	to := out.LogStart
	if out.Offset >= out.LogStart {
		to = out.EndAfter // the topic was cut or made anew
	}
	w.log.Error("records were deleted before they were processed: going on behind them; is the topic's retention long "+
		"enough?", "topic", in.Topic, "partition", in.Partition, "offset", out.Offset, "continue", to)
	in.next = to
	w.link.Fetcher().Set(in.TopicPartition, to)
	return nil
}

// fetchFrom starts to fetch an input where its task is.
func (w *worker) fetchFrom(in *input) {
	in.next, in.paused = in.job.next(in.TopicPartition), false
	w.link.Fetcher().Set(in.TopicPartition, in.next)
}

// start lets a task take records.
func (w *worker) start(j *job) error {
	if err := j.task.Restored(j.restoredTo); err != nil {
		return fmt.Errorf("task %s: %w", j.id, err)
	}
	w.running = append(w.running, j)
	w.app.claims.run(j.id)
	slices.SortFunc(w.running, func(a, b *job) int { return compareTaskIDs(a.id, b.id) })
	for _, in := range j.inputs {
		w.fetchFrom(in)
	}
	w.tell(j, "running")
	w.settle()
	return nil
}

// closeJob drops what the task has not committed and keeps the rest on disk.
func (w *worker) closeJob(j *job) error {
	for _, in := range j.inputs {
		w.link.Fetcher().Unset(in.TopicPartition)
		delete(w.inputs, in.TopicPartition)
	}
	w.cancelRestore(j)
	delete(w.jobs, j.id)
	w.retire(j)
	kept := slices.Contains(w.running, j) && j.stateful
	w.running = slices.DeleteFunc(w.running, func(o *job) bool { return o == j })
	err := errors.Join(j.close(), w.app.noteHeld(j.id))
	if kept {
		err = errors.Join(err, w.app.noteUsed(w.app.cfg.Clock(), j.id.String()))
	}
	w.app.claims.release(j.id)
	w.tell(j, "closed")
	return err
}

func (w *worker) tell(j *job, state string) {
	w.log.Debug("task "+state, "task", j.id.String())
	if f := w.app.cfg.Hooks.TaskChanged; f != nil {
		e := TaskEvent{Task: j.id, Worker: w.index, State: state}
		w.app.hooks.add(func() { f(e) })
	}
}

func (w *worker) sortedJobs() []*job {
	return slices.SortedFunc(maps.Values(w.jobs), func(a, b *job) int { return compareTaskIDs(a.id, b.id) })
}

func compareTaskIDs(a, b TaskID) int {
	return cmp.Or(cmp.Compare(a.Subtopology, b.Subtopology), cmp.Compare(a.Partition, b.Partition))
}
