package state

import (
	"thalweg/serde"
	"thalweg/state/internal/table"
)

// rawValue is the payload of a value with pointers: its bytes in the arena, its decoded object, or both. An entry that
// was not changed since the last drain has its bytes always.
type rawValue struct {
	place
	object uint32 // index + 1 among the objects
}

// raw is the vault of values with pointers.
type raw[V any] struct {
	arena
	values  serde.Serde[V]
	views   bool // strings and bytes: encoding is copying, decoding is looking, so no objects are kept
	table   *table.Table[rawValue]
	objects []object[V]
	free    []uint32
	scratch []byte
}

type object[V any] struct {
	value V
	owner uint32
	used  bool
}

// objectsMax bounds the decoded objects of a shelf between commits, so that the garbage collector's work is bounded.
const objectsMax = 100_000

func newRaw[V any](values serde.Serde[V], t *table.Table[rawValue]) *raw[V] {
	v := &raw[V]{values: values, table: t}
	switch any(values).(type) {
	case serde.String, serde.Bytes:
		v.views = true
	}
	return v
}

// value returns the decoded value of a present entry.
func (r *raw[V]) value(index uint32, p *rawValue) (V, error) {
	if p.object != 0 {
		return r.objects[p.object-1].value, nil
	}
	v, err := r.values.Decode(r.view(p.place))
	if err == nil && !r.views {
		r.keep(index, p, v)
	}
	return v, err
}

// set makes v the payload; the bytes of the old one must be taken or are released.
func (r *raw[V]) set(index uint32, p *rawValue, v V) error {
	if !r.views {
		r.release0(p)
		r.keep(index, p, v)
		return nil
	}
	encoded, err := r.values.Append(r.scratch[:0], v)
	if err != nil {
		return err
	}
	r.scratch = encoded
	r.release0(p)
	p.place = r.put(index, encoded)
	return nil
}

func (r *raw[V]) release0(p *rawValue) {
	r.arena.release(p.place)
	p.place = place{}
}

func (r *raw[V]) keep(index uint32, p *rawValue, v V) {
	if p.object == 0 {
		if n := len(r.free); n > 0 {
			p.object = r.free[n-1] + 1
			r.free = r.free[:n-1]
		} else {
			r.objects = append(r.objects, object[V]{})
			p.object = uint32(len(r.objects))
		}
	}
	r.objects[p.object-1] = object[V]{value: v, owner: index, used: true}
}

func (r *raw[V]) load(index uint32, p *rawValue, encoded []byte) error {
	r.drop(p)
	r.release0(p)
	p.place = r.put(index, encoded)
	return nil
}

func (r *raw[V]) appendTo(dst []byte, index uint32, p *rawValue) ([]byte, error) {
	if err := r.settle(index, p); err != nil {
		return dst, err
	}
	return append(dst, r.view(p.place)...), nil
}

// settle makes sure that a payload has its bytes.
func (r *raw[V]) settle(index uint32, p *rawValue) error {
	if p.chunk != 0 {
		return nil
	}
	encoded, err := r.values.Append(r.scratch[:0], r.objects[p.object-1].value)
	if err != nil {
		return err
	}
	r.scratch = encoded
	p.place = r.put(index, encoded)
	return nil
}

// take leaves the object with the entry and moves the bytes.
func (r *raw[V]) take(p *rawValue) rawValue {
	taken := rawValue{place: p.place}
	p.place = place{}
	return taken
}

func (r *raw[V]) release(p *rawValue) {
	r.drop(p)
	r.release0(p)
}

func (r *raw[V]) drop(p *rawValue) {
	if p.object == 0 {
		return
	}
	r.objects[p.object-1] = object[V]{}
	r.free = append(r.free, p.object-1)
	p.object = 0
}

func (r *raw[V]) forget() {
	for i := range r.objects {
		if o := &r.objects[i]; o.used {
			r.table.At(o.owner).Value.object = 0
		}
	}
	r.objects, r.free = nil, nil
}

func (r *raw[V]) tidy(still bool) {
	if !still {
		return
	}
	if len(r.objects)-len(r.free) > objectsMax {
		r.forget()
	}
	r.evacuate(func(owner uint32) *place { return &r.table.At(owner).Value.place })
}

func (r *raw[V]) bytes() int64 { return r.total + int64(len(r.objects))*64 }
