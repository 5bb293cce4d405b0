package stream

import (
	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// Each operator has one implementation, which takes the full function of its Try form: these make one of a plain
// function. They are named after what the plain function takes.

// ofValue is for functions of the value.
func ofValue[K, V, R any](f func(V) R) func(*topology.Call, K, V) (R, error) {
	return func(_ *topology.Call, _ K, v V) (R, error) { return f(v), nil }
}

// ofTwo is for functions of a key and a value, or of a key and its window.
func ofTwo[A, B, R any](f func(A, B) R) func(*topology.Call, A, B) (R, error) {
	return func(_ *topology.Call, a A, b B) (R, error) { return f(a, b), nil }
}

// pairOfTwo is for functions of key and value that return two results.
func pairOfTwo[A, B, R, S any](f func(A, B) (R, S)) func(*topology.Call, A, B) (R, S, error) {
	return func(_ *topology.Call, a A, b B) (R, S, error) {
		r, s := f(a, b)
		return r, s, nil
	}
}

// ofThree is for functions of a key and two more.
func ofThree[A, B, C, R any](f func(A, B, C) R) func(*topology.Call, A, B, C) (R, error) {
	return func(_ *topology.Call, a A, b B, c C) (R, error) { return f(a, b, c), nil }
}

// ofValues is for functions of two values of a key.
func ofValues[K, A, B, R any](f func(A, B) R) func(*topology.Call, K, A, B) (R, error) {
	return func(_ *topology.Call, _ K, a A, b B) (R, error) { return f(a, b), nil }
}

// A join is made of a function that gets pointers, nil for a side that has nothing. innerOf and leftOf make that of
// those of joins in which a side is always there.

func innerOf[K, V, V2, R any](
	f func(*topology.Call, K, V, V2) (R, error),
) func(*topology.Call, K, *V, *V2) (R, error) {
	return func(c *topology.Call, k K, v *V, o *V2) (R, error) { return f(c, k, *v, *o) }
}

func leftOf[K, V, V2, R any](
	f func(*topology.Call, K, V, *V2) (R, error),
) func(*topology.Call, K, *V, *V2) (R, error) {
	return func(c *topology.Call, k K, v *V, o *V2) (R, error) { return f(c, k, *v, o) }
}

// foundOf is innerOf where the left side is a record, and no pointer.
func foundOf[K, V, V2, R any](
	f func(*topology.Call, K, V, V2) (R, error),
) func(*topology.Call, K, V, *V2) (R, error) {
	return func(c *topology.Call, k K, v V, o *V2) (R, error) { return f(c, k, v, *o) }
}

// ofWindow is for functions of a key, its window and the row.
func ofWindow[K, V, R any](f func(K, Span, V) R) func(*topology.Call, op.Windowed[K], V) (R, error) {
	return func(_ *topology.Call, w op.Windowed[K], v V) (R, error) { return f(w.Key, w.Span, v), nil }
}

// seeing is for functions that return nothing.
func seeing[A, B any](f func(A, B)) func(*topology.Call, A, B) error {
	return func(_ *topology.Call, a A, b B) error {
		f(a, b)
		return nil
	}
}
