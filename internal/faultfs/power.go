package faultfs

import (
	"math/rand/v2"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// PowerCut takes what a power cut would leave of a file system, just before one of the operations that change it. Of
// what was not synced it leaves a random part.
type PowerCut struct {
	mem    *vfs.MemFS
	done   chan struct{}
	mu     sync.Mutex
	random *rand.Rand
	left   int // operations; below 1 there is no cut
	before func()
	after  *vfs.MemFS
}

// NewPowerCut returns a cut that is not armed. The random source is its own until the cut.
func NewPowerCut(mem *vfs.MemFS, random *rand.Rand) *PowerCut {
	return &PowerCut{mem: mem, random: random, done: make(chan struct{})}
}

// FS is the file system that the cut counts the operations of.
func (p *PowerCut) FS() vfs.FS { return errorfs.Wrap(p.mem, (*powerInjector)(p)) }

// Arm has the power cut at the operation of this number from now on, 1 for the next. before is called at that moment;
// it may be nil.
func (p *PowerCut) Arm(operation int, before func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.before = operation, before
}

// Now cuts the power where that has not happened, and returns what is left.
func (p *PowerCut) Now() *vfs.MemFS {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
	return p.after
}

// Done is closed at the cut.
func (p *PowerCut) Done() <-chan struct{} { return p.done }

// cut is called with mu held.
func (p *PowerCut) cut() {
	if p.after != nil {
		return
	}
	if p.before != nil {
		p.before()
	}
	p.after = p.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: p.random.IntN(101), RNG: p.random})
	close(p.done)
}

// powerInjector is the side of a PowerCut that sees the operations.
type powerInjector PowerCut

func (p *powerInjector) MaybeError(op errorfs.Op) error {
	if !Writes(op.Kind) {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left--; p.left == 0 {
		(*PowerCut)(p).cut()
	}
	return nil
}

func (p *powerInjector) String() string { return "power cut" }
