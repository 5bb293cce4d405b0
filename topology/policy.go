package topology

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Errors says what happens to records that fail, by phase. The zero value stops the application at the first failure.
type Errors struct {
	Decode  Action // a serde refused a key or a value, or a batch can't be read; nil: [Fail]
	Process Action // user code returned an error or panicked; nil: [Fail]
	Encode  Action // a serde, a store's too, refused a result, or it is too large for its topic; nil: [Fail]

	// Handle, where set, is asked first, once per failure. Nil leaves the decision to the phase's action. Each worker
	// calls it on its own goroutine.
	Handle func(*ProcessingError) Action

	// DeadLetters names the topic that [DeadLetter] and [DeadLetterAndFail] write to.
	DeadLetters string
}

// Action is what a policy answers: a [Decision] or a [Retry].
type Action interface{ action() }

// Decision is the fate of a record that failed.
type Decision uint8

// The decisions. A dead letter is the source record with headers that describe the failure. DeadLetter writes it in
// the transaction of the records around it, DeadLetterAndFail in a transaction of its own.
const (
	Fail              Decision = iota // stop: the transaction is dropped and the application ends with the error
	Skip                              // drop the record at the node that failed, and count it
	DeadLetter                        // as Skip, with a dead letter
	DeadLetterAndFail                 // as Fail, with a dead letter
)

func (Decision) action() {}

func (d Decision) String() string {
	if d > DeadLetterAndFail {
		return fmt.Sprintf("decision %d", uint8(d))
	}
	return [...]string{"fail", "skip", "dead letter", "dead letter and fail"}[d]
}

// Retry processes a record again after a pause, which doubles with each failure. All effects of the failed attempt are
// rolled back. Meanwhile the record's partition waits; all other partitions continue. A crash or a rebalance starts
// the attempts again. Retry is for the phase Process alone.
//
// A failure without a source record, in punctuation or at a commit, lets all inputs of the task wait. In a global store
// Then applies at once.
type Retry struct {
	First    time.Duration // the pause after the first failure; 0: 100 ms
	Max      time.Duration // the longest pause; 0: 30 s
	Attempts int           // how often the record is processed in all, the first time included; 0: 10
	Then     Decision      // what happens when the last attempt has failed, too
}

func (Retry) action() {}

// The defaults of [Retry].
const (
	retryFirst    = 100 * time.Millisecond
	retryMax      = 30 * time.Second
	retryAttempts = 10
)

// WithDefaults fills in the fields that are 0.
func (r Retry) WithDefaults() Retry {
	if r.First == 0 {
		r.First = retryFirst
	}
	if r.Max == 0 {
		r.Max = retryMax
	}
	if r.Attempts == 0 {
		r.Attempts = retryAttempts
	}
	return r
}

// Check reports all settings that make no sense.
func (e Errors) Check() error {
	var errs []error
	letters := e.Handle != nil
	for _, p := range []struct {
		name   string
		action Action
	}{{"Decode", e.Decode}, {"Process", e.Process}, {"Encode", e.Encode}} {
		decision, err := checkAction(p.action, p.name == "Process")
		if err != nil {
			errs = append(errs, fmt.Errorf("policy Errors.%s: %w", p.name, err))
		}
		if decision != DeadLetter && decision != DeadLetterAndFail {
			continue
		}
		letters = true
		if e.DeadLetters == "" {
			errs = append(errs, fmt.Errorf("policy Errors.%s is %q and no topic is set: name it in Errors.DeadLetters",
				p.name, decision))
		}
	}
	if e.DeadLetters != "" {
		if err := CheckTopicName(e.DeadLetters); err != nil {
			errs = append(errs, fmt.Errorf("Errors.DeadLetters: %w", err))
		}
	}
	if e.DeadLetters != "" && !letters {
		errs = append(errs, fmt.Errorf("Errors.DeadLetters is %q and no phase writes to it: set Decode, Process or Encode "+
			"to DeadLetter or DeadLetterAndFail, or leave DeadLetters empty", e.DeadLetters))
	}
	return errors.Join(errs...)
}

// CheckFor reports a dead-letter topic that the application reads: a dead letter that fails would become the next one,
// without end.
func (e Errors) CheckFor(t *Topology, applicationID string) error {
	for _, s := range slices.Concat(t.subs, t.globals) {
		for _, in := range s.Inputs {
			if e.DeadLetters != "" && in.In(applicationID) == e.DeadLetters {
				return fmt.Errorf("Errors.DeadLetters is %q, which the application reads itself (%s): a dead letter that fails "+
					"again would be written again, without end: name another topic, and read that with another application",
					e.DeadLetters, s.site(in))
			}
		}
	}
	return nil
}

// checkAction returns the decision that an action ends with.
func checkAction(a Action, mayRetry bool) (Decision, error) {
	switch a := a.(type) {
	case nil:
		return Fail, nil
	case Decision:
		return a, a.check()
	case Retry:
		r := a.WithDefaults()
		switch {
		case !mayRetry:
			return r.Then, errors.New("the same bytes give the same error each time: Retry is for Process alone")
		case r.Attempts < 1:
			return r.Then, fmt.Errorf("Retry.Attempts is %d, must be at least 1", r.Attempts)
		case r.First < time.Millisecond:
			return r.Then, fmt.Errorf("Retry.First is %v, must be at least 1ms", r.First)
		case r.First > r.Max:
			return r.Then, fmt.Errorf("Retry.First %v is above Retry.Max %v", r.First, r.Max)
		}
		return r.Then, r.Then.check()
	default:
		return Fail, fmt.Errorf("unknown action %T: pass a Decision or a Retry by value", a)
	}
}

func (d Decision) check() error {
	if d > DeadLetterAndFail {
		return fmt.Errorf("unknown %s", d)
	}
	return nil
}
