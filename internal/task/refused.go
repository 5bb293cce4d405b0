package task

import (
	"errors"
	"fmt"
	"strings"

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

// strictly makes the task go over its records again, if it did not just do that.
func (t *Task) strictly(err error) error {
	_, refused := errors.AsType[*state.Refusal](err)
	if t.strict || !refused && !isTooLarge(err) {
		return err
	}
	t.setStrict(true)
	return &Replay{Task: t.id, Err: err}
}

// isOfAnother tells whether a failure is that of a record before the one at hand, which going over the records again
// finds.
func (t *Task) isOfAnother(pe *topology.ProcessingError) bool {
	if t.strict {
		return false
	}
	if r, ok := errors.AsType[*state.Refusal](pe.Err); ok {
		return r.Earlier
	}
	return t.flushing && pe.Metadata.Topic == "" && isTooLarge(pe.Err)
}

func isTooLarge(err error) bool {
	_, ok := errors.AsType[*TooLarge](err)
	return ok
}

func (t *Task) setStrict(strict bool) {
	t.strict = strict
	t.tx.Strict(strict || t.kept != nil)
}

// drainStores hands the changes of the stores to their changelogs.
func (t *Task) drainStores() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = t.serdePanicked(v)
		}
	}()
	return t.tx.Drain(t.changelog())
}

// flushStores lets the stores tell what has changed. Where nodes are guarded what panics is no node, but a serde.
func (t *Task) flushStores() (err error) {
	if t.env.Guarded {
		defer func() {
			if v := recover(); v != nil {
				err = t.serdePanicked(v)
			}
		}()
	}
	return t.tx.Flush()
}

// serdePanicked is the error of a panic in a store that encodes, which the deferred function that calls it recovered.
func (t *Task) serdePanicked(v any) error {
	p := topology.NewPanic(v)
	if topology.Broken(p) {
		return fmt.Errorf("%w\n%s", p, p.Stack)
	}
	return &state.Refusal{Err: fmt.Errorf("a store's serde: %w", p), Stack: p.Stack}
}

// refusedBy makes a record that is too large for a changelog the refusal of its row.
func (l *storeLog) refusedBy(err error, key []byte) error {
	large, ok := errors.AsType[*TooLarge](err)
	if !ok {
		return err
	}
	large.Key = nil // which is the row's
	return &state.Refusal{Store: l.store.Name(), Key: append([]byte{}, key...), Large: true, Err: err}
}

// namesTopics adds to the error of what is too large which topics the task writes to: what one of them refuses, a
// changelog or the topic of a result, is often refused by another next.
func (t *Task) namesTopics(err error) error {
	if r, ok := errors.AsType[*state.Refusal](err); (!ok || !r.Large) && !isTooLarge(err) {
		return err
	}
	var topics []string
	for _, s := range t.stores {
		if s.outlet != nil {
			topics = append(topics, s.topic)
		}
	}
	for _, sub := range t.config.Subs {
		for _, out := range sub.Outputs {
			topics = append(topics, out.In(t.config.ApplicationID))
		}
	}
	if len(topics) == 0 {
		return err
	}
	return fmt.Errorf("%w. The task writes to %s: each of them may have to take larger records", err,
		strings.Join(topics, ", "))
}
