package task

import (
	"fmt"

	"thalweg/internal/batch"
	"thalweg/topology"
)

// Restore puts a batch of a store's changelog into the store: the records from an offset on. Of an input's topic it
// takes what lies before the input's committed offset, and no record that processing would leave out. It returns how
// many records the store has taken.
func (ss *Stores) Restore(store string, from int64, b batch.Batch) (taken int64, err error) {
	if ss.life.state == Created {
		if err := ss.life.move(Restoring); err != nil {
			return 0, err
		}
	}
	if err := ss.life.in("restore", Restoring, Standby); err != nil {
		return 0, err
	}
	log := ss.log(store)
	if log == nil {
		return 0, fmt.Errorf("task %s: store %s: restore: it has no changelog", ss.id, store)
	}
	if b.IsControl() {
		return 0, nil
	}
	end := never
	if log.input != nil {
		end = log.input.committed.next
	}
	it, err := b.Records(ss.decoder)
	var r batch.Record
	next := max(from, b.BaseOffset())
	for err == nil && it.Next(&r) && r.Offset < end {
		next = r.Offset + 1
		if r.Offset < from || r.Key == nil { // no store has a row for a null key; a source topic may hold such records
			continue
		}
		row, err := ss.restoreRow(log, &r)
		if err != nil {
			return taken, err
		}
		if row {
			taken++
		}
	}
	if err == nil {
		err = it.Err()
	}
	if err != nil && next < end {
		return taken, ss.passOver(log, next, unreadable(err, b.LastOffset()+1))
	}
	return taken, nil
}

// restoreRow puts one record into the store, if it is a row.
func (ss *Stores) restoreRow(log *storeLog, r *batch.Record) (row bool, err error) {
	if log.input != nil && !topology.IsTime(r.Timestamp) {
		return false, nil
	}
	if err := log.check(r); err != nil {
		return false, ss.passOver(log, r.Offset,
			fmt.Errorf("%w: to go on without it let Errors.Decode be Skip or DeadLetter", err))
	}
	if err = ss.tx.Restore(log.store.Name(), r.Key, r.Value, r.Timestamp); err != nil {
		return false, fmt.Errorf("task %s: store %s: restore of topic %s partition %d offset %d: %w", ss.id,
			log.store.Name(), log.topic, ss.id.Partition, r.Offset, err)
	}
	return true, nil
}

// check refuses a record that is no row: processing would not have taken it, or it has another form.
func (l *storeLog) check(r *batch.Record) error {
	if l.decode != nil {
		return l.decode(&topology.SourceRecord{Record: *r, Topic: l.topic})
	}
	if r.Value == nil {
		return nil
	}
	return l.checkHeaders(r)
}

// passOver asks the policy about what a restore cannot read; nil: it goes on behind it. There is no dead letter: what
// the application could not read it has met before, in processing.
func (ss *Stores) passOver(log *storeLog, offset int64, err error) error {
	pe := &topology.ProcessingError{
		Phase: topology.PhaseDecode, Node: "store " + log.store.Name(), Site: "restore", Timestamp: topology.Unknown,
		Metadata: topology.Metadata{Topic: log.topic, Partition: ss.id.Partition, Offset: offset}, Err: err,
	}
	if topology.Broken(err) || ss.tx.Failed() != nil {
		return err
	}
	if d, _ := ss.failures.resolve(pe); d != topology.Skip && d != topology.DeadLetter {
		return fmt.Errorf("task %s: %w", ss.id, pe)
	}
	if ss.config.PassedOver != nil {
		ss.config.PassedOver(pe)
	}
	return nil
}

// Checkpoint makes what was restored so far, up to position per store, part of the engine. Restored does it, too. A
// position below 0 leaves the old one.
func (ss *Stores) Checkpoint(position func(store string) int64) error {
	if err := ss.tx.RestoreDone(position); err != nil {
		return fmt.Errorf("task %s: restore: %w", ss.id, err)
	}
	return nil
}

// Restored ends restoring: position is the offset up to which each store's changelog was read. The graph is built,
// and the task runs.
func (t *Task) Restored(position func(store string) int64) error {
	if t.life.state == Created {
		if err := t.life.move(Restoring); err != nil {
			return err
		}
	}
	if err := t.life.in("restored", Restoring); err != nil {
		return err
	}
	if err := t.Stores.Checkpoint(position); err != nil {
		return err
	}
	t.tx.RestoreEnd()
	if err := t.build(); err != nil {
		return err
	}
	t.nodes.seal()
	t.nodes.advance()
	return t.life.move(Running)
}
