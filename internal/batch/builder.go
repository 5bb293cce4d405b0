package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Producer is what an idempotent producer stamps on a batch. The one without idempotence is NoProducer.
type Producer struct {
	ID            int64
	Epoch         int16
	Sequence      int32 // of the first record
	Transactional bool
}

// NoProducer returns the identity of a producer that is not idempotent.
func NoProducer() Producer { return Producer{ID: -1, Epoch: -1, Sequence: -1} }

// Builder encodes records into one batch. Records are encoded as they come; the header is filled in by Finish. It keeps
// its memory over Reset and is used by one goroutine at a time.
type Builder struct {
	raw           []byte // HeaderBytes of room, then the encoded records
	packed        []byte // the finished batch when it is compressed
	count         int
	baseTimestamp int64
	maxTimestamp  int64
	compression   Compression
	encoder       encoder
}

// NewBuilder returns an empty builder whose batches are compressed by c.
func NewBuilder(c Compression) *Builder {
	return &Builder{raw: make([]byte, HeaderBytes, 4096), compression: c}
}

// Len returns the number of records so far.
func (b *Builder) Len() int { return b.count }

// Size returns the number of bytes that the batch would have, uncompressed.
func (b *Builder) Size() int { return len(b.raw) }

// Reset empties the builder. The slice that Finish returned is overwritten from now on.
func (b *Builder) Reset() {
	b.raw = b.raw[:HeaderBytes]
	b.count = 0
}

// Append adds a record and copies all of it. A nil key or value is null. The timestamp is in milliseconds.
func (b *Builder) Append(timestamp int64, key, value []byte, headers []Header) {
	if b.count == 0 {
		b.baseTimestamp, b.maxTimestamp = timestamp, timestamp
	} else if timestamp > b.maxTimestamp {
		b.maxTimestamp = timestamp
	}
	// The length comes first and is known last: guess how many bytes it takes, and move the record if that was wrong.
	start, guess := len(b.raw), 2
	if len(key)+len(value) < 48 {
		guess = 1
	}
	room := recordOverhead + len(key) + len(value)
	if len(headers) > 0 {
		room += headersSize(headers)
	}
	if cap(b.raw)-start < room {
		b.raw = slices.Grow(b.raw, room)
	}
	dst := b.raw[:start+room]
	i := start + guess
	dst[i] = 0
	i = putUvarint(dst, i+1, zigzag(timestamp-b.baseTimestamp))
	if n := uint64(b.count) << 1; n >= 0x80 && n < 0x4000 { // most records of a full batch
		putUvarint2(dst[i:], n)
		i += 2
	} else {
		i = putUvarint(dst, i, n)
	}
	i = putField(dst, i, key)
	i = putField(dst, i, value)
	if len(headers) == 0 {
		dst[i] = 0
		i++
	} else {
		i = putHeaders(dst, i, headers)
	}
	length := uint64(i-start-guess) << 1
	if guess == 2 && length >= 0x80 && length < 0x4000 {
		putUvarint2(dst[start:], length)
	} else {
		if n := uvarintSize(length); n != guess {
			copy(dst[start+n:], dst[start+guess:i])
			i += n - guess
		}
		putUvarint(dst, start, length)
	}
	b.raw = dst[:i]
	b.count++
}

// recordOverhead is how much longer a record can be than its key, value and headers: the attributes, and varints of 32
// bits but for the timestamp's.
const recordOverhead = 1 + 10 + 5*5

// Finish fills in the header for this producer, compresses where that makes the batch smaller, and seals the checksum.
// The slice belongs to the builder and is valid until Reset or the next Append or Finish. Finish may be called again,
// with another producer epoch for instance.
func (b *Builder) Finish(p Producer) ([]byte, error) {
	if b.count == 0 {
		return nil, errors.New("batch: finish: the batch has no records")
	}
	raw := b.raw
	codec := None
	if b.compression != None {
		packed, err := b.encoder.compress(b.compression, append(b.packed[:0], raw[:HeaderBytes]...), raw[HeaderBytes:])
		if err != nil {
			return nil, fmt.Errorf("batch: finish: %w", err)
		}
		b.packed = packed
		if len(packed) < len(raw) {
			raw, codec = packed, b.compression
		}
	}
	if len(raw) > math.MaxInt32 {
		return nil, fmt.Errorf("batch: finish: %d bytes are more than a batch can hold", len(raw))
	}
	h := header{
		attributes:      uint16(codec),
		lastOffsetDelta: int32(b.count - 1),
		baseTimestamp:   b.baseTimestamp,
		maxTimestamp:    b.maxTimestamp,
		producer:        p,
		count:           int32(b.count),
	}
	h.write(raw)
	return raw, nil
}

// header is what write puts before the records.
type header struct {
	attributes      uint16
	lastOffsetDelta int32
	baseTimestamp   int64
	maxTimestamp    int64
	producer        Producer
	count           int32
}

// write fills in the first HeaderBytes of raw, which holds the whole batch, and seals the checksum.
func (h *header) write(raw []byte) {
	attributes := h.attributes
	if h.producer.Transactional {
		attributes |= attrTransactional
	}
	putInt64(raw[posBaseOffset:], 0)
	putInt32(raw[posLength:], int32(len(raw)-lengthOverhead))
	putInt32(raw[posLeaderEpoch:], -1)
	raw[posMagic] = 2
	putInt16(raw[posAttributes:], int16(attributes))
	putInt32(raw[posLastOffsetDelta:], h.lastOffsetDelta)
	putInt64(raw[posBaseTimestamp:], h.baseTimestamp)
	putInt64(raw[posMaxTimestamp:], h.maxTimestamp)
	putInt64(raw[posProducerID:], h.producer.ID)
	putInt16(raw[posProducerEpoch:], h.producer.Epoch)
	putInt32(raw[posBaseSequence:], h.producer.Sequence)
	putInt32(raw[posCount:], h.count)
	sealChecksum(raw)
}

// fieldSize returns the encoded size of a nullable byte field with its length.
func fieldSize(field []byte) int {
	if len(field) < 64 {
		return 1 + len(field)
	}
	return uvarintSize(zigzag(int64(len(field)))) + len(field)
}

func putField(dst []byte, i int, field []byte) int {
	if field == nil {
		dst[i] = 1 // -1
		return i + 1
	}
	switch n := uint64(len(field)) << 1; {
	case n < 0x80:
		dst[i] = byte(n)
		i++
	case n < 0x4000:
		putUvarint2(dst[i:], n)
		i += 2
	default:
		i = putUvarint(dst, i, n)
	}
	if n := len(field); n >= 8 && n <= 16 { // most keys: cheaper than a call of memmove
		to := dst[i : i+n]
		binary.NativeEndian.PutUint64(to, binary.NativeEndian.Uint64(field))
		binary.NativeEndian.PutUint64(to[n-8:], binary.NativeEndian.Uint64(field[n-8:]))
		return i + n
	}
	return i + copy(dst[i:], field)
}

func headersSize(headers []Header) int {
	size := uvarintSize(zigzag(int64(len(headers))))
	for _, h := range headers {
		size += uvarintSize(zigzag(int64(len(h.Key)))) + len(h.Key) + fieldSize(h.Value)
	}
	return size
}

func putHeaders(dst []byte, i int, headers []Header) int {
	i = putUvarint(dst, i, zigzag(int64(len(headers))))
	for _, h := range headers {
		i = putUvarint(dst, i, zigzag(int64(len(h.Key))))
		i += copy(dst[i:], h.Key)
		i = putField(dst, i, h.Value)
	}
	return i
}
