package topology

import "fmt"

// Port is where a node takes records in.
type Port[K, V any] func(r *Record[K, V]) error

// Forward joins the ports of a node's children into the one port that it calls. Records go to the children in
// order, each child's whole subtree before the next.
func Forward[K, V any](next []any) (Port[K, V], error) {
	ports := make([]Port[K, V], len(next))
	for i, n := range next {
		p, ok := n.(Port[K, V])
		if !ok {
			return nil, fmt.Errorf("port: child %d takes %T, not %T", i, n, ports[i])
		}
		ports[i] = p
	}
	switch len(ports) {
	case 0:
		return func(*Record[K, V]) error { return nil }, nil
	case 1:
		return ports[0], nil
	}
	return func(r *Record[K, V]) error {
		for _, p := range ports {
			if err := p(r); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// Operator makes a [Make] of a function that builds one typed port. The port that a task calls is guarded where
// the task's policy goes on after errors.
//
//go:noinline // else each operator has a copy of its functions, for each type
func Operator[K, V any](build func(in *Instance, next []any) (Port[K, V], error)) Make {
	return func(in *Instance, next []any) (any, error) {
		p, err := build(in, next)
		if err != nil || !in.Env.Guarded {
			return p, err
		}
		return Port[K, V](func(r *Record[K, V]) error { return in.guard(r.Timestamp, func() error { return p(r) }) }), nil
	}
}

// Between is [Operator] for the common case: a node whose children all take K2 and V2.
//
//go:noinline // as Operator
func Between[K, V, K2, V2 any](build func(in *Instance, next Port[K2, V2]) (Port[K, V], error)) Make {
	return Operator(func(in *Instance, next []any) (Port[K, V], error) {
		out, err := Forward[K2, V2](next)
		if err != nil {
			return nil, err
		}
		return build(in, out)
	})
}
