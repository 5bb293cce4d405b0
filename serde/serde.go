// Package serde turns values into bytes and back.
package serde

// A Serde encodes and decodes values of one type.
//
// A serde never sees a null: null is a flag beside the bytes, kept by the caller, who asks NullOf. Append refuses a
// nil value of a nilable type and Decode of a nil src gives nil for such a type.
//
// A Serde is safe for concurrent use. One that works faster with scratch space of its own offers it through Local.
type Serde[T any] interface {
	// Append appends the encoding of v to dst and returns the longer slice; on an error it returns dst as it was.
	// It does not retain dst or v.
	Append(dst []byte, v T) ([]byte, error)

	// Decode decodes the whole of src. The value may hold views of src, which is immutable and never reused; it
	// must be treated as read-only.
	Decode(src []byte) (T, error)
}

// Local returns a serde equal to s for the use of one goroutine at a time: it may keep scratch space, and so spares
// the pool that a shared one needs. A task takes one when it is built. A serde without scratch returns itself.
func Local[T any](s Serde[T]) Serde[T] {
	if l, ok := s.(interface{ Local() Serde[T] }); ok {
		return l.Local()
	}
	return s
}

// Check returns why s can never work, such as a type without an encoding (For[chan int]), or nil. Build asks it, so
// that the mistake shows there and not at the first record.
func Check[T any](s Serde[T]) error {
	if c, ok := s.(interface{ Check() error }); ok {
		return c.Check()
	}
	return nil
}
