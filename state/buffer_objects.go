package state

// bufferObjects bounds the decoded values that a buffer keeps, by their number and by their memory.
type bufferObjects struct {
	kept int
	max  int
	next int   // the index to reuse when there are max of them
	size int64 // of the type
}

// bufferObjectsMax is how many decoded values a buffer keeps at most.
const bufferObjectsMax = 1 << 16

// placeObject returns the index for another decoded value: a new one, or that of an earlier value.
func (b *segmentedLog) placeObject() (at int) {
	o := &b.objects
	if o.kept < o.max {
		o.kept++
		if o.kept%countedObjects == 0 {
			b.base.tx.grow(countedObjects * b.objectBytes())
		}
		return o.kept - 1
	}
	at = o.next
	o.next = (at + 1) % o.kept
	return at
}

// objectBytes is about the memory of a decoded value, as of those of other stores.
func (b *segmentedLog) objectBytes() int64 {
	var live, rows int64
	for _, t := range b.live {
		live += t.asLog.bytes.live
		rows += int64(t.asLog.count)
	}
	return objectBytes(b.objects.size, live, rows)
}

// boundObjects gives the decoded values their part of the memory.
func (b *segmentedLog) boundObjects() {
	part := b.base.tx.bytesMax() / objectsPart / b.objectBytes()
	b.objects.max = int(min(max(part, objectsLeast), bufferObjectsMax))
	if b.objects.kept > b.objects.max {
		b.forgetObjects()
	}
}

// forgetObjects drops the decoded values.
func (b *segmentedLog) forgetObjects() {
	b.objects.kept, b.objects.next = 0, 0
	b.forget()
}
