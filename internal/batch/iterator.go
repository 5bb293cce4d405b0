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
	if b.raw[posMagic] == damagedMagic {
		return Iterator{}, fmt.Errorf("%w: offsets %d to %d: %s", ErrCorrupt, b.BaseOffset(), b.LastOffset(), src)
	}
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
//
// Its first lines repeat what uvarint does, because the compiler inlines no call there and a varint costs less than a
// call: two thirds of the time of a short record.
func (it *Iterator) Next(r *Record) bool {
	if it.left <= 0 {
		return it.end()
	}
	src, i := it.src, it.pos
	var size, ts, delta uint64
	if i+1 < len(src) && src[i] < 0x80 {
		size = uint64(src[i])
		i++
	} else if i+1 < len(src) && src[i+1] < 0x80 {
		size = uint64(src[i]&0x7f) | uint64(src[i+1])<<7
		i += 2
	} else {
		size, i = uvarintLong(src, i)
	}
	if i < 0 || size&1 != 0 || size>>1 > uint64(len(src)-i) {
		return it.fail("record length")
	}
	end := i + int(size>>1)
	src = src[:end]
	i++ // the attributes of a record have no meaning yet
	if i < len(src) && src[i] < 0x80 {
		ts = uint64(src[i])
		i++
	} else if i+1 < len(src) && src[i+1] < 0x80 {
		ts = uint64(src[i]&0x7f) | uint64(src[i+1])<<7
		i += 2
	} else {
		ts, i = uvarintLong(src, i)
	}
	if uint(i) < uint(len(src)) && src[i] < 0x80 {
		delta = uint64(src[i])
		i++
	} else if i >= 0 && i+1 < len(src) && src[i+1] < 0x80 {
		delta = uint64(src[i]&0x7f) | uint64(src[i+1])<<7
		i += 2
	} else {
		delta, i = uvarintLong(src, i)
	}
	offset := unzigzag(delta)
	if i < 0 || offset <= it.lastDelta || offset > it.maxDelta {
		return it.fail("offset delta")
	}
	key, i := lengthPrefixed(src, i)
	value, i := lengthPrefixed(src, i)
	if uint(i) >= uint(len(src)) {
		return it.fail("key or value")
	}
	headers := int64(0)
	if src[i] == 0 && i+1 == end {
		if r.nHeader = 0; r.headers != nil { // nearly never; and writing a pointer is not free
			r.headers = nil
		}
	} else {
		// A header takes two bytes or more.
		if headers, i = varint(src, i); i < 0 || headers <= 0 || headers > int64(end-i)/2 {
			return it.fail("headers")
		}
		r.headers, r.nHeader = src[i:end:end], int32(headers)
	}
	r.Offset = it.baseOffset + offset
	r.Timestamp = it.baseTimestamp + unzigzag(ts)
	if it.isAppendTime {
		r.Timestamp = it.appendTime
	}
	r.Key, r.Value = key, value
	it.pos, it.lastDelta = end, offset
	it.left--
	return true
}

func (it *Iterator) end() bool {
	if it.pos != len(it.src) && it.err == nil {
		return it.fail("bytes after the last record")
	}
	return false
}

func (it *Iterator) fail(what string) bool {
	it.err = fmt.Errorf("%w: %s, after offset %d", ErrCorrupt, what, it.baseOffset+it.lastDelta)
	it.left, it.pos = 0, len(it.src)
	return false
}
