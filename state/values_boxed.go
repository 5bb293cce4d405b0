package state

import (
	"unsafe"

	"thalweg/state/internal/table"
)

// boxedValue is the payload of a value with pointers: its bytes in the arena, its decoded object, or both. An entry
// that did not change since the last drain always has its bytes.
type boxedValue struct {
	arenaRef
	object uint32 // index + 1 among the objects
}

const boxedBytes = unsafe.Sizeof(boxedValue{})

func boxedAt(p unsafe.Pointer) *boxedValue { return (*boxedValue)(p) }

// boxedValues stores values with pointers. The typedCache owns the decoded objects, because they have a type;
// boxedValues refers to them by number.
type boxedValues struct {
	arena
	values  valueCodec
	views   bool // strings and bytes: decoding only makes a view of the bytes, so no objects are kept
	table   *table.Table
	owners  []uint32 // of the objects: the entry's index + 1, 0 = none
	free    []uint32 // numbers of objects
	scratch []byte

	tx         *Tx
	objectSize int64 // of the type, without what an object points to
	objectsMax int   // how many objects reads may make, and a commit keeps
}

const (
	// objectsMost bounds the decoded objects that a table keeps over a commit, and so the work of the garbage
	// collector. objectsLeast are always kept. Objects get at most 1/objectsPart of the memory of a task's stores.
	objectsMost  = 100_000
	objectsLeast = 16
	objectsPart  = 4
	// unencodedBytes is the assumed size of what an object points to, until a value was encoded.
	unencodedBytes = 64
	// countedObjects is how many objects are made before their memory is counted.
	countedObjects = 64
)

func (r *boxedValues) objectBytes() int64 {
	return objectBytes(r.objectSize, r.live, int64(r.table.Len()))
}

// objectBytes estimates the memory of one object of that size, in a store with so many rows and so many live encoded
// bytes. What an object points to takes about twice its encoded bytes, since each part of it is an allocation.
func objectBytes(size, live, rows int64) int64 {
	if rows > 0 && live > 0 {
		return size + 2*live/rows
	}
	return size + unencodedBytes
}

// mayKeep reports whether there is room to keep another decoded object.
func (r *boxedValues) mayKeep() bool { return !r.views && len(r.owners)-len(r.free) < r.objectsMax }

// moved is called after an entry moved to another index.
func (r *boxedValues) moved(to uint32) {
	p := r.of(to)
	if p.chunk != 0 {
		r.arena.moved(p.arenaRef, to)
	}
	if p.object != 0 {
		r.owners[p.object-1] = to + 1
	}
}

// of returns the payload of an entry.
func (r *boxedValues) of(index uint32) *boxedValue {
	return boxedAt(r.table.Payload(r.table.At(index)))
}

// objectOf returns the number of an entry's object, which it assigns when the entry has none. A new number is at most
// the number of objects.
func (r *boxedValues) objectOf(index uint32, p *boxedValue) uint32 {
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

// put replaces the bytes of a payload and releases the old ones, unless an image has taken them: see captured.
func (r *boxedValues) put(index uint32, p *boxedValue, encoded []byte) {
	r.releaseBytes(p)
	p.arenaRef = r.arena.put(index, encoded)
}

func (r *boxedValues) releaseBytes(p *boxedValue) {
	r.arena.release(p.arenaRef)
	p.arenaRef = arenaRef{}
}

func (r *boxedValues) load(index uint32, p unsafe.Pointer, encoded []byte) error {
	r.drop(boxedAt(p))
	r.put(index, boxedAt(p), encoded)
	return nil
}

func (r *boxedValues) appendTo(dst []byte, index uint32, p unsafe.Pointer) ([]byte, error) {
	if err := r.ensureEncoded(index, p); err != nil {
		return dst, err
	}
	return append(dst, r.view(boxedAt(p).arenaRef)...), nil
}

func (r *boxedValues) encode(dst []byte, p unsafe.Pointer) ([]byte, error) {
	return r.values.encode(dst, p)
}

// ensureEncoded encodes the object of a payload that has no bytes yet.
func (r *boxedValues) ensureEncoded(index uint32, p unsafe.Pointer) error {
	v := boxedAt(p)
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

// captured leaves the object with the entry and moves the bytes to the image.
func (r *boxedValues) captured(p, image unsafe.Pointer) {
	boxedAt(image).object = 0
	boxedAt(p).arenaRef = arenaRef{}
}

func (r *boxedValues) release(p unsafe.Pointer) {
	r.drop(boxedAt(p))
	r.releaseBytes(boxedAt(p))
}

func (r *boxedValues) outsideBytes(p unsafe.Pointer) int64 { return int64(boxedAt(p).size) }

// prefetchLines reads the cache lines of the entries' values. The sum depends on them, so that the compiler keeps the
// reads.
func (r *boxedValues) prefetchLines(entries []*table.Entry) (sum uint32) {
	for _, e := range entries {
		if v := boxedAt(r.table.Payload(e)); v.object == 0 && v.chunk != 0 {
			sum += prefetchValue(r.view(v.arenaRef))
		}
	}
	return sum
}

// prefetchedBytes is how much of a value is prefetched. The processor's own prefetcher follows with the rest of a
// longer one.
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

func (r *boxedValues) drop(p *boxedValue) {
	if p.object == 0 {
		return
	}
	r.values.drop(int(p.object - 1))
	r.owners[p.object-1] = 0
	r.free = append(r.free, p.object-1)
	p.object = 0
}

func (r *boxedValues) dropObjects() {
	for _, owner := range r.owners {
		if owner != 0 {
			r.of(owner - 1).object = 0
		}
	}
	r.values.drop(allObjects)
	r.owners, r.free = nil, nil
}

func (r *boxedValues) committed(noImages bool) {
	if !noImages {
		return
	}
	part := r.tx.bytesMax() / objectsPart / r.objectBytes()
	r.objectsMax = int(min(max(part, objectsLeast), objectsMost))
	if len(r.owners)-len(r.free) > r.objectsMax {
		r.dropObjects()
	}
	r.evacuate(false, false, r.refOf)
}

func (r *boxedValues) reclaim(images bool) { r.evacuate(true, images, r.refOf) }

// placeOf returns the reference that an entry holds to its bytes; nil if the table has no such entry any more.
func (r *boxedValues) refOf(index uint32) *arenaRef {
	if !r.table.Holds(index) {
		return nil
	}
	return &r.of(index).arenaRef
}

func (r *boxedValues) bytes() int64 {
	return r.total + int64(len(r.owners)-len(r.free))*r.objectBytes() +
		int64(cap(r.owners)+cap(r.free))*4 + int64(cap(r.owners)-len(r.owners)+len(r.free))*r.objectSize
}
