package state

import (
	"reflect"
	"unsafe"

	"thalweg/serde"
	"thalweg/state/engine"
	"thalweg/state/internal/table"
)

// cache is a row cache without its payload type: what a Tx does with it.
type cache interface {
	drain(emit func(Store, []byte, []byte, int64) error) error
	commit()
	discard()
	checkpoint(b engine.Batch) error
	checkpointed()
	waits() bool
	restore(key, value []byte, timestamp int64) error
	relieve(part float64) error // gives back about that part of the memory
	empty()
	memoryBytes() int64
	dirtyBytes() int64
	waitingBytes() int64
}

// typedCache is a rowCache with typed values. The rowCache and its valueStorage know no types, so this is all that each
// value type costs the compiler. Functions work on a typedCache, not methods: the compiler makes each method of a
// generic type twice in every package that mentions the type.
type typedCache[V any] struct {
	rows    *rowCache
	boxed   *boxedValues // nil: values hold no pointers, and lie in their entries
	values  serde.Serde[V]
	objects []V // of boxed, by number
}

// openTypedCache makes the row cache of c. c must not move from now on.
func openTypedCache[V any](c *typedCache[V], r *storeBase, prefix []byte, skip int, values serde.Serde[V]) {
	c.values = values
	c.rows, c.boxed = newUntypedCache(r, prefix, skip, reflect.TypeFor[V](), values, valueCodec{
		encode: func(dst []byte, p unsafe.Pointer) ([]byte, error) { return c.values.Append(dst, *(*V)(p)) },
		decode: func(src []byte, p unsafe.Pointer) (err error) {
			*(*V)(p), err = c.values.Decode(src)
			return err
		},
		object: func(number uint32) unsafe.Pointer { return unsafe.Pointer(&c.objects[number]) },
		drop: func(number int) {
			if number == allObjects {
				c.objects = nil
				return
			}
			var none V
			c.objects[number] = none
		},
	})
}

// newUntypedCache returns the parts of a typedCache that have no type. The second is nil for inline values.
func newUntypedCache(
	r *storeBase, prefix []byte, skip int, of reflect.Type, values any, t valueCodec,
) (*rowCache, *boxedValues) {
	if isInline(of) {
		return newRowCache(r, prefix, table.New(r.seed, skip, of.Size()), inlineValues{t}), nil
	}
	v := &boxedValues{
		values: t, table: table.New(r.seed, skip, boxedBytes), tx: r.tx,
		objectSize: int64(of.Size()), objectsMax: objectsMost,
	}
	v.arena.grown = r.tx.grow
	v.views = areViews(values)
	return newRowCache(r, prefix, v.table, v), v
}

// areViews tells whether a serde's values are views of their bytes.
func areViews(values any) bool {
	switch values.(type) {
	case serde.String, serde.Bytes:
		return true
	}
	return false
}

// decodesFreely tells whether decoding values costs no more than keeping them.
func decodesFreely(of reflect.Type, values any) bool {
	return areViews(values) || of.Kind() < reflect.Array
}

// keepObject makes an object the value of an entry.
func keepObject[V any](c *typedCache[V], index uint32, p *boxedValue, value V) {
	if at := int(c.boxed.objectOf(index, p)); at < len(c.objects) {
		c.objects[at] = value
	} else {
		c.objects = append(c.objects, value)
	}
}

func cachedValue[V any](c *typedCache[V], index uint32) (value V, timestamp int64, ok bool, err error) {
	e := c.rows.At(index)
	if !e.Has(table.Present) {
		return value, 0, false, nil
	}
	if c.boxed == nil {
		return *(*V)(c.rows.Payload(e)), e.Timestamp, true, nil
	}
	p := boxedAt(c.rows.Payload(e))
	if p.object != 0 {
		return c.objects[p.object-1], e.Timestamp, true, nil
	}
	if value, err = c.values.Decode(c.boxed.view(p.arenaRef)); err != nil {
		return value, 0, false, decodeError(c.rows.base.name, "value", err)
	}
	if c.boxed.mayKeep() {
		keepObject(c, index, p, value)
	}
	return value, e.Timestamp, true, nil
}

func setValue[V any](c *typedCache[V], index uint32, value V, timestamp int64) error {
	if c.rows.base.strict {
		return setValueStrictly(c, index, value, timestamp)
	}
	e := c.rows.At(index)
	switch {
	case c.boxed == nil:
		c.rows.change(index, e)
		*(*V)(c.rows.Payload(e)) = value
	case c.boxed.views:
		encoded, err := c.values.Append(c.boxed.scratch[:0], value)
		if err == nil {
			c.boxed.scratch = encoded
			err = c.rows.base.checkSize(c.rows.Key(e), len(c.rows.suffix), len(encoded))
		}
		if err != nil {
			return err
		}
		c.rows.change(index, e)
		c.boxed.put(index, boxedAt(c.rows.Payload(e)), encoded)
	default:
		c.rows.change(index, e)
		c.boxed.releaseBytes(boxedAt(c.rows.Payload(e)))
		keepObject(c, index, boxedAt(c.rows.Payload(e)), value)
	}
	e.Timestamp = timestamp
	e.Mark(table.Present)
	return nil
}

