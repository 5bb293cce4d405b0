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

func (n name) volatile() name {
	s := n.get()
	s.Volatile = true
	return nameOf(s)
}

func (n name) inMemory() name {
	s := n.get()
	s.InMemory = true
	return nameOf(s)
}

func (n name) retain(d time.Duration) name {
	s := n.get()
	s.Retention = d
	return nameOf(s)
}

func (n name) ttl(d time.Duration) name {
	s := n.get()
	s.TTL = d
	return nameOf(s)
}

func (n name) size(d time.Duration) name {
	s := n.get()
	s.WindowSize = d
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
