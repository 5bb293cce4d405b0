package state

import (
	"fmt"
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

// codecOf returns the serdes of a name, whose types are known to the caller. The zero name has none.
func codecOf[K, V any](n name) (c codec[K, V]) {
	if n.made != nil {
		c.keys, _ = n.made.keys.(serde.Serde[K])
		c.values, _ = n.made.values.(serde.Serde[V])
	}
	return c
}

func checkStore(name string, key, value error) error {
	if err := checkName(name); err != nil {
		return err
	}
	if key != nil {
		return fmt.Errorf("store %q: key: %w", name, key)
	}
	if value != nil {
		return fmt.Errorf("store %q: value: %w", name, value)
	}
	return nil
}

// encodeKey returns a key's bytes, which are not nil.
func encodeKey[K any](store string, s serde.Serde[K], key K) ([]byte, error) {
	b, err := s.Append([]byte{}, key)
	return b, failed(store, "encode key", err)
}

// bounds returns the bytes of the first key, and of what comes after the last.
func bounds[K any](store string, s serde.Serde[K], from, to K) (lower, upper []byte, err error) {
	if lower, err = encodeKey(store, s, from); err == nil {
		upper, err = encodeKey(store, s, to)
	}
	return lower, append(upper, 0), err
}

func decodeKey[K any](store string, s serde.Serde[K], src []byte) (K, error) {
	key, err := s.Decode(src)
	return key, decodeError(store, "key", err)
}

func decodeValue[V any](store string, s serde.Serde[V], src []byte) (V, error) {
	value, err := s.Decode(src)
	return value, decodeError(store, "value", err)
}

// failed says what went wrong in which store, if something did.
func failed(store, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store %q: %s: %w", store, what, err)
}
