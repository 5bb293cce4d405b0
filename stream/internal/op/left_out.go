package op

import (
	"slices"

	"thalweg/topology"
)

// ReasonHeader is the header that says why an aggregation left a record out.
const ReasonHeader = "thalweg.reason"

// leftOut counts the records that an aggregation leaves out, and passes them to the node that asked for them.
type leftOut[K, V any] struct {
	in   *topology.Instance
	next topology.Port[K, V] // nil: nobody does
}

// leftOutAndResults sorts the ports of an aggregation's children: those that take records get what is left out, the
// others results.
func leftOutAndResults[K, V, A any](in *topology.Instance, next []any) (
	left leftOut[K, V], results topology.Port[Windowed[K], topology.Change[A]], err error,
) {
	left.in = in
	var records, rows []any
	for _, n := range next {
		if _, ok := n.(topology.Port[K, V]); ok {
			records = append(records, n)
		} else {
			rows = append(rows, n)
		}
	}
	if len(records) > 0 {
		if left.next, err = topology.Forward[K, V](records); err != nil {
			return left, nil, err
		}
	}
	results, err = topology.Forward[Windowed[K], topology.Change[A]](rows)
	return left, results, err
}

// nullsLeftOut leaves a record out that has no key, or no value where the aggregation needs one.
func nullsLeftOut[K, V any](l leftOut[K, V], r *topology.Record[K, V], takesNull bool) (out bool, err error) {
	switch {
	case r.NullKey:
		l.in.Drop(topology.NullKey)
		return true, forwardDropped(l, r, topology.NullKey)
	case r.NullValue && !takesNull:
		l.in.Drop(topology.NullValue)
		return true, forwardDropped(l, r, topology.NullValue)
	}
	return false, nil
}

// forwardDropped passes a dropped record on, with the reason in a header.
func forwardDropped[K, V any](l leftOut[K, V], r *topology.Record[K, V], why topology.Reason) error {
	if l.next == nil {
		return nil
	}
	out := *r
	out.Headers = append(slices.Clip(r.Headers), topology.Header{Key: ReasonHeader, Value: []byte(why.String())})
	err := l.next(&out)
	l.in.Resume()
	return err
}
