package batch

import (
	"encoding/binary"
	"math"
)

// damagedMagic marks what Damaged returns. Parse accepts no such batch, so none comes from a broker.
const damagedMagic = 0xff

// Damaged returns a batch that stands for the offsets from first to last, whose bytes are lost: Records fails with
// ErrCorrupt and cause. So a reader handles it like any batch that cannot be read, in its turn. It stands for at most
// 2^31 offsets, from first on.
func Damaged(first, last int64, cause error) Batch {
	text := cause.Error()
	raw := make([]byte, HeaderBytes, HeaderBytes+len(text))
	putInt64(raw[posBaseOffset:], first)
	putInt32(raw[posLeaderEpoch:], -1)
	raw[posMagic] = damagedMagic
	putInt32(raw[posLastOffsetDelta:], int32(min(max(last-first, 0), math.MaxInt32)))
	putInt64(raw[posProducerID:], -1)
	putInt16(raw[posProducerEpoch:], -1)
	putInt32(raw[posBaseSequence:], -1)
	putInt32(raw[posCount:], 1)
	raw = append(raw, text...)
	binary.BigEndian.PutUint32(raw[posLength:], uint32(len(raw)-lengthOverhead))
	return Batch{raw: raw}
}
