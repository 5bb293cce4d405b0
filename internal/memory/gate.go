package memory

import (
	"context"
	"slices"
	"sync"
)

// keptParts is the part of a gate's memory that may be kept for later use.
const keptParts = 4

// Gate is memory that its holders wait for, in their order, so that small ones do not starve a large one. A holder must
// not wait for another that waits here. A Gate is safe for concurrent use.
type Gate struct {
	share *Share
	most  func() int64
	stop  func()

	mu      sync.Mutex
	held    int64
	kept    int64
	waiting []*waiter
}

// NewGate returns a gate to as much of a share as most says. Close it when nothing is held any more.
func NewGate(share *Share, most func() int64) *Gate {
	g := &Gate{share: share, most: most}
	g.stop = share.OnResize(func(int64) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.admit()
	})
	return g
}

// Close stops following the size of the share.
func (g *Gate) Close() { g.stop() }

type waiter struct {
	bytes int64
	admit chan struct{}
}

// Enter waits until there is memory for so many bytes, which Leave gives back. More than BytesMax passes when nobody
// else holds any. It fails with ctx's error when ctx ends first.
func (g *Gate) Enter(ctx context.Context, bytes int64) error {
	g.mu.Lock()
	if len(g.waiting) == 0 && g.fits(bytes) {
		g.hold(bytes)
		g.mu.Unlock()
		return nil
	}
	w := &waiter{bytes: bytes, admit: make(chan struct{})}
	g.waiting = append(g.waiting, w)
	g.mu.Unlock()
	select {
	case <-w.admit:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, w); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	} else {
		g.hold(-bytes)
	}
	g.admit()
	return ctx.Err()
}

// Leave gives back what Enter took, or a part of it.
func (g *Gate) Leave(bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold(-bytes)
	g.admit()
}

// Adjust notes that a holder has so many bytes more than it entered with, or less where bytes is negative.
func (g *Gate) Adjust(bytes int64) { g.Leave(-bytes) }

// BytesMax is how much all holders may hold together.
func (g *Gate) BytesMax() int64 { return g.most() }

// Waited reports whether anybody waits.
func (g *Gate) Waited() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting) > 0
}

func (g *Gate) hold(bytes int64) {
	g.held += bytes
	g.share.Use(bytes)
}

func (g *Gate) fits(bytes int64) bool { return g.held == 0 || g.held+g.kept+bytes <= g.most() }

// admit lets those who wait enter, in their order, as far as there is memory.
func (g *Gate) admit() {
	for len(g.waiting) > 0 && g.fits(g.waiting[0].bytes) {
		w := g.waiting[0]
		g.waiting = slices.Delete(g.waiting, 0, 1)
		g.hold(w.bytes)
		close(w.admit)
	}
}

// Keep tells whether a buffer of so many bytes may be kept for later use: within a quarter of all, and beside what is
// held. Drop undoes it.
func (g *Gate) Keep(bytes int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	most := g.most()
	if g.kept+bytes > most/keptParts || g.held+g.kept+bytes > most {
		return false
	}
	g.kept += bytes
	g.share.Use(bytes)
	return true
}

// Drop gives back what Keep took.
func (g *Gate) Drop(bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kept -= bytes
	g.share.Use(-bytes)
	g.admit()
}
