package state

import (
	"maps"
	"time"
)

// name is the part of a store's name that has no types. What it points at never changes: a name with another setting
// points at another Spec. The zero name has none.
type name struct{ spec *Spec }

func nameOf(s Spec) name { return name{&s} }

func (n name) get() Spec {
	if n.spec == nil {
		return Spec{}
	}
	return *n.spec
}

func (n name) name() string { return n.get().Name }

// setting is one of the things that a name says of its store.
type setting int

const (
	volatile setting = iota
	inMemory
	retention
	ttl
	windowSize
)

// with returns the name with a setting; d is the value of those that are durations.
//
//go:noinline // see package comment
func (n name) with(what setting, d time.Duration) name {
	s := n.get()
	switch what {
	case volatile:
		s.Volatile = true
	case inMemory:
		s.InMemory = true
	case retention:
		s.Retention = d
	case ttl:
		s.TTL = d
	case windowSize:
		s.WindowSize = d
	}
	return nameOf(s)
}

// topic adds changelog settings.
func (n name) topic(config map[string]string) name {
	s := n.get()
	merged := maps.Clone(s.Topic)
	if merged == nil {
		merged = make(map[string]string, len(config))
	}
	maps.Copy(merged, config)
	s.Topic = merged
	return nameOf(s)
}
