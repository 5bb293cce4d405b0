// Package batch is the codec of Kafka's record batches, version 2: the one form in which records lie in a log, travel
// between clients and brokers, and enter and leave a task. Broker and runtime use the same code.
//
//	 0  int64   base offset                 ┐ patched when the batch is appended to a log;
//	 8  int32   length of what follows      │ outside the checksum
//	12  int32   partition leader epoch      │
//	16  int8    magic = 2                   ┘
//	17  uint32  CRC32C of everything from byte 21
//	21  int16   attributes: 0-2 compression, 3 log append time, 4 transactional, 5 control, 6 delete horizon
//	23  int32   last offset delta
//	27  int64   base timestamp (ms); the delete horizon when attribute 6 is set
//	35  int64   max timestamp (ms)
//	43  int64   producer id                 ┐
//	51  int16   producer epoch              │ -1 when the producer is not idempotent
//	53  int32   base sequence               ┘
//	57  int32   number of records
//	61  records, compressed as a whole
//
// One record; every length is a zigzag varint and -1 means null:
//
//	length | attributes int8 = 0 | timestamp delta varlong | offset delta varint |
//	key length, key | value length, value | number of headers, each: key length, key, value length, value
//
// Nothing here copies a key or a value: an Iterator's records are views of the batch, or of its decompressed form,
// which is never reused. They are read-only, and stay valid for as long as somebody holds them.
package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"math"
)

// HeaderBytes is the size of a batch without its records.
const HeaderBytes = 61

const (
	posBaseOffset      = 0
	posLength          = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posCount           = 57

	lengthOverhead = posLeaderEpoch // bytes that the length field does not count
)

const (
	attrCompression   = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
	attrDeleteHorizon = 0x40
)

var (
	// ErrShort means that the bytes end before the batch does: read more, or ignore the tail of a fetch.
	ErrShort = errors.New("batch: incomplete")
	// ErrCorrupt means that the bytes are no record batch: a broken checksum, or fields that contradict each other.
	ErrCorrupt = errors.New("batch: corrupt")
	// ErrMagic means a message format older or newer than record batches v2.
	ErrMagic = errors.New("batch: unsupported message format")
	// ErrTooLarge means that the records of a batch would take more memory, decompressed, than the decoder allows.
	ErrTooLarge = errors.New("batch: records exceed the limit of the decompressed size")
)

// Batch is a view of one record batch whose header fields are in range. Its checksum is not verified: see Verify.
type Batch struct {
	raw []byte
}

// Parse splits the first batch off src. It returns ErrShort when src ends before the batch does. The checksum is not
// verified. The batch is a view of src.
func Parse(src []byte) (b Batch, rest []byte, err error) {
	if len(src) <= posMagic {
		return Batch{}, src, ErrShort
	}
	if magic := int8(src[posMagic]); magic != 2 {
		return Batch{}, src, fmt.Errorf("%w: magic %d, want 2", ErrMagic, magic)
	}
	size := int(int32(binary.BigEndian.Uint32(src[posLength:])))
	if size < HeaderBytes-lengthOverhead {
		return Batch{}, src, fmt.Errorf("%w: length %d is below that of a header", ErrCorrupt, size)
	}
	size += lengthOverhead
	if len(src) < size {
		return Batch{}, src, ErrShort
	}
	b = Batch{raw: src[:size:size]}
	if err := b.validate(); err != nil {
		return Batch{}, src, err
	}
	return b, src[size:], nil
}

// SizeOf returns the whole size in bytes of the batch that starts at src[0], as its length field says, without looking
// at anything else of it. ok is false when src does not reach that field or the field makes no sense.
func SizeOf(src []byte) (size int, ok bool) {
	if len(src) < posLength+4 {
		return 0, false
	}
	n := int(int32(binary.BigEndian.Uint32(src[posLength:])))
	return n + lengthOverhead, n >= HeaderBytes-lengthOverhead
}

// MayBegin tells whether a batch may begin at src[0], by its format and its size: a quick look before Parse.
func MayBegin(src []byte) bool {
	_, ok := SizeOf(src)
	return ok && len(src) > posMagic && src[posMagic] == 2
}

// PrefixBytes is how much of a batch SizeOf and LastOffsetOf look at.
const PrefixBytes = posLastOffsetDelta + 4

// LastOffsetOf returns the last offset of the batch whose first PrefixBytes are at src[0], without a check of anything.
func LastOffsetOf(src []byte) int64 {
	base, delta := binary.BigEndian.Uint64(src), binary.BigEndian.Uint32(src[posLastOffsetDelta:])
	return int64(base) + int64(int32(delta))
}

func (b Batch) validate() error {
	base, delta, count := b.BaseOffset(), int64(b.LastOffsetDelta()), int64(b.Count())
	switch {
	case base < 0 || base > math.MaxInt64-math.MaxInt32:
		return fmt.Errorf("%w: base offset %d", ErrCorrupt, base)
	case delta < 0:
		return fmt.Errorf("%w: last offset delta %d", ErrCorrupt, delta)
	case count < 0 || count > delta+1:
		return fmt.Errorf("%w: %d records in %d offsets", ErrCorrupt, count, delta+1)
	case b.Compression() > Zstd:
		return fmt.Errorf("%w: compression %d", ErrCorrupt, b.Compression())
	}
	return nil
}

// BatchesOf walks concatenated batches, as a fetch returns them. An incomplete batch at the end ends the walk silently
// (a fetch may cut its last batch); anything else that is no batch is yielded as an error and ends the walk.
func BatchesOf(src []byte) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for len(src) > 0 {
			b, rest, err := Parse(src)
			if errors.Is(err, ErrShort) {
				return
			}
			if !yield(b, err) || err != nil {
				return
			}
			src = rest
		}
	}
}

