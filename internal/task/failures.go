package task

import (
	"errors"
	"fmt"
	"strings"

	"thalweg/state"
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

// failures are what went wrong in a task, and what the program's policy says about it.
type failures struct {
	id      ID
	config  *Config
	env     *topology.Env
	tx      *state.Tx
	retries *Retries
	search  *search
	topics  []string // that the task writes to
	verdict verdict  // on the failure that stopped the task
}

// verdict is what else the policy wants of a failure that stops the task.
type verdict struct {
	of     *topology.ProcessingError
	letter *DeadLetter // nil: none
	again  *Blocked    // nil: it is not processed again
}

// resolve is what the user's policy says about a failure. Where again is set, the record is to be processed again.
func (f *failures) resolve(pe *topology.ProcessingError) (d topology.Decision, again *Blocked) {
	pe.Attempts = f.retries.attempt(pe.Metadata)
	e := &f.config.Errors
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
		return a.Then, f.retries.again(pe, a)
	default:
		return topology.Fail, nil
	}
}

// decide is the policy as nodes ask it: Skip, or Fail. It writes the dead letter of a record that is dropped.
func (f *failures) decide(pe *topology.ProcessingError) topology.Decision {
	if f.tx.Failed() != nil || f.search.isOfAnother(pe) { // the record at hand is not to blame
		return topology.Fail
	}
	d, again := f.resolve(pe)
	if again != nil {
		f.verdict = verdict{of: pe, again: again}
		return topology.Fail
	}
	switch d {
	case topology.Skip, topology.DeadLetter:
		if d == topology.DeadLetter && f.config.Outbox != nil {
			if err := f.letter(pe).Send(f.config.Outbox); err != nil {
				pe.Err = errors.Join(pe.Err, fmt.Errorf("dead letter: %w", err))
				return topology.Fail
			}
		}
		if pe.Attempts > 1 && f.config.GaveUp != nil {
			f.config.GaveUp(pe, d)
		} else if d == topology.Skip && pe.Phase == topology.PhaseEncode && f.config.Dropped != nil {
			f.config.Dropped(pe)
		}
		return topology.Skip
	case topology.DeadLetterAndFail:
		f.keepLetter(pe)
	}
	return topology.Fail
}

// stop is the policy for a failure that no node has asked about: it is too late to drop the record alone.
func (f *failures) stop(pe *topology.ProcessingError) topology.Decision {
	if f.search.isOfAnother(pe) {
		return topology.Fail
	}
	d, again := f.resolve(pe)
	if again != nil {
		f.verdict = verdict{of: pe, again: again}
	} else if d == topology.DeadLetter || d == topology.DeadLetterAndFail {
		f.keepLetter(pe)
	}
	return topology.Fail
}

// keepLetter keeps the dead letter of a failure that stops the task.
func (f *failures) keepLetter(pe *topology.ProcessingError) {
	l := f.letter(pe)
	f.verdict = verdict{of: pe, letter: &l}
}

// stopsFor notes what made the task stop, and returns it: a [Blocked] where the record is to be processed again.
func (f *failures) stopsFor(err error) error {
	if failure := f.tx.Failed(); failure != nil && !topology.Broken(err) {
		err = fmt.Errorf("task %s: %w (noticed by: %w)", f.id, failure, err)
	}
	if _, again := errors.AsType[*Replay](err); again || topology.Broken(err) {
		f.verdict = verdict{}
		return err
	}
	var pe *topology.ProcessingError
	if errors.As(err, &pe) {
		if f.search.isOfAnother(pe) {
			return f.stopsFor(f.search.begin(err))
		}
		pe.Decide(f.stop)
	}
	e := &f.config.Errors
	if pe != nil && pe.Phase == topology.PhaseDecode && e.Decode == nil && e.Handle == nil {
		err = fmt.Errorf("%w: correct what writes the topic, or say with Config.Errors.Decode that such records are passed "+
			"over (topology.Skip or topology.DeadLetter)", err)
	}
	err = f.namesTopics(err)
	if f.verdict.of != pe { // the verdict on a failure that user code has passed over
		f.verdict = verdict{}
	}
	if b := f.verdict.again; b != nil {
		b.Err = err
		f.retries.block(b)
		return b
	}
	return err
}

// namesTopics adds to the error of what is too large which topics the task writes to: what one of them refuses, a
// changelog or the topic of a result, is often refused by another next.
func (f *failures) namesTopics(err error) error {
	if r, ok := errors.AsType[*state.Refusal](err); (!ok || !r.Large) && !isTooLarge(err) || len(f.topics) == 0 {
		return err
	}
	return fmt.Errorf("%w. The task writes to %s: each of them may have to take larger records", err,
		strings.Join(f.topics, ", "))
}

// discard tells that the task goes back to where it was before the failure.
func (f *failures) discard() { f.verdict = verdict{} }
