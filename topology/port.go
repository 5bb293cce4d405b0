package topology

import (
	"fmt"
	"unsafe"
)

// Port is where a node takes records in.
type Port[K, V any] func(r *Record[K, V]) error

// port is a Port without its types: to call either is to pass one pointer. What is the same for all types is done with
// ports of this kind, so that the compiler makes it once.
type port func(record unsafe.Pointer) error

// nowhere is the port of no children.
func nowhere(unsafe.Pointer) error { return nil }

// each is the port of several children.
func each(ports []port) port {
	return func(r unsafe.Pointer) error {
		for _, p := range ports {
			if err := p(r); err != nil {
				return err
			}
		}
		return nil
	}
}

// guard makes a node's port one that the node's guard calls, where the task's policy goes on after errors. The record's
// timestamp lies at an offset.
func guard(in *Instance, p *port, timestamp uintptr) {
	bare := *p
	*p = func(r unsafe.Pointer) error {
		return in.guard(*(*int64)(unsafe.Add(r, timestamp)), func() error { return bare(r) })
	}
}

// Forward joins the ports of a node's children into the one port that it calls. Records go to the children in
// order, each child's whole subtree before the next.
func Forward[K, V any](next []any) (Port[K, V], error) {
	ports := make([]port, len(next))
	for i, n := range next {
		p, ok := n.(Port[K, V])
		if !ok {
			return nil, fmt.Errorf("port: child %d takes %T, not %T", i, n, p)
		}
		ports[i] = *(*port)(unsafe.Pointer(&p))
	}
	p := port(nowhere)
	switch len(ports) {
	case 0:
	case 1:
		p = ports[0]
	default:
		p = each(ports)
	}
	return *(*Port[K, V])(unsafe.Pointer(&p)), nil
}

// Operator makes a [Make] of a function that builds one typed port. The port that a task calls is guarded where
// the task's policy goes on after errors.
//
//go:noinline // else each operator has a copy of its functions, for each type
func Operator[K, V any](build func(in *Instance, next []any) (Port[K, V], error)) Make {
	return func(in *Instance, next []any) (any, error) {
		p, err := build(in, next)
		if err == nil && in.Env.Guarded {
			var r Record[K, V]
			guard(in, (*port)(unsafe.Pointer(&p)), unsafe.Offsetof(r.Timestamp))
		}
		return p, err
	}
}

// Between is [Operator] for the common case: a node whose children all take K2 and V2.
//
//go:noinline // as Operator
func Between[K, V, K2, V2 any](build func(in *Instance, next Port[K2, V2]) (Port[K, V], error)) Make {
	return func(in *Instance, next []any) (any, error) { // not by Operator: that would be two functions more
		out, err := Forward[K2, V2](next)
		if err != nil {
			return nil, err
		}
		p, err := build(in, out)
		if err == nil && in.Env.Guarded {
			var r Record[K, V]
			guard(in, (*port)(unsafe.Pointer(&p)), unsafe.Offsetof(r.Timestamp))
		}
		return p, err
	}
}
