package op

import (
	"slices"

	"thalweg/topology"
)

// ReasonHeader is the header that says why an aggregation dropped a record.
const ReasonHeader = "thalweg.reason"

// droppedRecords counts the records that an aggregation drops, and passes them to the node that asked for them.
type droppedRecords[K, V any] struct {
	in   *topology.Instance
	next topology.Port[K, V] // nil: nobody does
}

// droppedAndResults sorts the ports of an aggregation's children: those that take records get the dropped ones, the
// others results.
func droppedAndResults[K, V, A any](in *topology.Instance, next []any) (
	left droppedRecords[K, V], results topology.Port[Windowed[K], topology.Change[A]], err error,
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

// dropNulls drops a record without a key, or without a value that the aggregation needs.
func dropNulls[K, V any](l droppedRecords[K, V], r *topology.Record[K, V], takesNull bool) (out bool, err error) {
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
func forwardDropped[K, V any](l droppedRecords[K, V], r *topology.Record[K, V], why topology.Reason) error {
	if l.next == nil {
		return nil
	}
	out := *r
	out.Headers = append(slices.Clip(r.Headers), topology.Header{Key: ReasonHeader, Value: []byte(why.String())})
	err := l.next(&out)
	l.in.Resume()
	return err
}
