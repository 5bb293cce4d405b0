package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/log"
	"thalweg/broker/internal/meta"
)

// removals takes away the files of deleted topics, one topic after the other, while clients have their answers
// already. The metadata remembers what is to be removed until it is gone, so a stop or a crash leaves the rest to the
// next start.
type removals struct {
	mu      sync.Mutex
	queue   []*removal
	current *removal // nil while nothing is removed
}

// removal is what is left of a topic, or of an attempt to make partitions.
type removal struct {
	meta.Removal
	logs []*log.Log    // open
	done chan struct{} // closed when the broker is done with it, whatever is left
}

// removeLater removes in the background.
func (b *broker) removeLater(r meta.Removal, logs []*log.Log) {
	next := &removal{Removal: r, logs: logs, done: make(chan struct{})}
	q := &b.removals
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = append(q.queue, next)
	if q.current != nil {
		return
	}
	if !b.startWork() { // the broker closes
		b.release(q.queue...)
		q.queue = nil
		return
	}
	q.advance()
	go b.removeQueued()
}

// advance begins with the first of the queue. q.mu is held.
func (q *removals) advance() {
	q.current = nil
	if len(q.queue) > 0 {
		q.current, q.queue = q.queue[0], q.queue[1:]
	}
}

func (b *broker) removeQueued() {
	defer b.background.Done()
	q := &b.removals
	for {
		q.mu.Lock()
		r := q.current
		q.mu.Unlock()
		if r == nil {
			return
		}
		b.remove(r)
		q.mu.Lock()
		q.advance()
		q.mu.Unlock()
		close(r.done)
	}
}

// take returns the removal of a topic's files. It comes out of the queue, unless it is under way: then it is to be
// waited for.
func (q *removals) take(name string) (r *removal, underWay bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.current != nil && q.current.Name == name {
		return q.current, true
	}
	i := slices.IndexFunc(q.queue, func(r *removal) bool { return r.Name == name })
	if i < 0 {
		return nil, false
	}
	r = q.queue[i]
	q.queue = slices.Delete(q.queue, i, i+1)
	return r, false
}

// settleRemoval removes what is left of an earlier topic of that name, or of an attempt to make it. b.admin is held.
func (b *broker) settleRemoval(name string) error {
	switch r, underWay := b.removals.take(name); {
	case underWay:
		select {
		case <-r.done:
		case <-b.stop:
			return ErrClosed
		}
	case r != nil:
		b.remove(r)
	}
	var left meta.Removal
	pending := false
	if _, err := b.meta.View(func(time.Time) { left, pending = b.metaMachine.Removals()[name] }); err != nil {
		return err
	}
	if pending && !b.finishRemoval(left) {
		return fmt.Errorf("broker: what is left of an earlier topic %s can't be removed: see the log", name)
	}
	return nil
}

func (b *broker) remove(r *removal) {
	for i, l := range r.logs {
		if b.stopping() {
			b.release(&removal{logs: r.logs[i:]})
			return
		}
		if err := l.Delete(); err != nil {
			b.cfg.Logger.Warn("broker: delete a partition; it is tried once more", "topic", r.Name, "err", err)
		}
	}
	b.finishRemoval(r.Removal)
}

// release closes logs that the next start removes.
func (b *broker) release(all ...*removal) {
	for _, r := range all {
		for _, l := range r.logs {
			if err := l.Release(); err != nil {
				b.cfg.Logger.Warn("broker: close a partition of a deleted topic", "err", err)
			}
		}
	}
}

// finishRemoval removes directories that the metadata says are no topic's, and the offsets of a deleted topic, and
// notes that they are gone. What fails is logged, and left for the next start. Nobody makes a topic of that name
// meanwhile: see settleRemoval.
func (b *broker) finishRemoval(r meta.Removal) (done bool) {
	for i := r.First; i < r.End; i++ {
		if b.stopping() {
			return false
		}
		dir := b.cfg.FS.PathJoin(b.cfg.Dir, partitionDir(r.Name, i))
		if b.topics.load().byName[r.Name].has(i) {
			continue
		}
		files, err := b.cfg.FS.List(dir)
		if err == nil && slices.ContainsFunc(files, func(f string) bool { return !logFile.MatchString(f) }) {
			b.cfg.Logger.Warn("broker: the directory of a deleted partition holds other files, and stays", "dir", dir)
			continue
		}
		if err == nil {
			err = log.Remove(b.cfg.FS, dir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.cfg.Logger.Error("broker: remove a deleted partition; it is tried again at the next start", "dir", dir,
				"err", err)
			return false
		}
	}
	if err := b.forgetRemoved(r); err != nil {
		if !b.stopping() {
			b.cfg.Logger.Error("broker: delete the offsets of a deleted topic; it is tried again at the next start",
				"topic", r.Name, "err", err)
		}
		return false
	}
	// The directories must not come back after the record that lets the broker forget them.
	if err := syncDir(b.cfg.FS, b.cfg.Dir); err != nil {
		b.cfg.Logger.Error("broker: force the removal of deleted partitions; it is tried again at the next start",
			"topic", r.Name, "err", err)
		return false
	}
	// Without this record the next start finds nothing to remove, and writes it.
	step := func() (coord.Step, error) { return b.metaMachine.Removed(r.Name), nil }
	if _, err := b.noteMetadata(step); err != nil {
		b.cfg.Logger.Warn("broker: note that a deleted partition is removed", "topic", r.Name, "err", err)
	}
	return true
}

// forgetRemoved durably deletes what groups have committed for a deleted topic: a topic of the same name must not find
// it.
func (b *broker) forgetRemoved(r meta.Removal) error {
	if r.First > 0 || isInternal(r.Name) || b.topics.load().byName[r.Name] != nil {
		return nil
	}
	ticket, err := b.groups.Do(func(time.Time) coord.Step { return b.groupMachine.DeleteTopic(r.Name) })
	if err != nil {
		return err
	}
	return b.waitDurable(b.groups, ticket)
}

// stopping tells that the broker closes.
func (b *broker) stopping() bool {
	select {
	case <-b.stop:
		return true
	default:
		return false
	}
}
