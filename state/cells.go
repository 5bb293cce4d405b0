package state

import (
	"unsafe"

	"thalweg/serde"
	"thalweg/state/engine"
	"thalweg/state/internal/table"
)

// tier is a shelf without its payload type: what a Tx does with it.
type tier interface {
	drain(emit func(Store, []byte, []byte, int64) error) error
	commit()
	discard()
	checkpoint(b engine.Batch) error
	checkpointed()
	waits() bool
	restore(key, value []byte, timestamp int64) error
	evict(want int) int
	empty()
	grant(entries int)
	entries() int
	memoryBytes() int64
	dirtyBytes() int64
	waitingBytes() int64
}

// cells is a shelf with typed values: flat where values hold no pointers, else raw.
type cells[V any] struct {
	flat  *shelf[V]
	raw   *shelf[rawValue]
	vault *raw[V]
}

func newCells[V any](r *room, prefix []byte, skip int, values serde.Serde[V], inline bool) cells[V] {
	var c cells[V]
	if inline {
		c.flat = newShelf(r, prefix, skip, func(*table.Table[V]) vault[V] { return flat[V]{values: values} })
		return c
	}
	c.raw = newShelf(r, prefix, skip, func(t *table.Table[rawValue]) vault[rawValue] {
		c.vault = newRaw(values, t)
		return c.vault
	})
	return c
}

func (c *cells[V]) tier() tier {
	if c.flat != nil {
		return c.flat
	}
	return c.raw
}

func (c *cells[V]) find(key []byte) (uint32, error) {
	if c.flat != nil {
		return c.flat.find(key)
	}
	return c.raw.find(key)
}

func (c *cells[V]) lookup(key []byte) (uint32, bool, error) {
	if c.flat != nil {
		return c.flat.lookup(key)
	}
	return c.raw.lookup(key)
}

func (c *cells[V]) value(index uint32) (value V, timestamp int64, ok bool, err error) {
	if c.flat != nil {
		e := c.flat.At(index)
		if !e.Has(table.Present) {
			return value, 0, false, nil
		}
		return e.Value, e.Timestamp, true, nil
	}
	e := c.raw.At(index)
	if !e.Has(table.Present) {
		return value, 0, false, nil
	}
	value, err = c.vault.value(index, &e.Value)
	if err != nil {
		return value, 0, false, decodeError(c.raw.room.name, "value", err)
	}
	return value, e.Timestamp, true, nil
}

func (c *cells[V]) set(index uint32, value V, timestamp int64) error {
	if c.flat != nil {
		e := c.flat.At(index)
		c.flat.change(index, e)
		e.Value, e.Timestamp = value, timestamp
		e.Mark(table.Present)
		return nil
	}
	e := c.raw.At(index)
	c.raw.change(index, e)
	if err := c.vault.set(index, &e.Value, value); err != nil {
		return err
	}
	e.Timestamp = timestamp
	e.Mark(table.Present)
	return nil
}

func (c *cells[V]) remove(index uint32, timestamp int64) {
	if c.flat != nil {
		e := c.flat.At(index)
		c.flat.change(index, e)
		e.Timestamp = timestamp
		e.Clear(table.Present)
		return
	}
	e := c.raw.At(index)
	c.raw.change(index, e)
	c.vault.release(&e.Value)
	e.Timestamp = timestamp
	e.Clear(table.Present)
}

// told is one entry between two flushes.
type told[V any] struct {
	old, new       V
	hasOld, hasNew bool
	timestamp      int64
}

// flushed prepares the emission of an entry.
func (c *cells[V]) flushed(index uint32, withOld bool) (t told[V], err error) {
	if c.flat != nil {
		img := c.flat.flushed(index)
		e := c.flat.At(index)
		t = told[V]{hasOld: img.present, hasNew: e.Has(table.Present), timestamp: e.Timestamp}
		if t.hasOld && withOld {
			t.old = img.value
		}
		if t.hasNew {
			t.new = e.Value
		}
		return t, nil
	}
	img := c.raw.flushed(index)
	e := c.raw.At(index)
	t = told[V]{hasOld: img.present, hasNew: e.Has(table.Present), timestamp: e.Timestamp}
	if t.hasOld && withOld {
		if t.old, err = c.vault.values.Decode(c.vault.view(img.value.place)); err != nil {
			return t, decodeError(c.raw.room.name, "value", err)
		}
	}
	if t.hasNew {
		if withOld { // the object may change in place after this: the next flush's old value is what it is now
			if err = c.vault.settle(index, &e.Value); err != nil {
				return t, err
			}
		}
		t.new, err = c.vault.value(index, &e.Value)
	}
	return t, err
}

