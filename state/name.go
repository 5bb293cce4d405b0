package state

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"time"

	"thalweg/serde"
)

// name is what a store's name knows without types. It is embedded, so that the names of all types share its methods.
type name struct{ made *made }

// made never changes: a name with another setting points at another one.
type made struct {
	Spec
	keys, values any // a serde.Serde of the name's types each
	// Whether the program, or the stream that the store is made of, has named the serdes; otherwise they go by type.
	keysNamed, valuesNamed bool
	// prepare opens the task's instance, with its types.
	prepare func(name, *Tx) error
}

func newName(s Spec, keys, values any, prepare func(name, *Tx) error) name {
	return name{&made{Spec: s, keys: keys, values: values, prepare: prepare}}
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
	if err := n.made.checkRetention(); err != nil {
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
		m.keys, m.keysNamed = keys, true
	}
	if values != nil {
		m.values, m.valuesNamed = values, true
	}
	return n
}

// inherit returns the name with the serdes of records of which the store is made: where the program has named no other,
// and where they are of the store's types. A type that is written otherwise in topics than in stores keeps its own.
func inherit(n name, keys, values any) name {
	if n.made == nil {
		return n
	}
	if n.made.keysNamed || !mayInherit(keys, n.made.keys) {
		keys = nil
	}
	if n.made.valuesNamed || !mayInherit(values, n.made.values) {
		values = nil
	}
	return withSerdes(n, keys, values)
}

// mayInherit tells whether a serde may take another one's place.
func mayInherit(serde, by any) bool {
	t := decodedBy(serde)
	if t == nil || t != decodedBy(by) {
		return false
	}
	_, own := t.MethodByName("TopicSerde")
	return !own
}

// decodedBy is the type of a serde's values, or nil. It is found without a type parameter: the compiler would make the
// code once for each type of store.
func decodedBy(serde any) reflect.Type {
	if serde == nil {
		return nil
	}
	decode, ok := reflect.TypeOf(serde).MethodByName("Decode")
	if !ok {
		return nil
	}
	return decode.Type.Out(0)
}

// Fuller returns the one of two names of a store that says more of it: an operator knows how long rows are needed, and
// which serdes they come with.
func Fuller(a, b Store) Store {
	x, y := madeOf(a), madeOf(b)
	if x == nil || y == nil || x.Retention > y.Retention {
		return a
	}
	if x.Retention < y.Retention || y.named() > x.named() {
		return b
	}
	return a
}

// madeOf is what the name in a store says, or nil where there is none. Reflection finds the name, also in a struct that
// embeds one: the compiler would make a method of the names for each type of store.
func madeOf(s Store) *made {
	if n, ok := s.(name); ok {
		return n.made
	}
	v := reflect.Indirect(reflect.ValueOf(s))
	if v.Kind() != reflect.Struct {
		return nil
	}
	n := v.FieldByName("name")
	if !n.IsValid() || n.Type() != reflect.TypeFor[name]() {
		return nil
	}
	return (*made)(n.FieldByName("made").UnsafePointer())
}

func (m *made) named() (n int) {
	if m.keysNamed {
		n++
	}
	if m.valuesNamed {
		n++
	}
	return n
}

// Conflict tells why two names of a store can't both be right, or nil: each has serdes, and these differ.
func Conflict(a, b Store) error {
	x, y := madeOf(a), madeOf(b)
	switch {
	case x == nil || y == nil:
		return nil
	case x.keysNamed && y.keysNamed && serde.Differ(x.keys, y.keys):
		return fmt.Errorf("its keys are %s in one place and %s in another", serde.Format(x.keys), serde.Format(y.keys))
	case x.valuesNamed && y.valuesNamed && serde.Differ(x.values, y.values):
		return fmt.Errorf("its values are %s in one place and %s in another", serde.Format(x.values),
			serde.Format(y.values))
	}
	return nil
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
