package task

import (
	"errors"
	"fmt"

	"thalweg/topology"
)

// guarded tells that a policy may drop a record at the node that failed. Then each call of a node is caught by itself,
// which costs time.
func guarded(e topology.Errors) bool {
	drops := func(a topology.Action) bool {
		if r, ok := a.(topology.Retry); ok {
			a = r.Then
		}
		return a == topology.Skip || a == topology.DeadLetter
	}
	return e.Handle != nil || drops(e.Decode) || drops(e.Process) || drops(e.Encode)
}

// resolve is what the user's policy says about a failure.
func (t *Task) resolve(pe *topology.ProcessingError) topology.Decision {
	e := &t.config.Errors
	var action topology.Action
	if e.Handle != nil {
		action = e.Handle(pe)
	}
	if action == nil {
		action = [...]topology.Action{e.Decode, e.Process, e.Encode}[pe.Phase]
	}
	switch a := action.(type) {
	case topology.Decision:
		return a
	case topology.Retry:
		return a.Then
	default:
		return topology.Fail
	}
}

// decide is the policy as nodes ask it: Skip, or Fail. It writes the dead letter of a record that is dropped, and keeps
// that of one that stops the task.
func (t *Task) decide(pe *topology.ProcessingError) topology.Decision {
	switch t.resolve(pe) {
	case topology.Skip:
		return topology.Skip
	case topology.DeadLetter:
		if t.config.Outbox == nil {
			return topology.Skip
		}
		if err := t.letter(pe).Send(t.config.Outbox); err != nil {
			pe.Err = errors.Join(pe.Err, fmt.Errorf("dead letter: %w", err))
			return topology.Fail
		}
		return topology.Skip
	case topology.DeadLetterAndFail:
		t.keepLetter(pe)
	}
	return topology.Fail
}

// stop is the policy for a failure that no node has asked about: it is too late to drop the record alone.
func (t *Task) stop(pe *topology.ProcessingError) topology.Decision {
	if d := t.resolve(pe); d == topology.DeadLetter || d == topology.DeadLetterAndFail {
		t.keepLetter(pe)
	}
	return topology.Fail
}

// keepLetter keeps the dead letter of a failure that stops the task.
func (t *Task) keepLetter(pe *topology.ProcessingError) {
	l := t.letter(pe)
	t.last, t.lastOf = &l, pe
}

// failed notes what made the task stop.
func (t *Task) failed(err error) {
	t.broken = err
	var pe *topology.ProcessingError
	if errors.As(err, &pe) {
		pe.Decide(t.stop)
	}
	if t.lastOf != pe { // of a failure that user code has passed over
		t.last = nil
	}
	t.env.Source = nil
}
