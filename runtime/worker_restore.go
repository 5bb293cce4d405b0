package runtime

import (
	"thalweg/internal/defect"
	"thalweg/internal/kclient"
	"thalweg/internal/task"
)

func logPartition(c task.Changelog) kclient.TopicPartition {
	return kclient.TopicPartition{Topic: c.Topic, Partition: c.Partition}
}

// beginRestore finds out what the opened tasks lack, and has it restored. Tasks that lack nothing start at once.
//
// The end of a changelog is the high watermark at a moment after the committed offsets were known to be stable: what
// those offsets cover has been written by then. Fetching reads committed, so the position reaches the end only when
// every transaction up to there is decided, and what was aborted has been left out.
func (w *worker) beginRestore(opened []*job, p *positions) error {
	for _, j := range opened {
		var lacking []task.Followed
		for _, c := range j.changelogs {
			first, end := p.first[logPartition(c)], p.last[logPartition(c)]
			if c.Source { // the task itself takes the records from its committed offset on
				end = min(end, j.next(logPartition(c)))
			}
			if defect.ShortRestore { // the last offset is that of a transaction's marker
				end -= 2
			}
			if defect.EarlyPromotion && c.Known && w.app.cfg.Standbys > 0 { // what the copy lacks is not waited for
				end = min(end, c.Position)
			}
			if l := w.beginStore(j, c, first, end); !l.Done() {
				lacking = append(lacking, l)
			}
		}
		if len(lacking) > 0 {
			if err := w.restoreTask(j, lacking); err != nil {
				return err
			}
			w.tell(j, "restoring")
			continue
		}
		if err := w.start(j); err != nil {
			return err
		}
	}
	return nil
}

// beginStore begins where the local copy ends, which was compared with the topic. Should the restore of a store that
// has nothing be interrupted, another continues where it was, unless tombstones may be gone by then: the age of what
// was read counts from here. The age of other stores does not change until they have come to the end.
func (w *worker) beginStore(j *job, c task.Changelog, first, end int64) task.Followed {
	position := max(c.Position, first) // below it is the marker of a transaction at most
	if !c.Known {
		position = first
		j.tx.MarkStoreSynced(c.Store, j.asked)
	}
	j.positions[c.Store] = position
	c.Position = position
	return task.Followed{Changelog: c, End: end}
}

// takeRestored starts the tasks that are restored.
func (w *worker) takeRestored() error {
	if w.restored.Swap(0) == 0 {
		return nil
	}
	for _, j := range w.jobs.sorted() {
		if r := j.restoring; r == nil || !r.over() {
			continue
		}
		if err := w.takeBack(j); err != nil {
			w.restored.Add(1) // others may be restored, too, and have reported it
			return err
		}
	}
	return nil
}

// takeBack starts a task that is restored. One that could not be restored is closed, and opened again after a pause.
func (w *worker) takeBack(j *job) error {
	r := j.restoring
	j.restoring = nil
	if r.err != nil {
		return joined(r.err, w.closeJob(j, r.err))
	}
	for _, s := range r.stores {
		j.positions[s.Store] = s.Position
	}
	return w.start(j)
}

// over tells that the task is its worker's again.
func (r *restoring) over() bool {
	select {
	case <-r.finished:
		return true
	default:
		return false
	}
}

// cancelRestore takes back a task that is about to be closed.
func (w *worker) cancelRestore(j *job) {
	if r := j.restoring; r != nil {
		w.app.restorers.giveUp(r)
		j.restoring = nil
	}
}
