package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"thalweg/internal/link"
	"thalweg/internal/task"
)

// restore brings one store of one task up to where its changelog ended when the task was opened.
//
// The end is the high watermark at a moment after the committed offsets were known to be stable: whatever those
// offsets cover has been written by then. Fetching reads committed, so the position reaches the end only when every
// transaction up to there is decided, and what was aborted has been left out.
type restore struct {
	link.TopicPartition
	job      *job
	store    string
	start    int64
	position int64 // everything below is in the store
	end      int64
	records  int64
	began    time.Time
	reported time.Time
}

func (r *restore) report(now time.Time) Restore {
	p := Restore{
		Task: r.job.id, Store: r.store, Topic: r.Topic, Start: r.start, Position: r.position, End: r.end,
		Records: r.records, Elapsed: now.Sub(r.began),
	}
	if done := r.position - r.start; done > 0 && p.Elapsed > 0 {
		p.Remaining = time.Duration(float64(p.Elapsed) * float64(max(r.end-r.position, 0)) / float64(done))
	}
	return p
}

// restoreReportEvery is the time between reports of progress.
const restoreReportEvery = time.Second

func logPartition(c task.Changelog) link.TopicPartition {
	return link.TopicPartition{Topic: c.Topic, Partition: c.Partition}
}

// beginRestore finds out what the opened tasks lack, and starts to fetch it. Tasks that lack nothing start at once.
func (w *worker) beginRestore(ctx context.Context, opened []*job, now time.Time) error {
	var logs []link.TopicPartition
	for _, j := range opened {
		for _, c := range j.changelogs {
			logs = append(logs, logPartition(c))
		}
	}
	var first, last map[link.TopicPartition]int64
	if len(logs) > 0 {
		var err error
		if first, err = w.link.ListOffsets(ctx, logs, link.Earliest, false); err != nil {
			return err
		}
		if last, err = w.link.ListOffsets(ctx, logs, link.Latest, false); err != nil {
			return err
		}
	}
	var fresh []string
	for _, j := range opened {
		anew := j.stateful
		for _, c := range j.changelogs {
			end := last[logPartition(c)]
			if c.Source { // the task itself takes the records from its committed offset on
				end = min(end, j.next(logPartition(c)))
			}
			if err := w.beginStore(j, c, first[logPartition(c)], end, now); err != nil {
				return err
			}
			anew = anew && j.positions[c.Store] <= first[logPartition(c)]
		}
		if len(j.restores) > 0 {
			w.tell(j, "restoring")
			if anew {
				fresh = append(fresh, j.id.String())
			}
			continue
		}
		if err := w.start(j); err != nil {
			return err
		}
	}
	// Should the restore be cut short, another goes on where it was, unless tombstones may be gone by then.
	return w.app.noteUsed(now, fresh...)
}

func (w *worker) beginStore(j *job, c task.Changelog, first, end int64, now time.Time) error {
	position := c.Position
	if !c.Known {
		position = first
	}
	old := c.Known && w.app.expired(j.id.String(), c.Topic, now)
	if c.Known && (position < first || position > end || old) {
		w.log.Warn("the local state does not fit its changelog: restoring all of it", "too old", old, "task", j.id.String(),
			"store", c.Store, "position", position, "from", first, "to", end)
		if err := j.task.Wipe(c.Store); err != nil {
			return err
		}
		position = first
	}
	j.positions[c.Store] = position
	if position >= end {
		return nil
	}
	if w.restorer == nil {
		f, err := w.link.OpenFetcher(link.FetcherConfig{})
		if err != nil {
			return err
		}
		w.restorer = f
	}
	r := &restore{
		TopicPartition: logPartition(c), job: j, store: c.Store, start: position, position: position, end: end,
		began: now, reported: now,
	}
	j.restores[c.Store] = r
	w.restores[r.TopicPartition] = r
	w.restorer.Set(r.TopicPartition, position)
	w.log.Info("restoring", "task", j.id.String(), "store", c.Store, "topic", r.Topic, "from", position, "to", end)
	w.tellRestore(w.app.cfg.Hooks.RestoreStarted, r, now)
	return nil
}

