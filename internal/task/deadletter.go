package task

import (
	"errors"
	"fmt"
	"slices"
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
	headerAttempts   = "__streams.errors.attempts" // ours, where there was more than one
)

// DeadLetter is the record that a failure leaves: key and value as they came from the source topic, so that they
// can be sent again; null where the failure was in no record.
type DeadLetter struct {
	Topic      string // to write it to
	Timestamp  int64
	Key, Value []byte
	Headers    []topology.Header

	partition int32 // the task's
	own       int   // so many headers are the record's own, and come first
}

// cutStackBytes is what is left of the stack of a dead letter that is too large for its topic.
const cutStackBytes = 2 << 10

// Send writes the dead letter to its topic, as part of the transaction that is open. Where it is too large the stack is
// cut, then left out, then the message cut and the record's value left out, at last its key and its own headers: a
// letter that says where the record is, is better than none.
func (l DeadLetter) Send(o *Outbox) error {
	err := l.send(o)
	for _, less := range []func(*DeadLetter){
		func(l *DeadLetter) { l.cut(headerStacktrace, cutStackBytes) },
		func(l *DeadLetter) { l.cut(headerStacktrace, 0) },
		func(l *DeadLetter) { l.cut(headerMessage, cutStackBytes); l.Value = nil },
		func(l *DeadLetter) { l.Key, l.Headers = nil, l.Headers[l.own:] },
	} {
		if !isTooLarge(err) {
			break
		}
		l.Headers = slices.Clone(l.Headers)
		less(&l)
		err = l.send(o)
	}
	return err
}

// cut shortens a header of the failure.
func (l *DeadLetter) cut(key string, bytesMax int) {
	for i := range l.Headers[l.own:] {
		if h := &l.Headers[l.own+i]; h.Key == key && len(h.Value) > bytesMax {
			h.Value = h.Value[:bytesMax]
		}
	}
}

func (l DeadLetter) send(o *Outbox) error {
	if l.Topic == "" {
		return errors.New("no topic is set for it: name it in Errors.DeadLetters")
	}
	out, err := o.Outlet(l.Topic)
	if err != nil {
		return err
	}
	n := out.Partitions()
	p := l.partition % n
	if l.Key != nil {
		p = topology.PartitionFor(l.Key, n)
	}
	return out.Append(p, l.Timestamp, l.Key, l.Value, l.Headers)
}

// letter makes the dead letter of a failure.
func (f *failures) letter(pe *topology.ProcessingError) DeadLetter {
	l := DeadLetter{Topic: f.config.Errors.DeadLetters, Timestamp: pe.Timestamp, partition: f.id.Partition}
	if s := f.env.Source; s != nil {
		l.Key, l.Value = s.Key, s.Value
		if l.Timestamp < 0 {
			l.Timestamp = s.Timestamp
		}
		// Headers that cannot be decoded may be the very failure: the letter goes without them.
		l.Headers, _ = s.Headers(nil)
	}
	if l.Timestamp < 0 {
		l.Timestamp = max(f.env.WallTime, 0)
	}
	l.own = len(l.Headers)
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
	if pe.Attempts > 1 {
		add(headerAttempts, strconv.Itoa(pe.Attempts))
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

// DeadLetter is that of the failure which made the task stop, where the policy asks for one. It is not in the outbox,
// which is discarded with the transaction: the driver sends it after that.
func (t *Task) DeadLetter() (l DeadLetter, ok bool) {
	if t.failures.verdict.letter == nil {
		return DeadLetter{}, false
	}
	return *t.failures.verdict.letter, true
}
