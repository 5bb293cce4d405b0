package state

import (
	"unsafe"

	"thalweg/state/internal/table"
)

// rawValue is the payload of a value with pointers: its bytes in the arena, its decoded object, or both. An entry that
// was not changed since the last drain has its bytes always.
type rawValue struct {
	place
	object uint32 // index + 1 among the objects
}

const rawBytes = unsafe.Sizeof(rawValue{})

func rawAt(p unsafe.Pointer) *rawValue { return (*rawValue)(p) }

// raw is the keeper of values with pointers. The decoded objects lie elsewhere, for they have a type: raw knows them by
// their numbers.
type raw struct {
	arena
	values  typed
	views   bool // strings and bytes: encoding is copying, decoding is looking, so no objects are kept
	table   *table.Table
	owners  []uint32 // of the objects: the entry's index + 1, 0 = none
	free    []uint32 // numbers of objects
	scratch []byte

	tx         *Tx
	objectSize int64 // of the type; an object counts more, for what it points to
	objectsMax int   // how many are kept over a commit, and made by reading
}

const (
	// objectsMost bounds the decoded objects of a table between commits, so that the garbage collector's work is
	// bounded; objectsLeast are always kept. Objects have a part of the memory of a task's stores.
	objectsMost  = 100_000
	objectsLeast = 16
	objectsPart  = 4
	// unencodedBytes is what an object counts beside itself while none was encoded.
	unencodedBytes = 64
	// countedObjects is how many objects are made before their memory is counted.
	countedObjects = 64
)

func (r *raw) objectBytes() int64 { return objectBytes(r.objectSize, r.live, int64(r.table.Len())) }

// objectBytes is about the memory of an object of a size, where so many rows have live encoded bytes. What it points to
// is about twice as large as its encoded bytes, since each part of it is an allocation.
func objectBytes(size, live, rows int64) int64 {
	if rows > 0 && live > 0 {
		return size + 2*live/rows
	}
	return size + unencodedBytes
}

// mayKeep tells whether a decoded value is kept.
func (r *raw) mayKeep() bool { return !r.views && len(r.owners)-len(r.free) < r.objectsMax }

// moved is called when an entry has another index.
func (r *raw) moved(to uint32) {
	p := r.of(to)
	if p.chunk != 0 {
		r.arena.moved(p.place, to)
	}
	if p.object != 0 {
		r.owners[p.object-1] = to + 1
	}
}

// of returns the payload of an entry.
func (r *raw) of(index uint32) *rawValue { return rawAt(r.table.Payload(r.table.At(index))) }

// claim returns the number of the object that an entry keeps; it is at most the number of objects.
func (r *raw) claim(index uint32, p *rawValue) uint32 {
	if p.object == 0 {
		if n := len(r.free); n > 0 {
			p.object = r.free[n-1] + 1
			r.free = r.free[:n-1]
		} else {
			r.owners = append(r.owners, 0)
			p.object = uint32(len(r.owners))
			if p.object%countedObjects == 0 {
				r.tx.grow(countedObjects * r.objectBytes())
			}
		}
	}
	r.owners[p.object-1] = index + 1
	return p.object - 1
}

// put replaces the bytes of a payload, which must be taken or are released.
func (r *raw) put(index uint32, p *rawValue, encoded []byte) {
	r.releaseBytes(p)
	p.place = r.arena.put(index, encoded)
}

func (r *raw) releaseBytes(p *rawValue) {
	r.arena.release(p.place)
	p.place = place{}
}

func (r *raw) load(index uint32, p unsafe.Pointer, encoded []byte) error {
	r.drop(rawAt(p))
	r.put(index, rawAt(p), encoded)
	return nil
}

func (r *raw) appendTo(dst []byte, index uint32, p unsafe.Pointer) ([]byte, error) {
	if err := r.settle(index, p); err != nil {
		return dst, err
	}
	return append(dst, r.view(rawAt(p).place)...), nil
}

func (r *raw) encode(dst []byte, p unsafe.Pointer) ([]byte, error) { return r.values.encode(dst, p) }

// settle makes sure that a payload has its bytes.
func (r *raw) settle(index uint32, p unsafe.Pointer) error {
	v := rawAt(p)
	if v.chunk != 0 {
		return nil
	}
	encoded, err := r.values.encode(r.scratch[:0], r.values.object(v.object-1))
	if err != nil {
		return err
	}
	r.scratch = encoded
	r.put(index, v, encoded)
	return nil
}

// taken leaves the object with the entry and moves the bytes.
func (r *raw) taken(p, image unsafe.Pointer) {
	rawAt(image).object = 0
	rawAt(p).place = place{}
}

func (r *raw) release(p unsafe.Pointer) {
	r.drop(rawAt(p))
	r.releaseBytes(rawAt(p))
}

func (r *raw) outside(p unsafe.Pointer) int64 { return int64(rawAt(p).size) }

// prefetchLines reads the cache lines of entries' values, and returns a number that depends on them.
func (r *raw) prefetchLines(entries []*table.Entry) (sum uint32) {
	for _, e := range entries {
		if v := rawAt(r.table.Payload(e)); v.object == 0 && v.chunk != 0 {
			sum += prefetchValue(r.view(v.place))
		}
	}
	return sum
}

// prefetchedBytes is how much of a value is read ahead: of a longer one the processor fetches the rest in time.
const prefetchedBytes = 512

func prefetchValue(value []byte) (sum uint32) {
	const line = 64
	if len(value) == 0 {
		return 0
	}
	for at := 0; at < min(len(value), prefetchedBytes); at += line {
		sum += uint32(value[at])
	}
	return sum + uint32(value[len(value)-1])
}

func (r *raw) drop(p *rawValue) {
	if p.object == 0 {
		return
	}
	r.values.drop(int(p.object - 1))
	r.owners[p.object-1] = 0
	r.free = append(r.free, p.object-1)
	p.object = 0
}

func (r *raw) forget() {
	for _, owner := range r.owners {
		if owner != 0 {
			r.of(owner - 1).object = 0
		}
	}
	r.values.drop(allObjects)
	r.owners, r.free = nil, nil
}

func (r *raw) tidy(still bool) {
	if !still {
		return
	}
	part := r.tx.bytesMax() / objectsPart / r.objectBytes()
	r.objectsMax = int(min(max(part, objectsLeast), objectsMost))
	if len(r.owners)-len(r.free) > r.objectsMax {
		r.forget()
	}
	r.evacuate(false, false, r.placeOf)
}

func (r *raw) reclaim(held bool) { r.evacuate(true, held, r.placeOf) }

// placeOf is where an entry keeps the place of its bytes; nil: the table has become smaller than that.
func (r *raw) placeOf(index uint32) *place {
	if !r.table.Holds(index) {
		return nil
	}
	return &r.of(index).place
}

func (r *raw) bytes() int64 {
	return r.total + int64(len(r.owners)-len(r.free))*r.objectBytes() +
		int64(cap(r.owners)+cap(r.free))*4 + int64(cap(r.owners)-len(r.owners)+len(r.free))*r.objectSize
}
