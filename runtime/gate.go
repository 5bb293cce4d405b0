package runtime

import (
	"context"
	"sync"
)

// gate keeps the workers from looking up rows of global stores while one of the stores is filled again: rows would be
// missing. A worker is inside while it processes; it comes out with nothing uncommitted.
type gate struct {
	mu     sync.Mutex
	closed int           // stores that are being filled again
	inside int           // workers
	empty  chan struct{} // closed when no worker is inside any more; nil: nothing waits for it
}

// enter tells whether a worker may process.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed > 0 {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

func (g *gate) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed > 0
}

// close lets no worker in any more, and waits until all have come out, or ctx ends.
func (g *gate) close(ctx context.Context) error {
	g.mu.Lock()
	g.closed++
	if g.inside > 0 && g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	if empty == nil {
		return nil
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed--
}

// visit is a worker's at the gate of the global stores.
type visit struct {
	gate   *gate // nil: there are no global stores
	inside bool
}

// enter tells whether the worker may process. While a global store is filled again it may not: it comes out once it has
// committed what it has processed.
func (v *visit) enter(commit func() error) (bool, error) {
	switch {
	case v.gate == nil:
		return true, nil
	case !v.inside:
		v.inside = v.gate.enter()
		return v.inside, nil
	case !v.gate.isClosed():
		return true, nil
	}
	if err := commit(); err != nil {
		return false, err
	}
	v.leave()
	return false, nil
}

func (v *visit) leave() {
	if v.inside {
		v.inside = false
		v.gate.leave()
	}
}
