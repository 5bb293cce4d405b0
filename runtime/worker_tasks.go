package runtime

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/internal/task"
	"thalweg/topology"
)

// openTasks makes the tasks that the dispatcher has ordered.
func (w *worker) openTasks(ctx context.Context, now time.Time) error {
	w.doing(&doingOpen)
	ids := slices.SortedFunc(maps.Keys(w.opens), compareTaskIDs)
	lease := w.opens[ids[0]]
	if lease != w.lease && len(w.jobs) > 0 { // they would have been lost before
		return errLease
	}
	// The next steps may take their time, and an open transaction has a timeout.
	if err := w.commits.commitRest(ctx, now); err != nil {
		return err // they are opened in another turn
	}
	w.lease = lease
	w.client.UseLease(lease)
	if err := w.openAll(ctx, ids, now); err != nil {
		return joined(err, w.giveBack(ids, err))
	}
	for _, id := range ids {
		delete(w.opens, id)
	}
	return nil
}

// giveBack undoes what was begun with tasks that neither run nor are restored: they are opened again later.
func (w *worker) giveBack(ids []TaskID, why error) (err error) {
	for _, id := range ids {
		j := w.jobs[id]
		switch {
		case j == nil:
			w.decline(id, why)
		case j.restoring == nil && !j.suspended && !slices.Contains(w.running, j):
			err = joined(err, w.closeJob(j, why))
		}
		delete(w.opens, id)
	}
	return err
}

func (w *worker) openAll(ctx context.Context, ids []TaskID, now time.Time) error {
	ctx, cancel := w.app.untilStop(ctx)
	defer cancel()
	defer w.app.retention.open(ids)()
	if err := w.app.standbys.await(ctx, ids); err != nil {
		return err
	}
	p, err := w.starts(ctx, ids, now)
	if err != nil {
		return err
	}
	if err := w.readTimes(ctx, ids, p); err != nil {
		return err
	}
	if err := w.compare(ctx, ids, p, now); err != nil {
		return err
	}
	if err := w.compareAbsent(ctx, ids, p); err != nil {
		return err
	}
	var opened []*job
	for _, id := range ids {
		j, err := w.openJob(id, p, now)
		if err != nil {
			return fmt.Errorf("task %s: %w", id, err)
		}
		opened = append(opened, j)
	}
	return w.beginRestore(opened, p)
}

// starts are the committed offsets, or where a partition without one begins. With them it asks what the topics are, by
// which the tasks' inputs and stores are known.
func (w *worker) starts(ctx context.Context, ids []TaskID, now time.Time) (*positions, error) {
	var tps []kclient.TopicPartition
	topics := map[string]bool{w.app.noted.topic: true}
	for _, id := range ids {
		for _, tp := range w.app.layout().inputs(w.app.topo.Subtopologies()[id.Subtopology], id.Partition) {
			tps, topics[tp.Topic] = append(tps, tp), true
		}
		for _, f := range w.app.layout().fillingsOf(id) {
			if f.topic != "" {
				topics[f.topic] = true
			}
		}
	}
	offsets, err := w.client.CommittedOffsets(ctx, tps)
	if err != nil {
		return nil, err
	}
	p := &positions{fresh: map[kclient.TopicPartition]bool{}}
	if p.identity, err = w.client.Topics().Identify(ctx, sortedKeys(topics)...); err != nil {
		return nil, err
	}
	if err := w.dropForeign(ctx, offsets, p); err != nil {
		return nil, err
	}
	p.committed, p.starts = maps.Clone(offsets), offsets
	ask := map[int64][]kclient.TopicPartition{} // where to look → what for
	for _, tp := range tps {
		if offsets[tp].Next >= 0 {
			continue
		}
		r := w.app.layout().resets[tp.Topic]
		at, err := r.at(tp, now)
		if err != nil {
			return nil, err
		}
		ask[at] = append(ask[at], tp)
		p.fresh[tp] = p.fresh[tp] || r.moves()
	}
	for _, at := range slices.Sorted(maps.Keys(ask)) {
		found, err := w.client.ListOffsets(ctx, ask[at], at, true)
		if err != nil {
			return nil, err
		}
		for tp, offset := range found {
			offsets[tp] = kclient.Offset{TopicPartition: tp, Next: offset, LeaderEpoch: -1}
		}
	}
	return p, nil
}

