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
	room          []byte // HeaderBytes of room, the encoded records up to size, and room for more
	size          int
	packed        []byte // the finished batch when it is compressed
	count         int
	baseTimestamp int64
	maxTimestamp  int64
	compression   Compression
	encoder       encoder
}

// NewBuilder returns an empty builder whose batches are compressed by c.
func NewBuilder(c Compression) *Builder {
	return &Builder{room: make([]byte, 4096), size: HeaderBytes, compression: c}
}

// Len returns the number of records so far.
func (b *Builder) Len() int { return b.count }

// Size returns the number of bytes that the batch would have, uncompressed.
func (b *Builder) Size() int { return b.size }

// Held returns the memory that the builder keeps.
func (b *Builder) Held() int { return cap(b.room) + cap(b.packed) }

// Reset empties the builder. The slice that Finish returned is overwritten from now on.
func (b *Builder) Reset() {
	b.size = HeaderBytes
	b.count = 0
}

// What a record must not exceed to be short, and how much room it takes then beside key and value: its first word, the
// length of the value, the number of headers.
const (
	shortKey      = 1 << 6
	shortValue    = 1 << 12
	shortDelta    = 1 << 14
	shortOverhead = 8 + 2 + 1
)

// Append adds a record and copies all of it. A nil key or value is null. The timestamp is in milliseconds.
//
// Nearly every record is short: the length of its key takes one byte, and its other numbers take two at most. What
// stands before the key is put together in one word then. Nothing is called but memmove, at the end, so that the
// compiler keeps all of this in registers.
func (b *Builder) Append(timestamp int64, key, value []byte, headers []Header) {
	ts, delta := zigzag(timestamp-b.baseTimestamp), uint64(b.count)<<1
	if len(key) >= shortKey || len(value) >= shortValue || ts >= shortDelta || delta-1 >= shortDelta-1 ||
		len(headers) > 0 || len(b.room)-b.size < shortOverhead+len(key)+len(value) {
		b.appendLong(timestamp, key, value, headers)
		return
	}
	b.maxTimestamp = max(b.maxTimestamp, timestamp)
	tsBytes, tsSize := varint2(ts)
	deltaBytes, deltaSize := varint2(delta)
	valueBytes, valueSize := varint2(fieldLength(value))
	word := (fieldLength(key)<<(8*deltaSize&63)|deltaBytes)<<(8*tsSize&63) | tsBytes
	wordSize := int(tsSize+deltaSize) + 1
	lengthBytes, lengthSize := varint2(uint64(1+wordSize+len(key)+int(valueSize)+len(value)+1) << 1)
	word = word<<(8*lengthSize&63)<<8 | lengthBytes // the attributes between them are 0

	dst, i := b.room, b.size
	binary.LittleEndian.PutUint64(dst[i:], word)
	i += int(lengthSize) + 1 + wordSize
	if n := len(key); n >= 8 { // by words, the last one over the one before
		to := dst[i : i+n]
		for j := 0; j < n-8; j += 8 {
			binary.NativeEndian.PutUint64(to[j:], binary.NativeEndian.Uint64(key[j:]))
		}
		binary.NativeEndian.PutUint64(to[n-8:], binary.NativeEndian.Uint64(key[n-8:]))
	} else {
		for j, c := range key {
			dst[i+j] = c
		}
	}
	i += len(key)
	binary.LittleEndian.PutUint16(dst[i:], uint16(valueBytes))
	i += int(valueSize)
	dst[i+len(value)] = 0 // no headers
	b.size = i + len(value) + 1
	b.count++
	copy(dst[i:], value)
}

// appendLong appends any record.
func (b *Builder) appendLong(timestamp int64, key, value []byte, headers []Header) {
	if b.count == 0 {
		b.baseTimestamp, b.maxTimestamp = timestamp, timestamp
	}
	b.maxTimestamp = max(b.maxTimestamp, timestamp)
	ts, delta := zigzag(timestamp-b.baseTimestamp), uint64(b.count)<<1
	length := 1 + uvarintSize(ts) + uvarintSize(delta) + fieldSize(key) + fieldSize(value) + headersSize(headers)
	if need := b.size + uvarintSize(uint64(length)<<1) + length; need > len(b.room) {
		b.room = slices.Grow(b.room[:b.size], need-b.size)
		b.room = b.room[:cap(b.room)]
	}
	dst := b.room
	i := putUvarint(dst, b.size, uint64(length)<<1)
	dst[i] = 0 // the attributes
	i = putUvarint(dst, i+1, ts)
	i = putUvarint(dst, i, delta)
	i = putField(dst, i, key)
	i = putField(dst, i, value)
	b.size = putHeaders(dst, i, headers)
	b.count++
}

// Finish fills in the header for this producer, compresses where that makes the batch smaller, and seals the checksum.
// The slice belongs to the builder and is valid until Reset or the next Append or Finish. Finish may be called again,
// with another producer epoch for instance.
func (b *Builder) Finish(p Producer) ([]byte, error) {
	if b.count == 0 {
		return nil, errors.New("batch: finish: the batch has no records")
	}
	raw := b.room[:b.size]
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

// fieldLength is what stands before a field: its length as a zigzag varint's value, or -1 for null.
func fieldLength(field []byte) uint64 {
	if field == nil {
		return 1
	}
	return uint64(len(field)) << 1
}

func putField(dst []byte, i int, field []byte) int {
	i = putUvarint(dst, i, fieldLength(field))
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
