package task

import (
	"bytes"
	"fmt"
	"slices"

	"thalweg/internal/batch"
	"thalweg/state"
	"thalweg/topology"
)

// storeLog is where a store's changes lie outside of the engine.
type storeLog struct {
	store  state.Store
	topic  string          // its changelog, or the topic that it is restored from; empty: none
	outlet topology.Outlet // nil: nothing is written
	// headers of the records that are written, which those that are read must have; not of tombstones
	headers []topology.Header
	input   *queue                             // of the topic that the store is restored from
	decode  func(*topology.SourceRecord) error // decodes a record of that topic; nil: it is a changelog
}

// Changelog is a partition that a store is restored from.
type Changelog struct {
	Store     string
	Topic     string
	Partition int32
	// Position is the offset to read from, where Known: the engine holds what lies before. Not known, the store is
	// empty and read from the start. A position below the topic's start means: [Task.Wipe] first.
	Position int64
	Known    bool
	// Source tells that the topic is an input of the task: restoring ends at the committed offset of the input, not
	// at the topic's end.
	Source bool
}

// openStores opens the stores with their types, so that they can be restored before a node asks for them.
func (t *Task) openStores() error {
	for _, sub := range t.config.Subs {
		if sub.Global {
			if err := t.openGlobal(sub); err != nil {
				return err
			}
			continue
		}
		for _, s := range sub.Stores {
			if t.storeLog(s.Name()) != nil {
				continue
			}
			if err := s.Prepare(t.tx); err != nil {
				return fmt.Errorf("store %s: %w", s.Name(), err)
			}
			log := storeLog{store: s}
			if n, ok := sub.RestoredFrom(s.Name()); ok {
				log.topic = n.Topics[0].In(t.config.ApplicationID)
				log.input = t.Queues.find(log.topic, t.id.Partition)
				if n.Decode != nil {
					log.decode = n.Decode(n)
				}
			} else if spec := s.Spec(); !spec.Volatile {
				log.topic = spec.ChangelogTopic(t.config.ApplicationID)
				out, err := t.config.Outbox.Outlet(log.topic)
				if err != nil {
					return fmt.Errorf("store %s: %w", s.Name(), err)
				}
				log.outlet = out
				if spec.Kind == state.KindSuppress {
					log.headers = suppressHeaders()
				}
			}
			t.stores = append(t.stores, log)
		}
	}
	return nil
}

// suppressHeaders say in which form the rows of a suppression are: it is the third of Kafka Streams.
func suppressHeaders() []topology.Header { return []topology.Header{{Key: "v", Value: []byte{3}}} }

// checkHeaders refuses a record that has another form than what is written.
func (l *storeLog) checkHeaders(r *batch.Record) error {
	if len(l.headers) == 0 {
		return nil
	}
	found, err := r.Headers(nil)
	if err != nil {
		return err
	}
	for _, h := range l.headers {
		if !slices.ContainsFunc(found, func(f batch.Header) bool {
			return f.Key == h.Key && bytes.Equal(f.Value, h.Value)
		}) {
			return fmt.Errorf("the changelog record does not have the header %s=%x: it is of another version", h.Key, h.Value)
		}
	}
	return nil
}

func (t *Task) storeLog(name string) *storeLog {
	for i := range t.stores {
		if t.stores[i].store.Name() == name {
			return &t.stores[i]
		}
	}
	return nil
}

// Changelogs are the partitions that the stores are restored from, and how far the engine has them.
func (t *Task) Changelogs() ([]Changelog, error) {
	var logs []Changelog
	for _, s := range t.stores {
		if s.topic == "" {
			continue
		}
		c := Changelog{Store: s.store.Name(), Topic: s.topic, Partition: t.id.Partition, Source: s.input != nil}
		var err error
		if c.Position, c.Known, err = t.tx.Position(c.Store); err != nil {
			return nil, fmt.Errorf("task %s: store %s: position: %w", t.id, c.Store, err)
		}
		logs = append(logs, c)
	}
	return logs, nil
}

// Wipe empties a store, which is then restored from the start of its changelog.
func (t *Task) Wipe(store string) error {
	if err := t.life.in("wipe", Created, Standby, Restoring); err != nil {
		return err
	}
	if err := t.tx.Wipe(store); err != nil {
		return fmt.Errorf("task %s: store %s: wipe: %w", t.id, store, err)
	}
	return nil
}

// Restore puts a batch of a store's changelog into the store: the records from an offset on. Of an input's topic it
// takes what lies before the input's committed offset, and no record that processing would leave out. It returns how
// many records the store has taken.
func (t *Task) Restore(store string, from int64, b batch.Batch) (taken int64, err error) {
	if t.life.state == Created {
		if err := t.life.move(Restoring); err != nil {
			return 0, err
		}
	}
	if err := t.life.in("restore", Restoring, Standby); err != nil {
		return 0, err
	}
	log := t.storeLog(store)
	if log == nil {
		return 0, fmt.Errorf("task %s: store %s: restore: it has no changelog", t.id, store)
	}
	if b.IsControl() {
		return 0, nil
	}
	end := never
	if log.input != nil {
		end = log.input.committed.next
	}
	it, err := b.Records(&t.decoder)
	var r batch.Record
	next := max(from, b.BaseOffset())
	for err == nil && it.Next(&r) && r.Offset < end {
		next = r.Offset + 1
		if r.Offset < from || r.Key == nil { // no store has a row for a null key; a source topic may hold such records
			continue
		}
		row, err := t.restoreRow(log, &r)
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
		return taken, t.passOver(log, next, unreadable(err, b.LastOffset()+1))
	}
	return taken, nil
}

// restoreRow puts one record into the store, if it is a row.
func (t *Task) restoreRow(log *storeLog, r *batch.Record) (row bool, err error) {
	if log.input != nil && !topology.IsTime(r.Timestamp) {
		return false, nil
	}
	if err := log.check(r); err != nil {
		return false, t.passOver(log, r.Offset,
			fmt.Errorf("%w: to go on without it let Errors.Decode be Skip or DeadLetter", err))
	}
	if err = t.tx.Restore(log.store.Name(), r.Key, r.Value, r.Timestamp); err != nil {
		return false, fmt.Errorf("task %s: store %s: restore of topic %s partition %d offset %d: %w", t.id,
			log.store.Name(), log.topic, t.id.Partition, r.Offset, err)
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
func (t *Task) passOver(log *storeLog, offset int64, err error) error {
	pe := &topology.ProcessingError{
		Phase: topology.PhaseDecode, Node: "store " + log.store.Name(), Site: "restore", Timestamp: topology.Unknown,
		Metadata: topology.Metadata{Topic: log.topic, Partition: t.id.Partition, Offset: offset}, Err: err,
	}
	if topology.Broken(err) || t.tx.Failed() != nil {
		return err
	}
	if d, _ := t.resolve(pe); d != topology.Skip && d != topology.DeadLetter {
		return fmt.Errorf("task %s: %w", t.id, pe)
	}
	if t.config.PassedOver != nil {
		t.config.PassedOver(pe)
	}
	return nil
}

// Checkpoint makes what was restored so far, up to position per store, part of the engine. Restored does it, too. A
// position below 0 leaves the old one.
func (t *Task) Checkpoint(position func(store string) int64) error {
	if err := t.tx.RestoreDone(position); err != nil {
		return fmt.Errorf("task %s: restore: %w", t.id, err)
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
	if err := t.Checkpoint(position); err != nil {
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
