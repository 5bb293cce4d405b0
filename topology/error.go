package topology

import (
	"errors"
	"fmt"

	"thalweg/internal/invariant"
	"thalweg/state"
	"thalweg/state/engine"
)

// Phase is where in a record's way through a task an error arose.
type Phase uint8

// The phases; each can have its own policy.
const (
	PhaseDecode  Phase = iota // a source could not read or decode a record, or find its time
	PhaseProcess              // an operator's or processor's user code failed or panicked
	PhaseEncode               // a sink or a store could not encode, or the record is larger than the topic takes
)

func (p Phase) String() string { return [...]string{"decode", "process", "encode"}[p] }

// ProcessingError is a failure while a record was processed: which node, which record, why.
type ProcessingError struct {
	Phase     Phase
	Node      string
	Site      string   // where the user's program made the node
	Metadata  Metadata // the record of the source topic; Topic is empty in punctuation and flushes
	Timestamp int64    // of the record at the node
	Stack     []byte   // of a panic
	Attempts  int      // how often it was tried, this time included
	Err       error

	decided bool // the policy has answered, or no policy may pass over the failure: it stops the task
}

func (e *ProcessingError) Error() string {
	where := "outside of a record"
	if e.Metadata.Topic != "" {
		where = fmt.Sprintf("topic %s partition %d offset %d", e.Metadata.Topic, e.Metadata.Partition, e.Metadata.Offset)
	}
	if e.Attempts > 1 {
		where += fmt.Sprintf(", after %d attempts", e.Attempts)
	}
	return fmt.Sprintf("%s: node %s (%s): %s: %v", e.Phase, e.Node, e.Site, where, e.Err)
}

func (e *ProcessingError) Unwrap() error { return e.Err }

// Error makes err this node's failure with the record at hand. An error that is a ProcessingError already, of a
// node downstream, stays as it is.
func (in *Instance) Error(phase Phase, timestamp int64, err error) error {
	if err == nil {
		return nil
	}
	if Broken(err) {
		return err
	}
	var pe *ProcessingError
	if errors.As(err, &pe) {
		return err
	}
	return in.processingError(phase, timestamp, err)
}

// Fail is Error for a failure that no policy may pass over, such as a store's: it always stops the task. A value that a
// store refuses is the record's failure, though.
func (in *Instance) Fail(timestamp int64, err error) error {
	if err == nil || Broken(err) {
		return err
	}
	var pe *ProcessingError
	if errors.As(err, &pe) {
		return err
	}
	pe = in.processingError(PhaseProcess, timestamp, err)
	pe.decided = pe.Phase != PhaseEncode
	return pe
}

// Broken tells whether an error is none of a record: the state engine failed, or this framework did. No policy may pass
// over it, and it is not reported as a record's failure.
func Broken(err error) bool {
	if err == nil {
		return false
	}
	if _, ok := errors.AsType[*invariant.Broken](err); ok {
		return true
	}
	p, ok := errors.AsType[*Panic](err)
	return ok && p.house || engine.IsFailure(err)
}

func (in *Instance) processingError(phase Phase, timestamp int64, err error) *ProcessingError {
	pe := &ProcessingError{
		Phase: phase, Node: in.Node.Name, Site: in.Node.Site, Timestamp: timestamp, Err: err,
	}
	if s := in.Env.Source; s != nil {
		pe.Metadata = s.Metadata()
	}
	if p := (*Panic)(nil); errors.As(err, &p) {
		pe.Stack = p.Stack
	}
	if r := (*state.Refusal)(nil); errors.As(err, &r) {
		pe.Phase = PhaseEncode
		if r.Stack != nil {
			pe.Stack = r.Stack
		}
	}
	return pe
}

// panicked makes a panic of the node's user code its failure.
func (in *Instance) panicked(timestamp int64, p *Panic) error {
	if Broken(p) {
		return fmt.Errorf("node %s: %w\n%s", in.Node.Name, p, p.Stack)
	}
	return in.processingError(in.phase, timestamp, p)
}

// Recovered makes the value that recover returned the failure of the node whose user code ran. The deferred function
// that has recovered calls it.
func (e *Env) Recovered(value any) error {
	p := NewPanic(value)
	in := e.Current()
	if in == nil {
		return fmt.Errorf("task %d_%d: %w\n%s", e.Subtopology, e.Partition, p, p.Stack)
	}
	return in.panicked(e.StreamTime, p)
}

// Handle asks the policy what becomes of the failure: nil means the record is dropped here and counted.
func (in *Instance) Handle(phase Phase, timestamp int64, err error) error {
	err = in.Error(phase, timestamp, err)
	var pe *ProcessingError
	if err == nil || !errors.As(err, &pe) {
		return err
	}
	return in.settle(pe)
}

// handlePanic is Handle for what the deferred function that calls it has recovered.
func (in *Instance) handlePanic(timestamp int64, value any) error {
	err := in.panicked(timestamp, NewPanic(value))
	if pe, ok := errors.AsType[*ProcessingError](err); ok {
		return in.settle(pe)
	}
	return err
}

// Catch makes an error of a panic of f.
func Catch(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = NewPanic(v)
		}
	}()
	return f()
}

// guard runs one call of the node's port. What goes wrong in a node downstream was settled by that node's guard,
// so an error that is not one already is this node's own.
func (in *Instance) guard(timestamp int64, call func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			in.Resume()
			err = in.handlePanic(timestamp, v)
		}
	}()
	if err = call(); err == nil {
		return nil
	}
	return in.settleOwn(timestamp, err)
}

// settleOwn settles a failure unless it is another node's. It is apart from guard, since its variables would be
// allocated there for each record.
func (in *Instance) settleOwn(timestamp int64, err error) error {
	var pe *ProcessingError
	if Broken(err) || errors.As(err, &pe) && pe.Node != in.Node.Name {
		return err
	}
	if pe == nil {
		pe = in.processingError(PhaseProcess, timestamp, err)
	}
	return in.settle(pe)
}

// Decide asks the policy once. The failure that it answers Fail to, and one that no policy may pass over, stays a Fail
// a caller that asks again.
func (e *ProcessingError) Decide(policy func(*ProcessingError) Decision) Decision {
	if e.decided || policy == nil {
		return Fail
	}
	e.decided = true
	return policy(e)
}

// settle drops the record here, counted, where the policy says so.
func (in *Instance) settle(pe *ProcessingError) error {
	if pe.Decide(in.Env.OnError) != Skip {
		return pe
	}
	in.Drop(Skipped)
	return nil
}

// Attempt runs user code whose failure is not that of the whole record at hand, but of one of the rows of a change.
// Where the policy goes on, what call was for is left out, counted: done is false.
func (in *Instance) Attempt(timestamp int64, call func() error) (done bool, err error) {
	if !in.Env.Guarded {
		err = call()
		return err == nil, in.Error(PhaseProcess, timestamp, err)
	}
	err = in.guard(timestamp, func() error {
		err := call()
		done = err == nil
		return err
	})
	return done, err
}

// AttemptWaited is Attempt for a record that has waited, and that the one at hand lets go. Its failure has no source
// record: a dead letter of the one at hand would have it processed twice.
func (in *Instance) AttemptWaited(timestamp int64, call func() error) (done bool, err error) {
	if !in.Env.Guarded {
		return in.Attempt(timestamp, call)
	}
	source := in.Env.Source
	in.Env.Source = nil
	if done, err = in.Attempt(timestamp, call); err == nil {
		in.Env.Source = source
	}
	return done, err
}
