package task

import (
	"errors"
	"fmt"

	"thalweg/topology"
)

// guarded reports whether a policy may drop a record at the node that failed. Then a panic of each call of a node is
// caught by itself, which costs time.
func guarded(e topology.Errors) bool {
	drops := func(a topology.Action) bool {
		if r, ok := a.(topology.Retry); ok {
			a = r.Then
		}
		return a == topology.Skip || a == topology.DeadLetter
	}
	return e.Handle != nil || drops(e.Decode) || drops(e.Process) || drops(e.Encode)
}

// verdict is what else the policy wants of a failure that stops the task.
type verdict struct {
	of     *topology.ProcessingError
	letter *DeadLetter // nil: none
	again  *Blocked    // nil: it is not processed again
}

// resolve is what the user's policy says about a failure. Where again is set, the record is to be processed again.
func (t *Task) resolve(pe *topology.ProcessingError) (d topology.Decision, again *Blocked) {
	pe.Attempts = t.Retries.attempt(pe.Metadata)
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
		return a, nil
	case topology.Retry:
		return a.Then, t.Retries.again(pe, a)
	default:
		return topology.Fail, nil
	}
}

// decide is the policy as nodes ask it: Skip, or Fail. It writes the dead letter of a record that is dropped.
func (t *Task) decide(pe *topology.ProcessingError) topology.Decision {
	if t.tx.Failed() != nil || t.isOfAnother(pe) { // the record at hand is not to blame
		return topology.Fail
	}
	d, again := t.resolve(pe)
	if again != nil {
		t.verdict = verdict{of: pe, again: again}
		return topology.Fail
	}
	switch d {
	case topology.Skip, topology.DeadLetter:
		if d == topology.DeadLetter && t.config.Outbox != nil {
			if err := t.letter(pe).Send(t.config.Outbox); err != nil {
				pe.Err = errors.Join(pe.Err, fmt.Errorf("dead letter: %w", err))
				return topology.Fail
			}
		}
		if pe.Attempts > 1 && t.config.GaveUp != nil {
			t.config.GaveUp(pe, d)
		} else if d == topology.Skip && pe.Phase == topology.PhaseEncode && t.config.Dropped != nil {
			t.config.Dropped(pe)
		}
		return topology.Skip
	case topology.DeadLetterAndFail:
		t.keepLetter(pe)
	}
	return topology.Fail
}

// stop is the policy for a failure that no node has asked about: it is too late to drop the record alone.
func (t *Task) stop(pe *topology.ProcessingError) topology.Decision {
	if t.isOfAnother(pe) {
		return topology.Fail
	}
	d, again := t.resolve(pe)
	if again != nil {
		t.verdict = verdict{of: pe, again: again}
	} else if d == topology.DeadLetter || d == topology.DeadLetterAndFail {
		t.keepLetter(pe)
	}
	return topology.Fail
}

// keepLetter keeps the dead letter of a failure that stops the task.
func (t *Task) keepLetter(pe *topology.ProcessingError) {
	l := t.letter(pe)
	t.verdict = verdict{of: pe, letter: &l}
}

// failed notes what made the task stop, and returns it: a [Blocked] where the record is to be processed again.
func (t *Task) failed(err error) error {
	if failure := t.tx.Failed(); failure != nil && !topology.Broken(err) {
		err = fmt.Errorf("task %s: %w (noticed by: %w)", t.id, failure, err)
	}
	if _, again := errors.AsType[*Replay](err); again || topology.Broken(err) {
		t.life.broken, t.verdict, t.env.Source = err, verdict{}, nil
		return err
	}
	var pe *topology.ProcessingError
	if errors.As(err, &pe) {
		if t.isOfAnother(pe) {
			return t.failed(t.strictly(err))
		}
		pe.Decide(t.stop)
	}
	if pe != nil && pe.Phase == topology.PhaseDecode && t.config.Errors.Decode == nil && t.config.Errors.Handle == nil {
		err = fmt.Errorf("%w: correct what writes the topic, or say with Config.Errors.Decode that such records are passed "+
			"over (topology.Skip or topology.DeadLetter)", err)
	}
	err = t.namesTopics(err)
	if t.verdict.of != pe { // the verdict on a failure that user code has passed over
		t.verdict = verdict{}
	}
	if b := t.verdict.again; b != nil {
		b.Err = err
		t.Retries.block(b)
		err = b
	}
	t.life.broken = err
	t.env.Source = nil
	return err
}
