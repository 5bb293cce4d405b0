package op

import "thalweg/topology"

// perRow calls a function for the rows of a table, each for itself: a change has two, the row that was and the row that
// is. If the policy skips the record, a row for which the function fails is none, for all nodes downstream: the row
// before it is gone for them, and when the next one comes there is nothing to take back.
type perRow[K, V, R any] struct {
	in *topology.Instance
	f  func(*topology.Call, K, V) (R, error)

	key    K // of the row at hand
	row    V
	result R
	call   func() error
}

func newPerRow[K, V, R any](in *topology.Instance, f func(*topology.Call, K, V) (R, error)) *perRow[K, V, R] {
	p := &perRow[K, V, R]{in: in, f: f}
	p.call = func() (err error) { // made once: a closure per row would be an allocation per row
		p.result, err = p.f(p.in.Call(), p.key, p.row)
		return err
	}
	return p
}

// ofPerRow is what the function makes of a row; ok is false where it has failed.
func ofPerRow[K, V, R any](p *perRow[K, V, R], key K, row V) (result R, ok bool, err error) {
	c := p.in.Call()
	if !p.in.Env.Guarded {
		result, err = p.f(c, key, row)
		return result, err == nil, p.in.Error(topology.PhaseProcess, c.Timestamp(), err)
	}
	p.key, p.row = key, row
	if ok, err = p.in.Attempt(c.Timestamp(), p.call); !ok {
		return result, false, err
	}
	return p.result, true, nil
}

// sides are the rows of both sides of a join, nil where there is none.
type sides[V, O any] struct {
	own   *V
	other *O
}

// reading reads another table, perhaps through functions. A row for which one of them fails counts as missing.
func reading[K, V any](in *topology.Instance, get Get[K, V], l Lookup) *perRow[K, struct{}, found[V]] {
	return newPerRow(in, func(c *topology.Call, k K, _ struct{}) (found[V], error) {
		f, err := get(k, l)
		return f, in.Fail(c.Timestamp(), err)
	})
}
