package task

import (
	"errors"
	"fmt"

	"thalweg/state"
	"thalweg/topology"
)

// Values of stores are encoded once for all changes between two commits, and tables emit their changes then. So a value
// that its serde refuses, or that is too large for a topic, shows at the commit, when nobody knows which record it is
// from. Then the task goes over the records since the last commit once more, strictly: each value is encoded when it is
// put, and the failure is that of a record at a node, which the policy decides about.

// Replay is the error of a commit that failed for a record which is not known. The driver drops the transaction, as
// after any failure, calls Discard, and goes on at once.
type Replay struct {
	Task ID
	Err  error
}

func (r *Replay) Error() string {
	return fmt.Sprintf("task %s: going over the records since the last commit again, to find the one of this: %v", r.Task,
		r.Err)
}

func (r *Replay) Unwrap() error { return r.Err }

// search is how a task finds the record of what was refused. It ends with the commit of the records that it went over.
type search struct {
	id       ID
	tx       *state.Tx
	always   bool // stores are always strict: a global sub-topology goes back to nothing
	strict   bool // the task goes over its records again
	sealed   bool // strict, as of the commit under way
	flushing bool // a commit is being begun
}

// begin makes the task go over its records again, if it did not just do that: then the error is the record's.
func (s *search) begin(err error) error {
	_, refused := errors.AsType[*state.Refusal](err)
	if s.strict || !refused && !isTooLarge(err) {
		return err
	}
	s.set(true)
	return &Replay{Task: s.id, Err: err}
}

// isOfAnother tells whether a failure is that of a record before the one at hand, which going over the records again
// finds.
func (s *search) isOfAnother(pe *topology.ProcessingError) bool {
	if s.strict {
		return false
	}
	if r, ok := errors.AsType[*state.Refusal](pe.Err); ok {
		return r.Earlier
	}
	return s.flushing && pe.Metadata.Topic == "" && isTooLarge(pe.Err)
}

func isTooLarge(err error) bool {
	_, ok := errors.AsType[*TooLarge](err)
	return ok
}

func (s *search) set(strict bool) {
	s.strict = strict
	s.tx.Strict(strict || s.always)
}

func (s *search) seal() { s.sealed = s.strict }

func (s *search) advance() {
	if s.sealed {
		s.set(false)
	}
	s.sealed = false
}

// discard tells that the commit under way failed.
func (s *search) discard() { s.sealed = false }
