package op

import (
	"context"
	"fmt"

	"thalweg/serde"
	"thalweg/topology"
)

// MapAsync replaces values by calls of f, n at the same time. Calls of one key come one after the other; results are
// sent in the order of the records, whichever is ready first. A null that f does not see stays null.
//
// Goroutines run f and nothing else: results are handed on by the task's goroutine, the first when n calls are in
// flight and another record comes, and all of them before the commit. When does not depend on how long calls take, so
// that a task that is run again does the same. What is in flight when it is rewound or closed is waited for and
// forgotten.
func MapAsync[K, V, V2 any](n int, keys serde.Serde[K], f func(context.Context, K, V) (V2, error)) topology.Make {
	return topology.Between(func(in *topology.Instance, next topology.Port[K, V2]) (topology.Port[K, V], error) {
		ctx, cancel := context.WithCancel(context.Background())
		a := &async[K, V, V2]{
			in: in, next: next, n: n, keys: serde.Local(keys), seesNull: serde.IsNilable[V](), null: serde.NullOf[V2](),
			last: map[string]*call[K, V, V2]{},
			run: func(c *call[K, V, V2]) {
				defer close(c.done)
				if c.after != nil {
					<-c.after
				}
				if ctx.Err() == nil {
					c.result, c.err = called(ctx, f, c.record.Key, c.record.Value)
				}
			},
		}
		in.Settle = func() (bool, error) { return settleAsync(a) }
		in.Close = func() error {
			cancel()
			for _, c := range a.calls {
				<-c.done
			}
			return nil
		}
		return func(r *topology.Record[K, V]) error { return receiveAsync(a, r) }, nil
	})
}

// called calls f and makes an error of its panic.
func called[K, V, V2 any](
	ctx context.Context, f func(context.Context, K, V) (V2, error), key K, value V,
) (result V2, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = topology.NewPanic(v)
		}
	}()
	return f(ctx, key, value)
}

// call is a record on its way through f.
type call[K, V, V2 any] struct {
	record topology.Record[K, V]
	source *topology.SourceRecord // of the record; nil: it came out of no topic
	key    string                 // encoded; empty: none
	after  chan struct{}          // of the call before of the same key; nil: there is none
	done   chan struct{}
	result V2
	err    error
}

type async[K, V, V2 any] struct {
	in       *topology.Instance
	next     topology.Port[K, V2]
	n        int
	keys     serde.Serde[K]
	seesNull bool
	null     func(*V2) bool
	run      func(*call[K, V, V2])

	calls   []*call[K, V, V2]          // in flight, in the order of their records
	last    map[string]*call[K, V, V2] // of each key that is in flight
	encoded []byte
	out     topology.Record[K, V2]
}

func receiveAsync[K, V, V2 any](a *async[K, V, V2], r *topology.Record[K, V]) error {
	a.in.Enter()
	c := &call[K, V, V2]{record: *r, done: make(chan struct{})}
	if a.in.Env.Source != nil {
		source := *a.in.Env.Source
		c.source = &source
	}
	for len(a.calls) >= a.n {
		if err := handOnAsync(a); err != nil {
			return err
		}
	}
	a.in.Resume()
	return startAsync(a, c)
}

func startAsync[K, V, V2 any](a *async[K, V, V2], c *call[K, V, V2]) error {
	if c.record.NullValue && !a.seesNull {
		close(c.done)
	} else {
		if !c.record.NullKey {
			var err error
			if a.encoded, err = a.keys.Append(a.encoded[:0], c.record.Key); err != nil {
				return a.in.Handle(topology.PhaseProcess, c.record.Timestamp, fmt.Errorf("key: %w", err))
			}
			c.key = "k" + string(a.encoded)
			if before := a.last[c.key]; before != nil {
				c.after = before.done
			}
			a.last[c.key] = c
		}
		go a.run(c)
	}
	a.calls = append(a.calls, c)
	return nil
}

// handOnAsync waits for the first call and sends its result on, as if its record were being processed.
func handOnAsync[K, V, V2 any](a *async[K, V, V2]) error {
	c := a.calls[0]
	<-c.done
	a.calls[0] = nil
	a.calls = a.calls[1:]
	if a.last[c.key] == c {
		delete(a.last, c.key)
	}
	current, ts := a.in.Env.Source, c.record.Timestamp
	a.in.Env.Source = c.source
	a.in.Resume()
	var err error
	if c.err != nil {
		err = a.in.Handle(topology.PhaseProcess, ts, c.err)
	} else {
		a.out.Key, a.out.NullKey = c.record.Key, c.record.NullKey
		a.out.Timestamp, a.out.Headers = ts, c.record.Headers
		a.out.Value = c.result
		a.out.NullValue = c.record.NullValue && !a.seesNull || a.null != nil && a.null(&a.out.Value)
		err = a.next(&a.out)
	}
	if err == nil { // otherwise the failure is this record's
		a.in.Env.Source = current
	}
	return err
}

// settleAsync hands on all that is in flight.
func settleAsync[K, V, V2 any](a *async[K, V, V2]) (some bool, err error) {
	for len(a.calls) > 0 {
		some = true
		if err := handOnAsync(a); err != nil {
			return some, err
		}
	}
	return some, nil
}
