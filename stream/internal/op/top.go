package op

import "thalweg/topology"

// TopFold keeps the first n of a group's values in the order of compare, of equal ones those that came first. Lists
// that it made stay as they are.
func TopFold[K, V any, A ~[]V](n int, compare func(c *topology.Call, key K, a, b V) (int, error)) Fold[K, V, A] {
	return Fold[K, V, A]{Add: func(c *topology.Call, key K, v V, top A, _ bool) (A, error) {
		at, end := 0, len(top)
		for at < end { // the first one behind v, and so behind its equals
			middle := int(uint(at+end) >> 1)
			order, err := compare(c, key, top[middle], v)
			switch {
			case err != nil:
				return nil, err
			case order <= 0:
				at = middle + 1
			default:
				end = middle
			}
		}
		if at == n {
			return top, nil
		}
		list := make(A, 0, min(len(top)+1, n))
		list = append(append(list, top[:at]...), v)
		return append(list, top[at:min(len(top), n-1)]...), nil
	}}
}
