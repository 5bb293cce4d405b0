package state

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	"thalweg/serde"
)

// A Store is a typed name seen without its types: what topologies and runtimes pass about.
type Store interface {
	Name() string
	Spec() Spec
	// Check returns why the store can never work (a name that no topic could bear, a type without a serde), or nil.
	Check() error
	// Prepare opens the task's instance, typed inside: with it a restore can run before any node asks for the store.
	Prepare(tx *Tx) error
}

// A Host is where a store is opened: a Tx, or a node's context, which refuses the stores that are not connected to
// the node.
type Host interface {
	Tx(store string) (*Tx, error)
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// nameBytesMax bounds a store's name: Kafka's limit for topic names, which the changelog's must not pass.
const nameBytesMax = 200

// checkName refuses names that could not be part of a topic's name.
func checkName(name string) error {
	if name == "" {
		return fmt.Errorf("store: the name is empty: a durable name must be given")
	}
	if len(name) > nameBytesMax {
		return fmt.Errorf("store %q: the name has %d bytes, at most %d are allowed", name, len(name), nameBytesMax)
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return fmt.Errorf("store %q: the name may hold letters, digits, '.', '_' and '-' only", name)
		}
	}
	return nil
}

// codec is a store's pair of serdes.
type codec[K, V any] struct {
	keys   serde.Serde[K]
	values serde.Serde[V]
}

func codecFor[K, V any]() codec[K, V] {
	return codec[K, V]{keys: serde.For[K](), values: serde.For[V]()}
}

func (c codec[K, V]) check(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := serde.Check(c.keys); err != nil {
		return fmt.Errorf("store %q: key: %w", name, err)
	}
	if err := serde.Check(c.values); err != nil {
		return fmt.Errorf("store %q: value: %w", name, err)
	}
	return nil
}

// withTopic returns spec with more changelog settings; the old map stays as it was, since names are values.
func (s Spec) withTopic(config map[string]string) Spec {
	merged := maps.Clone(s.Topic)
	if merged == nil {
		merged = make(map[string]string, len(config))
	}
	maps.Copy(merged, config)
	s.Topic = merged
	return s
}
