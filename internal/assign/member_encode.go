package assign

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Report is what a member tells the leader about itself, beside what it owns, each time it joins.
//
//	byte 0      version that wrote it = 1
//	byte 1      oldest version that can read it = 1
//	uvarint n   process, n bytes
//	uvarint     weight
//	uvarint n   held, n times:
//	            uvarint sub-topology | uvarint partition | uvarint position
//	uvarint n   topology, n bytes; an older build ends before it
//	…           a later version's fields
type Report struct {
	Process  string
	Weight   int
	Held     []Held
	Topology string // says what of it is durable; empty: not known
}

const (
	reportVersion     = 1
	reportReadableBy  = 1
	reportProcessMax  = 256
	reportHeldMax     = 1 << 20
	reportTopologyMax = 256
	reportHeaderBytes = 2
)

var errShortReport = errors.New("assign: report: cut short")

// Append encodes the report.
func (r Report) Append(dst []byte) []byte {
	dst = append(dst, reportVersion, reportReadableBy)
	dst = binary.AppendUvarint(dst, uint64(len(r.Process)))
	dst = append(dst, r.Process...)
	dst = binary.AppendUvarint(dst, uint64(max(r.Weight, 0)))
	dst = binary.AppendUvarint(dst, uint64(len(r.Held)))
	for _, h := range r.Held {
		dst = binary.AppendUvarint(dst, uint64(h.ID.Subtopology))
		dst = binary.AppendUvarint(dst, uint64(h.ID.Partition))
		dst = binary.AppendUvarint(dst, uint64(max(h.Position, 0)))
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Topology)))
	return append(dst, r.Topology...)
}

// DecodeReport decodes a report. Bytes after it belong to a later version and are ignored.
func DecodeReport(src []byte) (Report, error) {
	if len(src) < reportHeaderBytes {
		return Report{}, errShortReport
	}
	if src[1] > reportVersion {
		return Report{}, fmt.Errorf("assign: report: version %d can't be read by version %d: "+
			"upgrade all processes of the application", src[1], reportVersion)
	}
	d := decoder{src: src[reportHeaderBytes:]}
	r := Report{Process: string(d.bytes(reportProcessMax)), Weight: int(d.uvarint(1 << 20))}
	n := d.uvarint(reportHeldMax)
	for i := uint64(0); i < n && d.err == nil; i++ {
		id := TaskID{int32(d.uvarint(1<<31 - 1)), int32(d.uvarint(1<<31 - 1))}
		r.Held = append(r.Held, Held{id, int64(d.uvarint(1<<63 - 1))})
	}
	if len(d.src) > 0 {
		r.Topology = string(d.bytes(reportTopologyMax))
	}
	if d.err != nil {
		return Report{}, d.err
	}
	return r, nil
}

// decoder reads fields until the first error.
type decoder struct {
	src []byte
	err error
}

func (d *decoder) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.src)
	switch {
	case d.err != nil:
		return 0
	case n <= 0:
		d.err = errShortReport
		return 0
	case v > limit:
		d.err = fmt.Errorf("assign: report: %d exceeds the limit %d", v, limit)
		return 0
	}
	d.src = d.src[n:]
	return v
}

func (d *decoder) bytes(limit uint64) []byte {
	n := d.uvarint(limit)
	if d.err != nil {
		return nil
	}
	if n > uint64(len(d.src)) {
		d.err = errShortReport
		return nil
	}
	b := d.src[:n]
	d.src = d.src[n:]
	return b
}
