package task

import (
	"errors"
	"fmt"
)

// State is where a task is in its life.
type State uint8

// The states of a task.
const (
	Created   State = iota // made; nothing restored
	Standby                // its changelogs are followed, for another worker's task
	Restoring              // its changelogs are read up to a known end
	Running                // its graph is built: it takes records
	Suspended              // committed, and its partitions revoked; stores and graph are kept
	Closed
	states
)

func (s State) String() string {
	return [...]string{"created", "standby", "restoring", "running", "suspended", "closed"}[s]
}

// moves are the legal ones.
var moves = [states][]State{
	Created:   {Standby, Restoring, Closed},
	Standby:   {Restoring, Closed},
	Restoring: {Standby, Running, Closed},
	Running:   {Suspended, Closed},
	Suspended: {Running, Restoring, Standby, Closed},
	Closed:    {Closed},
}

// life is where a task is in its life, and so what may be called.
type life struct {
	id     ID
	state  State
	broken error // the error after which only Discard and Close are legal
}

// move changes the state, or says which move is illegal.
func (l *life) move(to State) error {
	for _, legal := range moves[l.state] {
		if legal == to {
			l.state = to
			return nil
		}
	}
	return fmt.Errorf("task %s: cannot become %s while %s", l.id, to, l.state)
}

// in refuses a call that is meant for other states.
func (l *life) in(call string, states ...State) error {
	for _, s := range states {
		if l.state == s {
			return nil
		}
	}
	return fmt.Errorf("task %s: %s: not while %s", l.id, call, l.state)
}

// ready refuses work when the task does not run, or has failed and was not rewound.
func (l *life) ready(call string) error {
	if err := l.in(call, Running); err != nil {
		return err
	}
	if l.broken != nil {
		cause := errors.Unwrap(l.broken)
		if cause == nil {
			cause = l.broken
		}
		return fmt.Errorf("task %s: %s: discard first, after: %w", l.id, call, cause)
	}
	return nil
}
