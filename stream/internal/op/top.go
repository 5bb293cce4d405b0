package op

import "slices"

// TopFold keeps the first n of a group's values in the order of compare, of equal ones those that came first. Lists
// that it made stay as they are.
func TopFold[K, V any, A ~[]V](n int, compare func(a, b V) int) Fold[K, V, A] {
	return func(_ K, v V, top A, _ bool) A {
		at, _ := slices.BinarySearchFunc(top, v, func(a, b V) int {
			if c := compare(a, b); c != 0 {
				return c
			}
			return -1 // behind its equals
		})
		if at == n {
			return top
		}
		list := make(A, 0, min(len(top)+1, n))
		list = append(append(list, top[:at]...), v)
		return append(list, top[at:min(len(top), n-1)]...)
	}
}
