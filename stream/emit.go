package stream

import "thalweg/stream/internal/op"

// Emit says when an operator that keeps rows emits its results.
type Emit uint8

// The emit policies.
const (
	byDefault Emit = iota // as Builder.Emit says, then as the run of the topology does

	// OnCommit emits each changed key once per commit: its newest result.
	OnCommit
	// OnUpdate emits each step.
	OnUpdate
	// OnClose emits a window once, when it is closed for good; for windows only.
	OnClose
)

// mustBeKnown refuses what is no policy.
func (e Emit) mustBeKnown(b *Builder, site, method string) {
	if e > OnClose {
		b.fail(site, "%s: unknown emit policy %d: use OnCommit, OnUpdate or OnClose", method, e)
	}
}

func (e Emit) mustNotClose(b *Builder, site, method string) {
	e.mustBeKnown(b, site, method)
	if e == OnClose {
		b.fail(site, "%s: OnClose is for windows: put Windowed or Sessions before it, or use Suppress", method)
	}
}

// pace is the policy as operators know it. OnClose is not a matter of pace.
func (e Emit) pace() op.Pace {
	switch e {
	case OnCommit:
		return op.OnCommit
	case OnUpdate:
		return op.OnUpdate
	default:
		return op.PaceOfRun
	}
}

// rows is how a node emits the rows that it keeps: as e says, as a setting that comes later does, or as the builder
// does.
func (n *node) rows(e Emit) op.Rows {
	n.emits, n.emit = true, e
	return op.Rows{Pace: &n.pace, Old: &n.old}
}
