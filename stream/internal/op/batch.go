package op

import (
	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// BatchConfig gathers the records of a key into batches.
type BatchConfig[K, V, V2 any] struct {
	Store state.KV[Pair[K, int32], V] // the records of the open batches, numbered
	Count int                         // most records of a batch
	Every int64                       // milliseconds of the wall clock that a batch is open; 0: until it is full
	F     func(*topology.Call, K, []V) (V2, error)
}

// Batch makes one record of each batch. A batch that is open when the task restarts is open for Every from then on.
func Batch[K, V, V2 any](c BatchConfig[K, V, V2]) topology.Make {
	return topology.Between(func(in *topology.Instance, next topology.Port[K, V2]) (topology.Port[K, V], error) {
		store, err := c.Store.Open(in)
		if err != nil {
			return nil, err
		}
		b := &batches[K, V, V2]{
			in: in, c: c, store: store, next: next, null: serde.NullOf[V2](), open: map[string]*openBatch[K]{},
			keys: serde.Local(c.Store.KeySerde().(PairKeys[K, int32]).Keys),
		}
		for e, err := range store.All() {
			if err != nil {
				return nil, err
			}
			o, err := ofBatches(b, e.Key.Key)
			if err != nil {
				return nil, err
			}
			addOpen(o, e.Timestamp)
		}
		if c.Every > 0 {
			in.Env.Punctuator.Schedule(in, topology.WallClock, 0, max(c.Every/4, 1), func(now int64) error {
				return closeOldBatches(b, now)
			})
		}
		return func(r *topology.Record[K, V]) error { return receiveBatches(b, r) }, nil
	})
}

// openBatch is what is known of the records of a key that wait. The store has their values.
type openBatch[K any] struct {
	id        string // the key, encoded
	key       K
	count     int
	timestamp int64 // the latest of its records
	since     int64 // wall clock
	closed    bool
}

func addOpen[K any](o *openBatch[K], timestamp int64) {
	o.count++
	o.timestamp = max(o.timestamp, timestamp)
}

type batches[K, V, V2 any] struct {
	in    *topology.Instance
	c     BatchConfig[K, V, V2]
	store *state.KVStore[Pair[K, int32], V]
	keys  serde.Serde[K]
	next  topology.Port[K, V2]
	null  func(*V2) bool

	open    map[string]*openBatch[K]
	byAge   []*openBatch[K] // oldest first, closed ones among them; where batches close by time
	encoded []byte
	out     topology.Record[K, V2]
}

// ofBatches is the open batch of a key.
func ofBatches[K, V, V2 any](b *batches[K, V, V2], key K) (o *openBatch[K], err error) {
	if b.encoded, err = b.keys.Append(b.encoded[:0], key); err != nil {
		return nil, err
	}
	if o = b.open[string(b.encoded)]; o == nil {
		o = &openBatch[K]{id: string(b.encoded), key: key, timestamp: topology.Unknown, since: b.in.Env.WallTime}
		b.open[o.id] = o
		if b.c.Every > 0 {
			b.byAge = append(b.byAge, o)
		}
	}
	return o, nil
}

func receiveBatches[K, V, V2 any](b *batches[K, V, V2], r *topology.Record[K, V]) error {
	b.in.Enter()
	switch {
	case r.NullKey:
		b.in.Drop(topology.NullKey)
		return nil
	case r.NullValue:
		b.in.Drop(topology.NullValue)
		return nil
	}
	o, err := ofBatches(b, r.Key)
	if err != nil {
		return b.in.Fail(r.Timestamp, err)
	}
	number := int32(o.count)
	addOpen(o, r.Timestamp)
	if o.count >= b.c.Count {
		return closeBatches(b, o, &r.Value, r.Headers)
	}
	return b.in.Fail(r.Timestamp, b.store.Put(Pair[K, int32]{r.Key, number}, r.Value, r.Timestamp))
}

// closeBatches emits a batch. The store has all of its records but the last, where that is given. A batch for which F
// fails is dropped as a whole: it is not known which of its records F failed for.
func closeBatches[K, V, V2 any](
	b *batches[K, V, V2], o *openBatch[K], last *V, headers []topology.Header,
) error {
	o.closed = true
	delete(b.open, o.id)
	values, err := takeBatches(b, o, last)
	if err != nil {
		return b.in.Fail(o.timestamp, err)
	}
	if b.out.Value, err = b.c.F(b.in.CallAt(o.timestamp, headers), o.key, values); err != nil {
		return b.in.Error(topology.PhaseProcess, o.timestamp, err)
	}
	b.out.Key = o.key
	b.out.Timestamp, b.out.Headers = o.timestamp, headers
	b.out.NullValue = b.null != nil && b.null(&b.out.Value)
	err = b.next(&b.out)
	b.in.Resume()
	return err
}

// takeBatches takes the values of a batch out of the store.
func takeBatches[K, V, V2 any](b *batches[K, V, V2], o *openBatch[K], last *V) ([]V, error) {
	values := make([]V, 0, o.count)
	stored := o.count
	if last != nil {
		stored--
	}
	for i := range stored {
		key := Pair[K, int32]{o.key, int32(i)}
		value, _, ok, err := b.store.Get(key)
		if err == nil && ok {
			values = append(values, value)
			err = b.store.Delete(key, o.timestamp)
		}
		if err != nil {
			return nil, err
		}
	}
	if last != nil {
		values = append(values, *last)
	}
	return values, nil
}

// closeOldBatches emits the batches that have been open for long enough.
func closeOldBatches[K, V, V2 any](b *batches[K, V, V2], now int64) error {
	for len(b.byAge) > 0 && (b.byAge[0].closed || b.byAge[0].since+b.c.Every <= now) {
		o := b.byAge[0]
		b.byAge[0] = nil
		b.byAge = b.byAge[1:]
		if o.closed {
			continue
		}
		if _, err := b.in.Attempt(o.timestamp, func() error { return closeBatches(b, o, nil, nil) }); err != nil {
			return err
		}
	}
	return nil
}
