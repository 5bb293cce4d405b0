package stream

import (
	"fmt"
	"iter"
	"time"

	"thalweg/stream/internal/op"
)

// WindowAssigner cuts time into windows of the program's own: see [Custom]. Its methods are called by several
// goroutines at the same time, and must always answer the same, in every process of the application. Where it has a
// method String, what that returns is part of the topology's fingerprint, otherwise its type.
type WindowAssigner interface {
	// Assign yields the windows that hold a time, in milliseconds since the epoch: Start belongs to a window, End does
	// not. A window is kept under its start, so that no two may begin at the same time, and none before 0; it is no
	// longer than SizeMax. A record whose windows are not like that fails. Nil yields none.
	Assign(timestamp int64) iter.Seq[Span]
	// SizeMax is what no window is longer than. The store keeps windows for as long, and the grace.
	SizeMax() time.Duration
}

// Custom windows are those that the assigner makes. Records up to grace behind the newest are still taken in.
func Custom(a WindowAssigner, grace time.Duration) Window {
	w := Window{kind: custom, own: a, grace: grace}
	if a != nil {
		w.size = a.SizeMax()
	}
	return w
}

// checkCustom reports what is wrong with windows of the program's own.
func (w Window) checkCustom(b *Builder, site string) {
	switch {
	case w.own == nil:
		b.fail(site, "Windowed: Custom has no assigner")
	case w.size < time.Millisecond:
		b.fail(site, "Windowed: SizeMax is %v: windows need a millisecond at least", w.size)
	case w.offset != 0:
		b.fail(site, "Windowed: windows of the program's own have no offset: Assign can shift them")
	}
}

// sizeMax is what no window is longer than.
func (w Window) sizeMax() time.Duration {
	if w.kind == calendar {
		return w.calendar.SizeMax()
	}
	return w.size
}

// variable tells that windows differ in length, or may.
func (w Window) variable() bool { return w.kind == calendar || w.kind == custom }

// facts are what is durable of the way in which a store's windows are cut, where it is not seen otherwise.
func (w Window) facts(store string) []string {
	switch w.kind {
	case calendar:
		c := w.calendar
		c.Offset = w.offset.Milliseconds()
		return []string{"cuts " + store + " into " + c.String()}
	case custom:
		name, ok := w.own.(fmt.Stringer)
		if !ok {
			return []string{fmt.Sprintf("cuts %s into windows of %T", store, w.own)}
		}
		return []string{"cuts " + store + " into " + name.String()}
	}
	return nil
}

func (w Window) spec() op.Windows {
	s := op.Windows{
		Size: w.size.Milliseconds(), Advance: w.advance.Milliseconds(), Grace: w.grace.Milliseconds(),
		Offset: w.offset.Milliseconds(), Unlimited: w.kind == unlimited, Own: w.own,
	}
	if w.kind == calendar {
		c := w.calendar
		c.Offset = s.Offset
		s.Calendar = &c
	}
	return s
}