// key returns a view of an entry's key.
func (c *cells[V]) key(index uint32) (key []byte, stays bool) {
	if c.flat != nil {
		e := c.flat.At(index)
		return c.flat.Key(e), c.flat.KeyStays(e)
	}
	e := c.raw.At(index)
	return c.raw.Key(e), c.raw.KeyStays(e)
}

func (c *cells[V]) send(f func(index uint32) error) {
	if c.flat != nil {
		c.flat.sender = f
		return
	}
	c.raw.sender = f
}

func (c *cells[V]) scan(lower, upper []byte, reverse bool, yield func(row) bool) error {
	if c.flat != nil {
		return c.flat.scan(lower, upper, reverse, yield)
	}
	return c.raw.scan(lower, upper, reverse, yield)
}

// rowValue returns the value of what a scan found.
func (c *cells[V]) rowValue(r row) (value V, timestamp int64, err error) {
	if r.entry {
		value, timestamp, _, err = c.value(r.index)
		return value, timestamp, err
	}
	if c.flat != nil {
		err = c.flat.vault.load(0, &value, r.value)
	} else {
		value, err = c.vault.values.Decode(r.value)
	}
	return value, r.timestamp, err
}

// keyring turns keys into bytes and back.
type keyring[K any] struct {
	serde   serde.Serde[K]
	asBytes bool // a string or bytes: the key's own memory is its encoding
	flat    bool // decoding keeps no view
	scratch []byte
}

func newKeyring[K any](s serde.Serde[K]) keyring[K] {
	k := keyring[K]{serde: serde.Local(s), flat: isFlat[K]()}
	switch any(s).(type) {
	case serde.String:
		var zero K
		_, k.asBytes = any(zero).(string)
	}
	return k
}

// bytes returns the encoding of a key, valid until the next call.
func (k *keyring[K]) bytes(key K) ([]byte, error) {
	if k.asBytes {
		s := *(*string)(unsafe.Pointer(&key))
		return unsafe.Slice(unsafe.StringData(s), len(s)), nil
	}
	b, err := k.serde.Append(k.scratch[:0], key)
	k.scratch = b
	return b, err
}

// key decodes a view of an entry's key.
func (k *keyring[K]) key(view []byte, stays bool, memory *stable) (K, error) {
	if !stays && !k.flat {
		view = memory.copy(view)
	}
	return k.serde.Decode(view)
}

// startComplete says whether the engine has nothing for the shelf.
func (c *cells[V]) startComplete(empty bool) {
	if c.flat != nil {
		c.flat.complete = empty
	} else {
		c.raw.complete = empty
	}
}

func (c *cells[V]) complete() bool {
	if c.flat != nil {
		return c.flat.complete
	}
	return c.raw.complete
}

func (c *cells[V]) number() uint32 {
	if c.flat != nil {
		return c.flat.number
	}
	return c.raw.number
}

// logSuffix sets the bytes behind each key in the changelog.
func (c *cells[V]) logSuffix(suffix []byte) {
	if c.flat != nil {
		c.flat.suffix = suffix
	} else {
		c.raw.suffix = suffix
	}
}

// each walks the keys that are head and what the hash leaves out.
func (c *cells[V]) each(head []byte, f func(index uint32, key []byte) bool) {
	if c.flat != nil {
		c.flat.Each(head, f)
	} else {
		c.raw.Each(head, f)
	}
}

// nullness tells whether a value is null.
type nullness[V any] struct {
	test func(*V) bool // nil when there is no null
	slot *V            // what test looks at: a pointer to a parameter would cost an allocation per call
}

func newNullness[V any]() nullness[V] {
	n := nullness[V]{test: serde.NullOf[V]()}
	if n.test != nil {
		n.slot = new(V)
	}
	return n
}

func (n nullness[V]) is(value V) bool { return n.test != nil && n.look(value) }

func (n nullness[V]) look(value V) bool {
	*n.slot = value
	null := n.test(n.slot)
	var none V
	*n.slot = none
	return null
}

// sealAll drains without telling anybody.
func (c *cells[V]) sealAll() error {
	if c.flat != nil {
		return c.flat.seal()
	}
	return c.raw.seal()
}
