package assign

import (
	"encoding/binary"
	"maps"
	"slices"
)

// Report is what a member tells the leader about itself, beside what it owns, each time it joins.
//
//	byte 0      version that wrote it = 3
//	byte 1      oldest version that can read it = 1
//	uvarint n   process, n bytes
//	uvarint     weight
//	uvarint n   held, n times, sorted:
//	            uvarint sub-topology | uvarint partition | uvarint position
//	uvarint n   topology, n bytes; the first builds end before it
//	            from version 2 on:
//	uvarint n   endpoint, n bytes
//	uvarint n   tags, n times, sorted by key:
//	            uvarint n, n bytes of key | uvarint n, n bytes of value
//	            from version 3 on, for each of held:
//	uvarint     lag + 1; 0: not known
//	…           a later version's fields
type Report struct {
	// Version wrote the report. Version 1 does not know that an assignment names tasks, and what it reports of tasks that
	// the process runs is where they were when they were opened. Append ignores it.
	Version  uint8
	Process  string
	Weight   int // the process' workers, or 1 where each worker is a member
	Held     []Held
	Topology string // says what of it is durable; empty: not known
	Endpoint string // where the process answers queries; empty: nowhere
	Tags     map[string]string
}

// NamesTasks tells that the member understands a [Sent].
func (r Report) NamesTasks() bool { return r.Version >= 2 }

const (
	reportVersion     = 3
	reportReadableBy  = 1
	reportProcessMax  = 256
	reportHeldMax     = 1 << 20
	reportTopologyMax = 256
	reportTextMax     = 1 << 10 // of an endpoint, of a tag
	reportTagsMax     = 1 << 10
)

// Append encodes the report.
func (r Report) Append(dst []byte) []byte {
	dst = append(dst, reportVersion, reportReadableBy)
	dst = appendText(dst, r.Process)
	dst = binary.AppendUvarint(dst, uint64(max(r.Weight, 0)))
	dst = binary.AppendUvarint(dst, uint64(len(r.Held)))
	held := slices.SortedStableFunc(slices.Values(r.Held), func(a, b Held) int { return compareTaskIDs(a.ID, b.ID) })
	for _, h := range held {
		dst = binary.AppendUvarint(dst, uint64(h.ID.Subtopology))
		dst = binary.AppendUvarint(dst, uint64(h.ID.Partition))
		dst = binary.AppendUvarint(dst, uint64(max(h.Position, 0)))
	}
	dst = appendText(dst, r.Topology)
	dst = appendText(dst, r.Endpoint)
	dst = binary.AppendUvarint(dst, uint64(len(r.Tags)))
	for _, key := range slices.Sorted(maps.Keys(r.Tags)) {
		dst = appendText(appendText(dst, key), r.Tags[key])
	}
	for _, h := range held {
		lag := uint64(0)
		if h.Known {
			lag = uint64(max(h.Lag, 0)) + 1
		}
		dst = binary.AppendUvarint(dst, lag)
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// DecodeReport decodes a report. Bytes after it belong to a later version and are ignored.
func DecodeReport(src []byte) (Report, error) {
	d, version, err := newDecoder("report", src, reportVersion)
	if err != nil {
		return Report{}, err
	}
	r := Report{Version: version, Process: string(d.bytes(reportProcessMax)), Weight: int(d.uvarint(1 << 20))}
	n := d.uvarint(reportHeldMax)
	for i := uint64(0); i < n && d.err == nil; i++ {
		id := TaskID{d.number(), d.number()}
		r.Held = append(r.Held, Held{ID: id, Position: int64(d.uvarint(1<<63 - 1))})
	}
	if len(d.src) > 0 || version > 1 {
		r.Topology = string(d.bytes(reportTopologyMax))
	}
	if version > 1 {
		r.Endpoint = string(d.bytes(reportTextMax))
		r.Tags = d.tags()
	}
	for i := 0; i < len(r.Held) && version > 2; i++ {
		if lag := d.uvarint(1<<63 - 1); lag > 0 {
			r.Held[i].Lag, r.Held[i].Known = int64(lag-1), true
		}
	}
	if d.err != nil {
		return Report{}, d.err
	}
	return r, nil
}

func (d *decoder) tags() map[string]string {
	n := d.uvarint(reportTagsMax)
	if n == 0 {
		return nil
	}
	tags := make(map[string]string)
	for i := uint64(0); i < n && d.err == nil; i++ {
		key := string(d.bytes(reportTextMax))
		tags[key] = string(d.bytes(reportTextMax))
	}
	return tags
}
