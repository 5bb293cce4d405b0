package log

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A snapshot holds the producers as of the offset in its name, which is also inside:
//
//	"TWPS" | uint32 version = 1 | int64 offset | uint32 count | producers by id | uint32 CRC32C
//
// and per producer
//
//	int64 id | int16 epoch | int32 coordinator epoch | int64 touched | int64 last timestamp | int64 first offset of the
//	open transaction, -1 | uint8 batches, each: int32 first sequence | int32 last | int64 base offset | int64 last |
//	int64 timestamp
//
// It is written after the index of aborted transactions of everything below its offset was synced, so that a
// recovery that starts from a snapshot may trust that index up to there.
const (
	snapshotMagic    = "TWPS"
	snapshotVersion  = 1
	producerBytes    = 39
	sequencedBytes   = 32
	snapshotOverhead = 24
)

func (ps producers) encode(offset int64) []byte {
	be := binary.BigEndian
	out := append(make([]byte, 0, snapshotOverhead+len(ps)*(producerBytes+sequencedBytes)), snapshotMagic...)
	out = be.AppendUint32(out, snapshotVersion)
	out = be.AppendUint64(out, uint64(offset))
	out = be.AppendUint32(out, uint32(len(ps)))
	for _, p := range ps.sorted() {
		out = be.AppendUint64(out, uint64(p.id))
		out = be.AppendUint16(out, uint16(p.epoch))
		out = be.AppendUint32(out, uint32(p.coordinatorEpoch))
		for _, v := range []int64{p.touched, p.lastTimestamp, p.txnFirst} {
			out = be.AppendUint64(out, uint64(v))
		}
		out = append(out, byte(p.kept))
		for _, s := range p.recent[:p.kept] {
			out = be.AppendUint32(out, uint32(s.firstSequence))
			out = be.AppendUint32(out, uint32(s.lastSequence))
			for _, v := range []int64{s.baseOffset, s.lastOffset, s.timestamp} {
				out = be.AppendUint64(out, uint64(v))
			}
		}
	}
	return be.AppendUint32(out, crc32.Checksum(out, castagnoli))
}

func decodeProducers(src []byte, offset int64) (producers, error) {
	be := binary.BigEndian
	if len(src) < snapshotOverhead || string(src[:4]) != snapshotMagic || be.Uint32(src[4:]) != snapshotVersion {
		return nil, fmt.Errorf("producer snapshot %d: not a snapshot of version %d", offset, snapshotVersion)
	}
	body, sum := src[:len(src)-4], be.Uint32(src[len(src)-4:])
	if crc32.Checksum(body, castagnoli) != sum || int64(be.Uint64(src[8:])) != offset {
		return nil, fmt.Errorf("producer snapshot %d: broken checksum", offset)
	}
	count := be.Uint32(src[16:])
	ps := make(producers, min(count, 1<<16))
	body = body[20:]
	for range count {
		if len(body) < producerBytes || len(body) < producerBytes+int(body[producerBytes-1])*sequencedBytes ||
			body[producerBytes-1] > sequencesKept {
			return nil, fmt.Errorf("producer snapshot %d: cut", offset)
		}
		var p producer
		p, body = decodeProducer(body)
		ps[p.id] = p
	}
	return ps, nil
}

func decodeProducer(src []byte) (p producer, rest []byte) {
	be := binary.BigEndian
	p.id = int64(be.Uint64(src))
	p.epoch = int16(be.Uint16(src[8:]))
	p.coordinatorEpoch = int32(be.Uint32(src[10:]))
	p.touched = int64(be.Uint64(src[14:]))
	p.lastTimestamp = int64(be.Uint64(src[22:]))
	p.txnFirst = int64(be.Uint64(src[30:]))
	p.kept = int(src[38])
	src = src[producerBytes:]
	for i := range p.kept {
		p.recent[i] = sequenced{
			firstSequence: int32(be.Uint32(src)),
			lastSequence:  int32(be.Uint32(src[4:])),
			baseOffset:    int64(be.Uint64(src[8:])),
			lastOffset:    int64(be.Uint64(src[16:])),
			timestamp:     int64(be.Uint64(src[24:])),
		}
		src = src[sequencedBytes:]
	}
	return p, src
}
