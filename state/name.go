package state

import (
	"cmp"
	"maps"
	"time"

	"thalweg/serde"
)

// name is what a store's name knows without types. It is embedded, so that the names of all types share its methods.
type name struct{ made *made }

// made never changes: a name with another setting points at another one.
type made struct {
	Spec
	keys, values any // a serde.Serde of the name's types each
	// prepare opens the task's instance, with its types.
	prepare func(name, *Tx) error
}

func newName(s Spec, keys, values any, prepare func(name, *Tx) error) name {
	return name{&made{s, keys, values, prepare}}
}

// Name returns the store's durable name.
func (n name) Name() string { return n.Spec().Name }

// Spec describes the store.
func (n name) Spec() Spec {
	if n.made == nil {
		return Spec{}
	}
	return n.made.Spec
}

// Check returns why the store can never work, or nil.
func (n name) Check() error {
	if n.made == nil {
		return checkName("")
	}
	keys := cmp.Or(serde.Check(n.made.keys), serde.CheckKey(n.made.keys))
	if err := checkStore(n.made.Name, keys, serde.Check(n.made.values)); err != nil {
		return err
	}
	return n.made.checkTopic()
}

// Prepare opens the task's instance before a node asks for it.
func (n name) Prepare(tx *Tx) error {
	if err := n.Check(); err != nil {
		return err
	}
	return n.made.prepare(n, tx)
}

// setting is one of the things that a name says of its store.
type setting int

const (
	volatile setting = iota
	inMemory
	retention
	ttl
	windowSize
)

// change returns a copy of a name for its caller to change.
func change(n name) (name, *made) {
	m := &made{}
	if n.made != nil {
		*m = *n.made
	}
	return name{m}, m
}

// with returns the name with a setting; d is the value of those that are durations.
func with(n name, what setting, d time.Duration) name {
	n, m := change(n)
	switch what {
	case volatile:
		m.Volatile = true
	case inMemory:
		m.InMemory = true
	case retention:
		m.Retention = d
	case ttl:
		m.TTL = d
	case windowSize:
		m.WindowSize = d
	}
	return n
}

// withSerdes returns the name with other serdes, where they are given.
func withSerdes(n name, keys, values any) name {
	n, m := change(n)
	if keys != nil {
		m.keys = keys
	}
	if values != nil {
		m.values = values
	}
	return n
}

// withTopic adds changelog settings.
func withTopic(n name, config map[string]string) name {
	n, m := change(n)
	merged := maps.Clone(m.Topic)
	if merged == nil {
		merged = make(map[string]string, len(config))
	}
	maps.Copy(merged, config)
	m.Topic = merged
	return n
}
