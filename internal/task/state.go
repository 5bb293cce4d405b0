package task

import "fmt"

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

// move changes the state, or says which move is illegal.
func (t *Task) move(to State) error {
	for _, legal := range moves[t.state] {
		if legal == to {
			t.state = to
			return nil
		}
	}
	return fmt.Errorf("task %s: cannot become %s while %s", t.id, to, t.state)
}

// in refuses a call that is meant for other states.
func (t *Task) in(call string, states ...State) error {
	for _, s := range states {
		if t.state == s {
			return nil
		}
	}
	return fmt.Errorf("task %s: %s: not while %s", t.id, call, t.state)
}
