package op

import (
	"fmt"
	"reflect"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// Fold takes records into an aggregate.
type Fold[K, V, A any] struct {
	// Add returns the aggregate with the record; ok is false for the first record of a key. A nil result deletes the
	// row.
	Add func(c *topology.Call, key K, value V, agg A, ok bool) (A, error)
	// InPlace tells that Add may change the aggregate that it gets.
	InPlace bool
}

// CountFold counts.
func CountFold[K, V any]() Fold[K, V, int64] { return StepFold[K, V](1) }

// StepFold adds n for each record.
func StepFold[K, V any](n int64) Fold[K, V, int64] {
	return Fold[K, V, int64]{Add: func(_ *topology.Call, _ K, _ V, sum int64, _ bool) (int64, error) {
		return sum + n, nil
	}}
}

// SumFold adds partial counts.
func SumFold[K any]() Fold[K, int64, int64] {
	return Fold[K, int64, int64]{Add: func(_ *topology.Call, _ K, n, sum int64, _ bool) (int64, error) {
		return sum + n, nil
	}}
}

// ReduceFold keeps the first value as it is and reduces the others into it.
func ReduceFold[K, V any](f func(*topology.Call, K, V, V) (V, error)) Fold[K, V, V] {
	return Fold[K, V, V]{InPlace: true, Add: func(c *topology.Call, k K, v, agg V, ok bool) (V, error) {
		if !ok {
			return v, nil
		}
		return f(c, k, agg, v)
	}}
}

// AggregateFold begins with what initial returns.
func AggregateFold[K, V, A any](initial func() A, add func(*topology.Call, K, V, A) (A, error)) Fold[K, V, A] {
	return Fold[K, V, A]{InPlace: true, Add: func(c *topology.Call, k K, v V, agg A, ok bool) (A, error) {
		if !ok {
			agg = initial()
		}
		return add(c, k, v, agg)
	}}
}

// NoInitial is the start of an aggregate that its first record makes.
func NoInitial[A any]() (agg A, ok bool) { return agg, false }

// Initial is the start of an aggregate that there is before its first record.
func Initial[A any](f func() A) func() (A, bool) { return func() (A, bool) { return f(), true } }

// apartFold is a fold that leaves the aggregate that it gets as it is, where that matters: if the task continues after
// a failure, since a function that changes an aggregate in place may fail half way, and where the old aggregate is used
// beside the new one.
func apartFold[K, V, A any](
	fold Fold[K, V, A], in *topology.Instance, values serde.Serde[A], oldGoesOn bool,
) Fold[K, V, A] {
	if !copiesFold(fold, in, oldGoesOn) {
		return fold
	}
	copied, add := copyOf(serde.Local(values)), fold.Add
	fold.Add = func(c *topology.Call, k K, v V, agg A, ok bool) (A, error) {
		if ok {
			var err error
			if agg, err = copied(agg); err != nil {
				return agg, err
			}
		}
		return add(c, k, v, agg, ok)
	}
	return fold
}

func copiesFold[K, V, A any](fold Fold[K, V, A], in *topology.Instance, oldGoesOn bool) bool {
	return (in.Env.Guarded || oldGoesOn) && fold.InPlace && shares(reflect.TypeFor[A]())
}

// copyOf makes values that share nothing with the one they were made from.
func copyOf[A any](s serde.Serde[A]) func(A) (A, error) {
	if !shares(reflect.TypeFor[A]()) {
		return func(a A) (A, error) { return a, nil }
	}
	null := serde.NullOf[A]()
	return func(a A) (A, error) {
		if null != nil && null(&a) {
			return a, nil
		}
		var b []byte
		err := topology.Catch(func() (err error) {
			b, err = s.Append(nil, a) // not scratch: the copy may hold views of it
			return err
		})
		if err != nil { // it was put by another record, which the store would have refused had it been encoded then
			return a, &state.Refusal{Earlier: true, Err: fmt.Errorf("encode value: %w", err)}
		}
		return s.Decode(b)
	}
}

// shares tells whether a copy of a value of the type shares memory with it that can be changed.
func shares(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface, reflect.Chan, reflect.Func,
		reflect.UnsafePointer:
		return true
	case reflect.Array:
		return t.Len() > 0 && shares(t.Elem())
	case reflect.Struct:
		for field := range t.Fields() {
			if shares(field.Type) {
				return true
			}
		}
	}
	return false
}