// Verify compares the checksum with the bytes.
func (b Batch) Verify() error {
	want := binary.BigEndian.Uint32(b.raw[posCRC:])
	if got := checksum(b.raw); got != want {
		return fmt.Errorf("%w: checksum %08x, want %08x", ErrCorrupt, got, want)
	}
	return nil
}

// Bytes returns the whole batch, header included. It is the batch's own memory.
func (b Batch) Bytes() []byte { return b.raw }

// Size returns the number of bytes of the whole batch.
func (b Batch) Size() int { return len(b.raw) }

// BaseOffset returns the offset of the first record that the batch was written with.
func (b Batch) BaseOffset() int64 { return b.int64(posBaseOffset) }

// LastOffset returns the offset of the last record that the batch was written with, compaction or not.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// LastOffsetDelta returns LastOffset less BaseOffset.
func (b Batch) LastOffsetDelta() int32 { return b.int32(posLastOffsetDelta) }

// Count returns the number of records, which compaction may have made smaller than the number of offsets.
func (b Batch) Count() int { return int(b.int32(posCount)) }

// BaseTimestamp returns the timestamp, in milliseconds, that the records' deltas count from.
func (b Batch) BaseTimestamp() int64 { return b.int64(posBaseTimestamp) }

// MaxTimestamp returns the largest timestamp in milliseconds.
func (b Batch) MaxTimestamp() int64 { return b.int64(posMaxTimestamp) }

// ProducerID returns -1 when the producer is not idempotent.
func (b Batch) ProducerID() int64 { return b.int64(posProducerID) }

// ProducerEpoch returns the epoch of the producer's id.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b.raw[posProducerEpoch:])) }

// BaseSequence returns the sequence number of the first record, -1 without one.
func (b Batch) BaseSequence() int32 { return b.int32(posBaseSequence) }

// LastSequence returns the sequence number of the last record. After 2^31-1 comes 0.
func (b Batch) LastSequence() int32 {
	if b.BaseSequence() < 0 {
		return -1
	}
	return AddSequence(b.BaseSequence(), b.LastOffsetDelta())
}

// AddSequence returns the sequence number n after sequence: they count modulo 2^31.
func AddSequence(sequence, n int32) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}

// LeaderEpoch returns the epoch of the partition leader that appended the batch.
func (b Batch) LeaderEpoch() int32 { return b.int32(posLeaderEpoch) }

// IsTransactional tells whether the batch belongs to a transaction.
func (b Batch) IsTransactional() bool { return b.attributes()&attrTransactional != 0 }

// IsControl tells whether the batch is a transaction's marker. It holds no user's records.
func (b Batch) IsControl() bool { return b.attributes()&attrControl != 0 }

// IsLogAppendTime tells whether the broker's clock at appending is every record's timestamp.
func (b Batch) IsLogAppendTime() bool { return b.attributes()&attrLogAppendTime != 0 }

// Compression returns the codec of the records.
func (b Batch) Compression() Compression { return Compression(b.attributes() & attrCompression) }

// DeleteHorizon returns the time in milliseconds after which compaction may drop the batch's tombstones and markers.
func (b Batch) DeleteHorizon() (ms int64, ok bool) {
	if b.attributes()&attrDeleteHorizon == 0 {
		return 0, false
	}
	return b.BaseTimestamp(), true
}

func (b Batch) attributes() uint16  { return binary.BigEndian.Uint16(b.raw[posAttributes:]) }
func (b Batch) int32(pos int) int32 { return int32(binary.BigEndian.Uint32(b.raw[pos:])) }
func (b Batch) int64(pos int) int64 { return int64(binary.BigEndian.Uint64(b.raw[pos:])) }
func (b Batch) payload() []byte     { return b.raw[HeaderBytes:] }
func checksum(raw []byte) uint32    { return crc32.Checksum(raw[posAttributes:], castagnoli) }
func sealChecksum(raw []byte)       { binary.BigEndian.PutUint32(raw[posCRC:], checksum(raw)) }
func putInt32(raw []byte, v int32)  { binary.BigEndian.PutUint32(raw, uint32(v)) }
func putInt64(raw []byte, v int64)  { binary.BigEndian.PutUint64(raw, uint64(v)) }
func putInt16(raw []byte, v int16)  { binary.BigEndian.PutUint16(raw, uint16(v)) }

// castagnoli is built once and only read.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SetBaseOffset writes the offset and the epoch that a log gives to a batch. Both lie outside the checksum.
func SetBaseOffset(raw []byte, offset int64, leaderEpoch int32) {
	putInt64(raw[posBaseOffset:], offset)
	putInt32(raw[posLeaderEpoch:], leaderEpoch)
}

// SetLogAppendTime makes ms the timestamp of every record of the batch, and seals the checksum again.
func SetLogAppendTime(raw []byte, ms int64) {
	attributes := binary.BigEndian.Uint16(raw[posAttributes:]) | attrLogAppendTime
	binary.BigEndian.PutUint16(raw[posAttributes:], attributes)
	putInt64(raw[posMaxTimestamp:], ms)
	sealChecksum(raw)
}

// SetCreateTime makes maxTimestamp the batch's largest timestamp and clears what only a broker may set: that the time
// is the broker's, and the delete horizon. It seals the checksum again where that changed something.
func SetCreateTime(raw []byte, maxTimestamp int64) {
	b := Batch{raw: raw}
	attributes := b.attributes() &^ (attrLogAppendTime | attrDeleteHorizon)
	if attributes == b.attributes() && maxTimestamp == b.MaxTimestamp() {
		return
	}
	binary.BigEndian.PutUint16(raw[posAttributes:], attributes)
	putInt64(raw[posMaxTimestamp:], maxTimestamp)
	sealChecksum(raw)
}