// restored is where changelogs arrive; nothing does while the application is paused.
func (w *worker) restored() <-chan []link.Fetched {
	if w.restorer == nil || w.app.paused.Load() {
		return nil
	}
	return w.restorer.Fetched()
}

// restore applies what was fetched of changelogs.
func (w *worker) restore(fetched []link.Fetched, now time.Time) error {
	for i := range fetched {
		f := &fetched[i]
		r := w.restores[f.TopicPartition]
		if r == nil || f.Stale() {
			continue
		}
		if f.Err != nil {
			if err := w.restoreRefused(r, f.Err); err != nil {
				return err
			}
			continue
		}
		w.doing(&r.job.restoring)
		for _, b := range f.Batches {
			if b.BaseOffset() >= r.end {
				break
			}
			if err := r.job.task.Restore(r.store, r.position, b); err != nil {
				return fmt.Errorf("task %s: restore of store %s from topic %s partition %d: %w", r.job.id, r.store,
					r.Topic, r.Partition, err)
			}
			if !b.IsControl() {
				r.records += int64(b.Count())
			}
		}
		r.position = max(r.position, min(f.Next, r.end)) // beyond the end are control records at most
		r.job.positions[r.store] = r.position
		switch {
		case f.Next >= r.end:
			if err := w.endRestore(r, now); err != nil {
				return err
			}
		case now.Sub(r.reported) >= restoreReportEvery:
			r.reported = now
			if err := r.job.task.Checkpoint(r.job.restoredTo); err != nil { // what is here need not come again
				return err
			}
			p := r.report(now)
			w.log.Info("restoring", "task", r.job.id.String(), "store", r.store, "records", p.Records,
				"left", p.End-p.Position, "remaining", p.Remaining)
			w.tellRestore(w.app.cfg.Hooks.RestoreProgress, r, now)
		}
	}
	return nil
}

// endRestore ends a store's, and starts its task with the last one.
func (w *worker) endRestore(r *restore, now time.Time) error {
	w.restorer.Unset(r.TopicPartition)
	delete(w.restores, r.TopicPartition)
	delete(r.job.restores, r.store)
	w.log.Info("restored", "task", r.job.id.String(), "store", r.store, "records", r.records, "in", now.Sub(r.began))
	w.tellRestore(w.app.cfg.Hooks.RestoreEnded, r, now)
	if len(r.job.restores) > 0 {
		return nil
	}
	if err := w.start(r.job); err != nil {
		return err
	}
	w.closeRestorer()
	return nil
}

// restoreRefused starts over when the changelog was cut while it was being read.
func (w *worker) restoreRefused(r *restore, cause error) error {
	out, ok := errors.AsType[*link.OutOfRangeError](cause)
	if !ok {
		return fmt.Errorf("task %s: restore of store %s: %w", r.job.id, r.store, cause)
	}
	w.log.Warn("the changelog was cut while it was read: restoring all of it", "task", r.job.id.String(),
		"store", r.store, "offset", out.Offset, "start", out.LogStart)
	if err := r.job.task.Wipe(r.store); err != nil {
		return err
	}
	r.start, r.position, r.records = out.LogStart, out.LogStart, 0
	r.job.positions[r.store] = r.position
	w.restorer.Set(r.TopicPartition, r.position)
	return nil
}

// cancelRestore forgets the restores of a task that is closed.
func (w *worker) cancelRestore(j *job) {
	for store, r := range j.restores {
		w.restorer.Unset(r.TopicPartition)
		delete(w.restores, r.TopicPartition)
		delete(j.restores, store)
	}
	w.closeRestorer()
}

func (w *worker) closeRestorer() {
	if w.restorer != nil && len(w.restores) == 0 {
		w.restorer.Close()
		w.restorer = nil
	}
}

func (w *worker) tellRestore(f func(Restore), r *restore, now time.Time) {
	if f != nil {
		p := r.report(now)
		w.app.hooks.add(func() { f(p) })
	}
}
