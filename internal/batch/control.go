package batch

import (
	"encoding/binary"
	"fmt"
)

// ControlType says how a transaction ended.
type ControlType int16

// The types of transaction markers. A marker of another type is to be skipped by readers.
const (
	Abort  ControlType = 0
	Commit ControlType = 1
)

// Control is the marker that ends a producer's transaction in one partition. In the log it is a batch of one record:
//
//	key:   int16 version = 0 | int16 type
//	value: int16 version = 0 | int32 coordinator epoch
type Control struct {
	Type             ControlType
	ProducerID       int64
	ProducerEpoch    int16
	CoordinatorEpoch int32
	Timestamp        int64 // milliseconds
}

// AppendControl appends the marker's batch to dst, with base offset 0.
func AppendControl(dst []byte, c Control) []byte {
	const recordBytes = 17 // length 1, attributes 1, deltas 2, key 1+4, value 1+6, headers 1
	start := len(dst)
	dst = append(dst, make([]byte, HeaderBytes+recordBytes)...)
	raw := dst[start:]
	r := raw[HeaderBytes:]
	r[0] = (recordBytes - 1) << 1
	r[4] = 4 << 1
	binary.BigEndian.PutUint16(r[7:], uint16(c.Type))
	r[9] = 6 << 1
	binary.BigEndian.PutUint32(r[12:], uint32(c.CoordinatorEpoch))
	h := header{
		attributes:    attrControl,
		baseTimestamp: c.Timestamp,
		maxTimestamp:  c.Timestamp,
		producer:      Producer{ID: c.ProducerID, Epoch: c.ProducerEpoch, Sequence: -1, Transactional: true},
		count:         1,
	}
	h.write(raw)
	return dst
}

// Control decodes a marker. The batch must be a control batch.
func (b Batch) Control() (t ControlType, coordinatorEpoch int32, err error) {
	if !b.IsControl() {
		return 0, 0, fmt.Errorf("%w: the batch at offset %d is no control batch", ErrCorrupt, b.BaseOffset())
	}
	it, err := b.Records(&Decoder{MaxBytes: 64 << 10})
	if err != nil {
		return 0, 0, err
	}
	var r Record
	if !it.Next(&r) || len(r.Key) < 4 {
		return 0, 0, fmt.Errorf("%w: control batch at offset %d has no type", ErrCorrupt, b.BaseOffset())
	}
	t = ControlType(binary.BigEndian.Uint16(r.Key[2:]))
	if t == Abort || t == Commit {
		if len(r.Value) < 6 {
			return 0, 0, fmt.Errorf("%w: control batch at offset %d has no epoch", ErrCorrupt, b.BaseOffset())
		}
		coordinatorEpoch = int32(binary.BigEndian.Uint32(r.Value[2:]))
	}
	return t, coordinatorEpoch, nil
}
