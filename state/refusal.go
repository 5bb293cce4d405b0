package state

import (
	"fmt"
	"runtime/debug"
	"unsafe"

	"thalweg/state/internal/table"
)

// Refusal is the error of a key or a value that a store does not take: its serde refuses it, or the row is larger than
// the changelog takes. The row is as it was before. It is the fault of the record at hand, and not of the store.
type Refusal struct {
	Store string // empty where it is not known
	Key   []byte // encoded; nil where the key itself was refused
	Err   error
	Stack []byte // of a serde that panicked
	// Large tells that it is the row's size: a larger one needs a larger max.message.bytes of the changelog.
	Large bool
	// Earlier tells that the value was put by a record before the one at hand, since the last commit.
	Earlier bool
}

func (r *Refusal) Error() string {
	if r.Store == "" {
		return r.Err.Error()
	}
	if r.Key == nil {
		return fmt.Sprintf("store %q: %v", r.Store, r.Err)
	}
	return fmt.Sprintf("store %q: key %q: %v", r.Store, shortKey(r.Key), r.Err)
}

func (r *Refusal) Unwrap() error { return r.Err }

// shortKey is as much of a key as an error shows.
func shortKey(key []byte) []byte { return key[:min(len(key), 64)] }

func keyError(r *storeBase, err error) error {
	return &Refusal{Store: r.name, Err: fmt.Errorf("encode key: %w", err)}
}

// longKey refuses a key that no table takes.
func longKey(r *storeBase, key []byte) error {
	return &Refusal{Store: r.name, Key: append([]byte{}, key[:64]...), Err: fmt.Errorf("the key has %d bytes, at most %d "+
		"are allowed", len(key), table.KeyBytesMax)}
}

func (r *storeBase) valueError(key []byte, err error) error {
	return &Refusal{Store: r.name, Key: append([]byte{}, key...), Err: fmt.Errorf("encode value: %w", err)}
}

// The sizes of a changelog record beside its key and value.
const (
	rowOverheadBytes = 32
	rowHeaderBytes   = 34 // of those that have one
)

// LimitRows sets the size of the largest changelog record, for the stores that are opened from now on. A larger row is
// refused when it is put; 0 means that there is no limit.
func (tx *Tx) LimitRows(bytesMax int) { tx.rowBytesMax = bytesMax }

// Strict makes stores encode each value when it is put, instead of once for all puts before a drain. Then the record
// that a store can't take is known. It costs time, and is for going over records again of which one is known to fail.
func (tx *Tx) Strict(strict bool) {
	tx.strict = strict
	for _, m := range tx.stores {
		m.storeBase().strict = strict
	}
}

// checkSize refuses a row that is larger than its changelog takes.
func (r *storeBase) checkSize(key []byte, tail, value int) error {
	limit := r.tx.rowBytesMax
	size := len(key) + tail + value + rowOverheadBytes
	if r.made.Kind == KindSuppress {
		size += rowHeaderBytes
	}
	if limit <= 0 || size <= limit || !r.logged {
		return nil
	}
	err := fmt.Errorf("a row of %d bytes is over the limit of %d for a record of the changelog: raise "+
		"Config.Limits.RecordBytesMax and the topic's max.message.bytes, or keep less in it", size, limit)
	return &Refusal{Store: r.name, Key: append([]byte{}, key...), Large: true, Err: err}
}

// checkValue encodes a value before it is put, whose bytes are valid until the next call. Where the value is refused
// the entry goes back to its bytes: its object may have been changed in place.
func (s *rowCache) checkValue(index uint32, value unsafe.Pointer) (encoded []byte, err error) {
	key := s.Key(s.At(index))
	defer func() {
		if v := recover(); v != nil {
			cause, ok := v.(error)
			if !ok {
				cause = fmt.Errorf("%v", v)
			}
			err = &Refusal{
				Store: s.base.name, Key: append([]byte{}, key...), Stack: debug.Stack(),
				Err: fmt.Errorf("encode value: panic: %w", cause),
			}
		}
		if err != nil {
			s.forgetObject(index)
		}
	}()
	if encoded, err = s.storage.encode(s.base.value[:0], value); err != nil {
		return nil, s.base.valueError(key, err)
	}
	s.base.value = encoded
	if s.base.writesOwnChangelog {
		return encoded, nil
	}
	return encoded, s.base.checkSize(key, len(s.suffix), len(encoded))
}

// forgetObject drops the decoded object of an entry that has its bytes, too.
func (s *rowCache) forgetObject(index uint32) {
	v, ok := s.storage.(*boxedValues)
	if !ok {
		return
	}
	if e := s.At(index); e.Has(table.Present) && boxedAt(s.Payload(e)).chunk != 0 {
		v.drop(boxedAt(s.Payload(e)))
	}
}
