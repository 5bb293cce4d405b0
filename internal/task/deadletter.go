package task

import (
	"errors"
	"fmt"
	"strconv"

	"thalweg/topology"
)

// The headers of a dead letter are those of Kafka Streams; values are text.
const (
	headerException  = "__streams.errors.exception"
	headerMessage    = "__streams.errors.message"
	headerStacktrace = "__streams.errors.stacktrace"
	headerTopic      = "__streams.errors.topic"
	headerPartition  = "__streams.errors.partition"
	headerOffset     = "__streams.errors.offset"
)

// DeadLetter is the record that a failure leaves: key and value as they came from the source topic, so that they
// can be sent again; null where the failure was in no record.
type DeadLetter struct {
	Timestamp  int64
	Key, Value []byte
	Headers    []topology.Header
}

// decide is the task's error policy: the user's, with a dead letter for what is skipped.
func (t *Task) decide(pe *topology.ProcessingError) topology.Action {
	action := topology.Fail
	if t.config.OnError != nil {
		action = t.config.OnError(pe)
	}
	if action != topology.Skip || t.config.DeadLetters == "" {
		return action
	}
	if err := t.bury(t.letter(pe)); err != nil {
		pe.Err = errors.Join(pe.Err, fmt.Errorf("dead letter: %w", err))
		return topology.Fail
	}
	return topology.Skip
}

// bury writes a dead letter with the task's other output.
func (t *Task) bury(l DeadLetter) error {
	out, err := t.config.Outbox.Outlet(t.config.DeadLetters)
	if err != nil {
		return err
	}
	n := out.Partitions()
	p := t.id.Partition % n
	if l.Key != nil {
		p = topology.PartitionFor(l.Key, n)
	}
	return out.Append(p, l.Timestamp, l.Key, l.Value, l.Headers)
}

func (t *Task) letter(pe *topology.ProcessingError) DeadLetter {
	l := DeadLetter{Timestamp: pe.Timestamp}
	if s := t.env.Source; s != nil {
		l.Key, l.Value = s.Key, s.Value
		if l.Timestamp < 0 {
			l.Timestamp = s.Timestamp
		}
		// Headers that cannot be decoded may be the very failure: the letter goes without them.
		l.Headers, _ = s.Headers(nil)
	}
	if l.Timestamp < 0 {
		l.Timestamp = max(t.env.WallTime, 0)
	}
	kind, message := describe(pe.Err)
	trace := fmt.Sprintf("%s: node %s (%s)\n%s", pe.Phase, pe.Node, pe.Site, pe.Stack)
	add := func(key, value string) {
		l.Headers = append(l.Headers, topology.Header{Key: key, Value: []byte(value)})
	}
	add(headerException, kind)
	add(headerMessage, message)
	add(headerStacktrace, trace)
	if m := pe.Metadata; m.Topic != "" {
		add(headerTopic, m.Topic)
		add(headerPartition, strconv.Itoa(int(m.Partition)))
		add(headerOffset, strconv.FormatInt(m.Offset, 10))
	}
	return l
}

// describe says an error's type and message; a panic's are those of its value.
func describe(err error) (kind, message string) {
	var p *topology.Panic
	if errors.As(err, &p) {
		return fmt.Sprintf("%T", p.Value), fmt.Sprint(p.Value)
	}
	return fmt.Sprintf("%T", err), err.Error()
}

// failed notes what made the task stop.
func (t *Task) failed(err error) {
	t.broken = err
	var pe *topology.ProcessingError
	if t.config.DeadLetters != "" && errors.As(err, &pe) {
		l := t.letter(pe)
		t.last = &l
	}
	t.env.Source = nil
}

// DeadLetter is the one of the failure that made the task stop, for [Config.DeadLetters]. It is not in the outbox,
// which is discarded with the transaction: the driver writes it after that.
func (t *Task) DeadLetter() (l DeadLetter, ok bool) {
	if t.last == nil {
		return DeadLetter{}, false
	}
	return *t.last, true
}
