package stream

import (
	"context"

	"thalweg/stream/internal/op"
	"thalweg/topology"
)

// MapAsync replaces each value by what a call of f returns, of which up to n run at the same time: for values that come
// from another service. Calls of one key are made one after the other, and results go on in the order of the records.
// Exactly-once holds: a commit waits for the calls in flight, and what a transaction that fails has called for is
// called for again. An error or a panic of f is a failure of its record, as in every function.
//
// The trade-off: a slow call holds up those behind it, and the commit, and with it all tasks of its worker. Give f a
// time limit well below the transaction's. Its context ends when the task is closed or rewound, and the task waits for
// f to return. Results come later than records that went another way: where both meet again, in a join, the order is
// not that of the input. While it runs, f shares key and value with the rest of the program: values that an aggregation
// changes in place have to be copied before.
func (s Stream[K, V]) MapAsync[V2 any](n int, f func(context.Context, K, V) (V2, error)) Stream[K, V2] {
	site := caller()
	s.n.needs("MapAsync", f == nil)
	if n < 1 || n > asyncMax {
		s.n.builder().fail(site, "MapAsync: %d calls at the same time: it takes 1 to %d", n, asyncMax)
	}
	keys, _ := serdesOr(s.keys, s.values)
	t := &topology.Node{
		Kind: topology.KindProcessor, Site: site, Make: op.MapAsync(n, keys, f), ChangesValue: true,
	}
	return Stream[K, V2]{n: s.n.builder().add("map-async", "", t, s.n), keys: s.keys}
}

// asyncMax is how many calls of a MapAsync may be in flight in each task.
const asyncMax = 10_000
