package op

import (
	"bytes"
	"math"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// TopOfTable keeps the rows of each group as a list in the order of compare, of equal ones those first that came first,
// and passes the first n of them on. A row that is taken out is found again by its place in the order and its bytes.
func TopOfTable[K, V any, A ~[]V](
	st state.KV[K, A], values serde.Serde[V], n int, compare func(c *topology.Call, key K, a, b V) (int, error), rows Rows,
) topology.Make {
	return func(in *topology.Instance, next []any) (any, error) {
		out, err := topology.Forward[K, topology.Change[A]](next)
		if err != nil {
			return nil, err
		}
		t := &topOfTable[K, V]{values: serde.Local(values), compare: compare}
		take := Fold[K, V, A]{Add: func(c *topology.Call, key K, v V, list A, _ bool) (A, error) {
			at, err := findTopOfTable(t, c, key, list, v)
			if err != nil || at < 0 {
				return list, err
			}
			if len(list) == 1 {
				return nil, nil // a group without rows has none
			}
			return append(append(make(A, 0, len(list)-1), list[:at]...), list[at+1:]...), nil
		}}
		first := func(r *topology.Record[K, topology.Change[A]]) error {
			r.Value.New, r.Value.Old = FirstOf(r.Value.New, n), FirstOf(r.Value.Old, n)
			return out(r)
		}
		all := AggregateTable(st, TopFold[K, V, A](math.MaxInt, compare), take, rows)
		return all(in, []any{topology.Port[K, topology.Change[A]](first)})
	}
}

// FirstOf is the first n of a list, which share its memory.
func FirstOf[V any, A ~[]V](list A, n int) A {
	n = min(n, len(list))
	return list[:n:n]
}

type topOfTable[K, V any] struct {
	values  serde.Serde[V]
	compare func(c *topology.Call, key K, a, b V) (int, error)
	row, at []byte // scratch
}

// findTopOfTable is where in the list the value is; -1 where it is not.
func findTopOfTable[K, V any](t *topOfTable[K, V], c *topology.Call, key K, list []V, v V) (int, error) {
	begin, end := 0, len(list)
	for begin < end { // the first one that is not before v
		middle := int(uint(begin+end) >> 1)
		order, err := t.compare(c, key, list[middle], v)
		switch {
		case err != nil:
			return -1, err
		case order < 0:
			begin = middle + 1
		default:
			end = middle
		}
	}
	var err error
	if t.row, err = t.values.Append(t.row[:0], v); err != nil {
		return -1, err
	}
	for at := begin; at < len(list); at++ {
		if order, err := t.compare(c, key, list[at], v); err != nil || order != 0 {
			return -1, err
		}
		if t.at, err = t.values.Append(t.at[:0], list[at]); err != nil {
			return -1, err
		}
		if bytes.Equal(t.at, t.row) {
			return at, nil
		}
	}
	return -1, nil
}
