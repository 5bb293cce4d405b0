package streamtest

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/topology"
)

// fail drops the transaction. A record that is to be retried waits, and the error is dealt with; any other error stops
// the application. Its dead letter is written after the transaction.
func (d *Driver) fail(err error) error {
	located := d.located(err)
	d.pending = 0
	if e := d.abort(); e != nil {
		d.t.Logf("streamtest: abort: %v", e)
	}
	for _, r := range d.all() {
		l, ok := r.DeadLetter()
		if e := r.Discard(); e != nil {
			d.t.Logf("streamtest: discard: %v", e)
			continue
		}
		r.rewind()
		if !ok {
			continue
		}
		if e := errors.Join(l.Send(d.outbox), d.write()); e != nil {
			d.t.Logf("streamtest: dead letter: %v", e)
		}
	}
	if blocked := (*task.Blocked)(nil); errors.As(err, &blocked) {
		return nil
	}
	if replay := (*task.Replay)(nil); errors.As(err, &replay) {
		return nil
	}
	d.failed = located
	return located
}

// stopped is the error of everything that a stopped application is asked to do.
func (d *Driver) stopped() error { return fmt.Errorf("the application has stopped: %w", d.failed) }

// sent is a record of an input.
type sent struct {
	topic string
	Written
}

// located says which record of an input an error comes from, as far as that is known.
func (d *Driver) located(err error) error {
	var pe *topology.ProcessingError
	if errors.As(err, &pe) {
		if l := d.topics[pe.Metadata.Topic]; l != nil && d.formats[pe.Metadata.Topic] != nil {
			for _, w := range l.records {
				if w.Partition == pe.Metadata.Partition && w.Offset == pe.Metadata.Offset {
					return fmt.Errorf("input record %s: %w", d.formats[l.name](w), err)
				}
			}
		}
	}
	if len(d.sent) == 1 {
		s := d.sent[0]
		return fmt.Errorf("what follows from input record %s of topic %s: %w", d.formats[s.topic](s.Written), s.topic, err)
	}
	return err
}

// abort empties the outbox, and keeps what was in it for a test to look at.
func (d *Driver) abort() error {
	d.aborted = map[string][]Written{}
	for _, p := range d.outbox.Take() {
		raw, err := p.Builder.Finish(batch.NoProducer())
		if err != nil {
			return err
		}
		log := topicLog{name: p.Topic, partitions: make([]partitionLog, p.Partition+1)}
		if err := log.append(p.Partition, slices.Clone(raw)); err != nil {
			return err
		}
		d.aborted[p.Topic] = append(d.aborted[p.Topic], log.records...)
		d.outbox.Recycle(p)
	}
	return nil
}

// Aborted are the records that the transaction which failed had written to a topic: nobody reads them. Offsets count
// from 0.
func (d *Driver) Aborted(topic string) []Written { return slices.Clone(d.aborted[topic]) }

// AbortedTopics are the topics that the failed transaction had written to, sorted.
func (d *Driver) AbortedTopics() []string { return slices.Sorted(maps.Keys(d.aborted)) }