// setValueStrictly is setValue for a value that is encoded before it is put. The bytes are kept, so that the entry can
// go back to them.
//
//go:noinline // so that value escapes here alone
func setValueStrictly[V any](c *typedCache[V], index uint32, value V, timestamp int64) error {
	encoded, err := c.rows.checkValue(index, unsafe.Pointer(&value))
	if err != nil {
		return err
	}
	e := c.rows.At(index)
	c.rows.change(index, e)
	if c.boxed == nil {
		*(*V)(c.rows.Payload(e)) = value
	} else {
		p := boxedAt(c.rows.Payload(e))
		c.boxed.put(index, p, encoded)
		if !c.boxed.views {
			keepObject(c, index, p, value)
		}
	}
	e.Timestamp = timestamp
	e.Mark(table.Present)
	return nil
}

// lastEmitted returns the value as of the last flush, and whether it has changed since.
func lastEmitted[V any](c *typedCache[V], index uint32) (value V, timestamp int64, ok, changed bool, err error) {
	e := c.rows.At(index)
	if !e.Has(table.DirtyFlush) {
		value, timestamp, ok, err = cachedValue(c, index)
		return value, timestamp, ok, false, err
	}
	was, payload := c.rows.image(e)
	switch {
	case !was.present:
		return value, 0, false, true, nil
	case c.boxed == nil:
		return *(*V)(payload), was.timestamp, true, true, nil
	}
	if value, err = c.values.Decode(c.boxed.view(boxedAt(payload).arenaRef)); err != nil {
		return value, 0, false, true, decodeError(c.rows.base.name, "value", err)
	}
	return value, was.timestamp, true, true, nil
}

// emission is the change of one entry between two flushes.
type emission[V any] struct {
	old, new       V
	hasOld, hasNew bool
	timestamp      int64
}

// flushed prepares the emission of an entry.
func flushed[V any](c *typedCache[V], index uint32, withOld bool) (t emission[V], err error) {
	was, payload := c.rows.flushed(index)
	e := c.rows.At(index)
	t = emission[V]{hasOld: was.present, hasNew: e.Has(table.Present), timestamp: e.Timestamp}
	if c.boxed == nil {
		if t.hasOld && withOld {
			t.old = *(*V)(payload)
		}
		if t.hasNew {
			t.new = *(*V)(c.rows.Payload(e))
		}
		return t, nil
	}
	if t.hasOld && withOld {
		if t.old, err = c.values.Decode(c.boxed.view(boxedAt(payload).arenaRef)); err != nil {
			return t, decodeError(c.rows.base.name, "value", err)
		}
	}
	if t.hasNew {
		if withOld { // the object may change in place after this: the next flush's old value is what it is now
			if err = c.boxed.ensureEncoded(index, c.rows.Payload(e)); err != nil {
				return t, c.rows.base.valueError(c.rows.Key(e), err)
			}
		}
		t.new, _, _, err = cachedValue(c, index)
	}
	return t, err
}

// send passes the change of an entry, whose key is head, to a flush listener.
func send[K, V any](
	c *typedCache[V], keys *keyCodec[K], index uint32, head []byte, stays, withOld bool,
	out *Flushed[K, V], f func(*Flushed[K, V]) error,
) error {
	e, err := flushed(c, index, withOld)
	if err != nil || !e.hasOld && !e.hasNew {
		return err
	}
	if out.Key, err = decodeView(keys, head, stays, c.rows.base); err != nil {
		return err
	}
	out.Old, out.New, out.HasOld, out.HasNew = e.old, e.new, e.hasOld, e.hasNew
	out.Timestamp = e.timestamp
	return f(out)
}

// rowValue returns the value of what a scan found.
func rowValue[V any](c *typedCache[V], r row) (value V, timestamp int64, err error) {
	if r.entry {
		value, timestamp, _, err = cachedValue(c, r.index)
		return value, timestamp, err
	}
	value, err = c.values.Decode(r.value)
	return value, r.timestamp, err
}

// keyCodec encodes and decodes keys.
type keyCodec[K any] struct {
	serde   serde.Serde[K]
	encoder serde.Encoder[K]
	inline  bool // decoding keeps no view of the bytes
}

//go:noinline // see package comment
func newKeyCodec[K any](s serde.Serde[K]) keyCodec[K] {
	return keyCodec[K]{serde: serde.Local(s), encoder: serde.NewEncoder(s), inline: isInline(reflect.TypeFor[K]())}
}

// keyBytes returns the encoding of a key, valid until the next call.
func keyBytes[K any](k *keyCodec[K], key K) ([]byte, error) { return k.encoder.Encode(key) }

// decodeView decodes a view of an entry's key.
func decodeView[K any](k *keyCodec[K], view []byte, stays bool, r *storeBase) (key K, err error) {
	if !stays && !k.inline {
		view = r.tx.views.copy(view)
	}
	if key, err = k.serde.Decode(view); err != nil {
		err = decodeError(r.name, "key", err)
	}
	return key, err
}

// isNull tells whether a value is null, of a type that has a null (see serde.IsNilable).
func isNull[V any](nilable bool, value V) bool {
	return nilable && serde.IsNull(unsafe.Pointer(&value))
}
