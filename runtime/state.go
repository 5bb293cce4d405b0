package runtime

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"thalweg/internal/invariant"
)

// State is where an application is in its life.
type State uint8

// The states of an application.
const (
	Created     State = iota // New was called, Run was not
	Rebalancing              // tasks are being handed out or restored
	Running                  // every task of this process is processed
	Closing                  // Run's context ended or Close was called: the last commit is under way
	Closed                   // stopped, all is committed
	Failed                   // stopped by an error, which Run returned
)

func (s State) String() string {
	return [...]string{"created", "rebalancing", "running", "closing", "closed", "failed"}[s]
}

// moves are the legal ones; all others are bugs.
var moves = map[State][]State{
	Created:     {Rebalancing, Closed, Failed},
	Rebalancing: {Running, Closing, Failed},
	Running:     {Rebalancing, Closing, Failed},
	Closing:     {Closed, Failed},
}

// Terminal tells that a state is never left.
func (s State) Terminal() bool { return s == Closed || s == Failed }

// machine is an application's state, with those who wait for it.
type machine struct {
	mu      sync.Mutex
	state   State
	changed chan struct{} // closed and replaced with each move
	notify  func(from, to State)
}

func newMachine(notify func(from, to State)) *machine {
	return &machine{changed: make(chan struct{}), notify: notify}
}

func (m *machine) get() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// move goes to a state. A move to where it is already does nothing; an illegal one is refused. It needs the mutex.
func (m *machine) move(to State) error {
	from := m.state
	if from == to {
		return nil
	}
	if !slices.Contains(moves[from], to) {
		return fmt.Errorf("application: from state %s there is no way to %s", from, to)
	}
	m.state = to
	close(m.changed)
	m.changed = make(chan struct{})
	m.notify(from, to) // queues: hooks run on a goroutine of their own
	return nil
}

// must is move where the caller has made sure that the move is legal.
func (m *machine) must(to State) {
	if err := m.move(to); err != nil {
		invariant.Never("%v", err)
	}
}

// begin starts the application, once.
func (m *machine) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != Created {
		return fmt.Errorf("application: is %s: it can be run once; make another with New", m.state)
	}
	return m.move(Rebalancing)
}

// rest goes to one of the two states in which the application works, unless it is on its way out.
func (m *machine) rest(to State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == Rebalancing || m.state == Running {
		m.must(to)
	}
}

// closing begins the way out, if it has not begun.
func (m *machine) closing() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == Rebalancing || m.state == Running {
		m.must(Closing)
	}
}

// end is the last move.
func (m *machine) end(to State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.move(to)
}

// closeUnstarted closes an application that was never run.
func (m *machine) closeUnstarted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != Created {
		return false
	}
	return m.move(Closed) == nil
}

// wait returns when the state is want, or with an error when it can't become so any more.
func (m *machine) wait(ctx context.Context, want State) error {
	for {
		m.mu.Lock()
		state, changed := m.state, m.changed
		m.mu.Unlock()
		switch {
		case state == want:
			return nil
		case state.Terminal():
			return fmt.Errorf("application: is %s, it won't be %s any more", state, want)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("application: is %s, waited for %s: %w", state, want, context.Cause(ctx))
		}
	}
}
