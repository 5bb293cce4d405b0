package runtime

import (
	"log/slog"
	"sync/atomic"

	"thalweg/internal/defect"
	"thalweg/internal/kclient"
	"thalweg/internal/task"
)

// restores hands tasks of a worker to the restorers, and back to the worker.
type restores struct {
	app   *app
	log   *slog.Logger
	inbox *inbox       // of the worker, which is told
	ended atomic.Int32 // how many tasks were restored that the worker has not taken back; any goroutine
}

func logPartition(c task.Changelog) kclient.TopicPartition {
	return kclient.TopicPartition{Topic: c.Topic, Partition: c.Partition}
}

// lacking finds out what a task lacks that was opened.
//
// The end of a changelog is the high watermark at a moment after the committed offsets were known to be stable: what
// those offsets cover has been written by then. Fetching reads committed, so the position reaches the end only when
// every transaction up to there is decided, and what was aborted has been left out.
func (s *restores) lacking(j *job, p *positions) (all []task.Followed) {
	for _, c := range j.changelogs {
		first, end := p.first[logPartition(c)], p.last[logPartition(c)]
		if c.Source { // the task itself takes the records from its committed offset on
			end = min(end, j.next(logPartition(c)))
		}
		if defect.ShortRestore { // the last offset is that of a transaction's marker
			end -= 2
		}
		if defect.EarlyPromotion && c.Known && s.app.cfg.Standbys.Count > 0 { // what the copy lacks is not waited for
			end = min(end, c.Position)
		}
		if l := j.beginStore(c, first, end); !l.Done() {
			all = append(all, l)
		}
	}
	return all
}

// beginStore begins where the local copy ends, which was compared with the topic. Should the restore of a store that
// has nothing be interrupted, another continues where it was, unless tombstones may be gone by then: the age of what
// was read counts from here. The age of other stores does not change until they have come to the end.
func (j *job) beginStore(c task.Changelog, first, end int64) task.Followed {
	position := max(c.Position, first) // below it is the marker of a transaction at most
	if !c.Known {
		position = first
		j.tx.MarkStoreSynced(c.Store, j.asked)
	}
	j.positions[c.Store] = position
	c.Position = position
	return task.Followed{Changelog: c, End: end}
}

// begin hands a task over.
func (s *restores) begin(j *job, lacking []task.Followed) error {
	f, err := j.task.NewFollower(lacking)
	if err != nil {
		return err
	}
	r := &restoring{owner: s, job: j, follower: f, ended: make(chan struct{}), finished: make(chan struct{})}
	for _, l := range f.Logs() {
		s := &restore{Followed: l}
		s.progress.Restore = Restore{
			Task: j.id, Store: l.Store, Topic: l.Topic, Start: l.Start, Position: l.Start, End: l.End,
		}
		r.stores = append(r.stores, s)
	}
	r.publish()
	j.restoring = r
	s.app.restorers.add(r)
	return nil
}

// finish gives a task back, in whatever state it is. Its restorer calls it.
func (s *restores) finish(r *restoring) {
	close(r.finished)
	s.ended.Add(1)
	s.inbox.poke()
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

// cancel takes back a task that is about to be closed.
func (s *restores) cancel(j *job) {
	if r := j.restoring; r != nil {
		s.app.restorers.giveUp(r)
		j.restoring = nil
	}
}