// dropForeign leaves out the offsets that the application itself has committed to a topic of the same name, which was
// deleted since. What something else has committed, such as a tool, is meant as it is.
func (w *worker) dropForeign(
	ctx context.Context, offsets map[kclient.TopicPartition]kclient.Offset, p *positions,
) error {
	foreign := func() (tps []kclient.TopicPartition) {
		for tp, o := range offsets {
			note, noted := w.app.noted.get(inputKey(tp))
			if o.Next >= 0 && noted && task.HasWritten(o.Metadata) && origin.Same(note.Cluster, p.identity.Cluster) &&
				!origin.Same(note.TopicID, p.identity.Topics[tp.Topic]) {
				tps = append(tps, tp)
			}
		}
		return tps
	}
	if len(foreign()) == 0 {
		return nil
	}
	// Another process may have begun with the new topic since this one has read the progress topic.
	if err := w.app.noted.refresh(ctx); err != nil {
		return err
	}
	for _, tp := range foreign() {
		w.log.Warn("the topic was deleted and recreated: the group's offset is of the deleted one; going on as the source's "+
			"reset policy says", "topic", tp.Topic, "partition", tp.Partition, "offset", offsets[tp].Next)
		offsets[tp] = kclient.Offset{TopicPartition: tp, Next: -1, LeaderEpoch: -1}
		p.fresh[tp] = true
	}
	return nil
}

// at is where ListOffsets has to look.
func (r resetting) at(tp kclient.TopicPartition, now time.Time) (int64, error) {
	switch r.Policy {
	case topology.ResetLatest:
		return kclient.Latest, nil
	case topology.ResetBack:
		return max(now.UnixMilli()-r.BackMillis, 0), nil
	case topology.ResetNone:
		return 0, fmt.Errorf("node %s (%s): the group has no committed offset for %s, and the source's reset policy "+
			"is none: commit one, or choose earliest or latest", r.node, r.site, tp)
	default:
		return kclient.Earliest, nil
	}
}

// moves tells whether the policy says something else later.
func (r resetting) moves() bool {
	return r.Policy == topology.ResetLatest || r.Policy == topology.ResetBack
}

// fetchFrom starts to fetch an input where its task is.
func (w *worker) fetchFrom(in *input) {
	in.next, in.paused, in.outOfRange = in.job.next(in.TopicPartition), false, nil
	w.count(in)
	w.client.Fetcher().Set(in.TopicPartition, in.next)
}

// start lets a task take records. What was restored goes to the engine first: views count the task's partition as here
// from now on, and no commit may follow for a long time.
func (w *worker) start(j *job) error {
	w.doing(&activity{what: "starting task " + j.id.String()})
	j.tx.MarkSynced(j.asked)
	if err := j.task.Restored(j.restoredTo); err != nil {
		return fmt.Errorf("task %s: %w", j.id, err)
	}
	if err := j.tx.Checkpoint(); err != nil {
		return fmt.Errorf("task %s: %w", j.id, err)
	}
	w.running = withJob(w.running, j)
	j.started = w.app.cfg.Clock()
	for _, in := range j.inputs {
		w.fetchFrom(in)
	}
	w.commits.noteMoved(j, j.started.Add(-skippedAfter)) // where it starts is committed at once
	w.refigure(j)
	w.called(j)
	w.wakeTask(j)
	w.report(taskRuns, j.id, nil)
	w.tell(j, "running")
	return nil
}

// closeJob drops what the task has not committed and keeps the rest on disk. why is the error of a task that can't be
// opened.
func (w *worker) closeJob(j *job, why error) error {
	w.doing(&activity{what: "closing task " + j.id.String()})
	for _, in := range j.inputs {
		w.client.Fetcher().Unset(in.TopicPartition)
		w.hold(-in.held)
		delete(w.inputs, in.TopicPartition)
	}
	w.cancelRestore(j)
	delete(w.jobs, j.id)
	w.shown = nil
	w.search.forget(j)
	w.retire(j)
	w.forget(j)
	w.running = slices.DeleteFunc(w.running, func(o *job) bool { return o == j })
	if !j.suspended { // else it has been another's, perhaps
		w.markIdle(j)
	}
	err := joined(j.close(), w.app.balance.noteHeld(j.id))
	w.report(taskClosed, j.id, why)
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
