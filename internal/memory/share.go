package memory

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Share is how much memory of one kind its members may hold together. It is safe for concurrent use.
type Share struct {
	kind     Kind
	bytesMax atomic.Int64
	ceiling  int64
	used     atomic.Int64
	parts    atomic.Int64

	reports watchers
	resized watchers

	mu     sync.Mutex
	common any
}

// NewShare returns a share that is part of no limit, for tests and for holders on their own.
func NewShare(k Kind, bytesMax int64) *Share {
	s := &Share{kind: k, ceiling: bytesMax}
	s.bytesMax.Store(bytesMax)
	return s
}

// Kind is what the memory is for.
func (s *Share) Kind() Kind { return s.kind }

// BytesMax is how much all holders of the share may hold now, together.
func (s *Share) BytesMax() int64 { return s.bytesMax.Load() }

// Ceiling is what BytesMax never exceeds, however many members join and leave.
func (s *Share) Ceiling() int64 { return s.ceiling }

// Use notes that a holder holds so much more, or less.
func (s *Share) Use(bytes int64) { s.used.Add(bytes) }

// Divide counts further parts of the share, such as the workers of an application. Undone by a negative number.
func (s *Share) Divide(parts int) { s.parts.Add(int64(parts)) }

// PartBytesMax is how much each part of the share may hold.
func (s *Share) PartBytesMax() int64 { return s.BytesMax() / max(1, s.parts.Load()) }

// Over tells that more is held than may be.
func (s *Share) Over() bool { return s.UsedBytes() > s.BytesMax() }

// UsedBytes is what the holders hold: what they noted with Use, and what the functions given to Report tell.
func (s *Share) UsedBytes() int64 {
	used := s.used.Load()
	for _, w := range s.reports.all() {
		used += w.call(0)
	}
	return used
}

// Common returns what the holders of a share have in common, such as a cache. The first makes it.
func (s *Share) Common(make func() any) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.common == nil {
		s.common = make()
	}
	return s.common
}

// Report adds a holder that counts by itself.
func (s *Share) Report(held func() int64) (stop func()) {
	return s.reports.add(func(int64) int64 { return held() })
}

// OnResize has a function called with the new BytesMax after each change. It must neither block nor join or leave.
func (s *Share) OnResize(f func(bytesMax int64)) (stop func()) {
	return s.resized.add(func(bytesMax int64) int64 {
		f(bytesMax)
		return 0
	})
}

func (s *Share) resize(bytesMax int64) {
	if s.bytesMax.Swap(bytesMax) == bytesMax {
		return
	}
	for _, w := range s.resized.all() {
		w.call(bytesMax)
	}
}

// watchers are functions that come and go. They are no generic type: packages that see a share would compile it.
type watchers struct {
	some atomic.Bool // there was one, ever
	mu   sync.Mutex
	list []*watcher // never changed, but replaced
}

type watcher struct{ call func(int64) int64 }

func (w *watchers) all() []*watcher {
	if !w.some.Load() {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.list
}

func (w *watchers) add(call func(int64) int64) (stop func()) {
	w.some.Store(true)
	added := &watcher{call}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(slices.Clone(w.list), added)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.list = slices.DeleteFunc(slices.Clone(w.list), func(have *watcher) bool { return have == added })
	}
}
