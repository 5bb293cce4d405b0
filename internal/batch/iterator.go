package batch

import "fmt"

// Iterator walks the records of a batch without allocating. Its zero value is empty.
type Iterator struct {
	src           []byte // uncompressed records
	pos           int
	left          int // records still to come
	baseOffset    int64
	baseTimestamp int64
	lastDelta     int64 // offset delta of the record before, -1 at first
	maxDelta      int64
	appendTime    int64 // the timestamp of every record, when isAppendTime
	isAppendTime  bool
	err           error
}

// Records returns an iterator over the records. Compressed records are decompressed at once, into memory of their own
// and within d's limit; d may be nil, which means a decoder with the default limit.
func (b Batch) Records(d *Decoder) (Iterator, error) {
	src := b.payload()
	if c := b.Compression(); c != None {
		if d == nil {
			d = new(Decoder)
		}
		var err error
		if src, err = d.decompress(c, src); err != nil {
			return Iterator{}, fmt.Errorf("batch: records from offset %d: %w", b.BaseOffset(), err)
		}
	}
	base := b.BaseTimestamp()
	return Iterator{
		src:           src,
		left:          b.Count(),
		baseOffset:    b.BaseOffset(),
		baseTimestamp: base,
		lastDelta:     -1,
		maxDelta:      int64(b.LastOffsetDelta()),
		appendTime:    b.MaxTimestamp(),
		isAppendTime:  b.IsLogAppendTime(),
	}, nil
}

// Left returns the number of records still to come.
func (it *Iterator) Left() int { return it.left }

// Err returns what ended the walk early, if anything did.
func (it *Iterator) Err() error { return it.err }

// Next decodes the next record into r and tells whether there was one. At the end, or at an error (see Err), r is left
// as it was.
func (it *Iterator) Next(r *Record) bool {
	if it.left <= 0 {
		if it.pos != len(it.src) && it.err == nil {
			it.fail("bytes after the last record")
		}
		return false
	}
	n, i := varint(it.src, it.pos)
	if i < 0 || n < 0 || n > int64(len(it.src)-i) {
		it.fail("record length")
		return false
	}
	end := i + int(n)
	src := it.src[:end:end]
	i++ // the attributes of a record have no meaning yet
	timestamp, i := varint(src, i)
	delta, i := varint(src, i)
	if i < 0 || delta <= it.lastDelta || delta > it.maxDelta {
		it.fail("offset delta")
		return false
	}
	keySize, i := varint(src, i)
	if i < 0 || keySize < -1 || keySize > int64(end-i) {
		it.fail("key")
		return false
	}
	var key []byte
	if keySize >= 0 {
		k := i + int(keySize)
		key = src[i:k:k]
		i = k
	}
	valueSize, i := varint(src, i)
	if i < 0 || valueSize < -1 || valueSize > int64(end-i) {
		it.fail("value")
		return false
	}
	var value []byte
	if valueSize >= 0 {
		v := i + int(valueSize)
		value = src[i:v:v]
		i = v
	}
	headers, i := varint(src, i)
	// A header takes two bytes or more.
	if i < 0 || headers < 0 || headers > int64(end-i)/2 || headers == 0 && i != end {
		it.fail("headers")
		return false
	}
	r.Offset = it.baseOffset + delta
	r.Timestamp = it.baseTimestamp + timestamp
	if it.isAppendTime {
		r.Timestamp = it.appendTime
	}
	r.Key, r.Value = key, value
	r.headers, r.nHeader = src[i:], int32(headers)
	it.pos, it.lastDelta = end, delta
	it.left--
	return true
}

func (it *Iterator) fail(what string) {
	it.err = fmt.Errorf("%w: %s, after offset %d", ErrCorrupt, what, it.baseOffset+it.lastDelta)
	it.left, it.pos = 0, len(it.src)
}
