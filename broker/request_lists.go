package broker

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// requestWalk reads a request's fields without decoding them. What is not there, or more than there can be, makes it
// end; the decoder says what is wrong.
type requestWalk struct {
	src      []byte
	flexible bool
	elements int // of the lists and tags so far
}

// producedElements counts what all lists of a Produce request hold, unknown tags included: from what follows on the
// header's client id. It stops where there are more than most. Of a version that is not decoded there are none.
func producedElements(body []byte, version int16, most int) int {
	if version < 0 || version > kmsg.NewPtrProduceRequest().MaxVersion() {
		return 0
	}
	w := requestWalk{src: body, flexible: version >= 9}
	w.tags()
	if version >= 3 {
		w.bytes(2) // the transactional id
	}
	w.skip(2 + 4) // acks, timeout
	for topics := w.list(); topics > 0 && w.elements <= most; topics-- {
		if version >= 13 {
			w.skip(16)
		} else {
			w.bytes(2)
		}
		for partitions := w.list(); partitions > 0 && w.elements <= most; partitions-- {
			w.skip(4)
			w.bytes(4)
			w.tags()
		}
		w.tags()
	}
	return w.elements
}

func (w *requestWalk) skip(n int) {
	if n > len(w.src) {
		n = len(w.src)
	}
	w.src = w.src[n:]
}

// length reads the length of a list, or of bytes that have one of so many bytes where they are not compact.
func (w *requestWalk) length(size int) int {
	n := int64(-1)
	switch {
	case w.flexible:
		v, rest, err := uvarint(w.src)
		if err != nil {
			w.src = nil
			return 0
		}
		n, w.src = int64(v)-1, rest
	case len(w.src) < size:
	case size == 2:
		n = int64(int16(binary.BigEndian.Uint16(w.src)))
		w.src = w.src[size:]
	default:
		n = int64(int32(binary.BigEndian.Uint32(w.src)))
		w.src = w.src[size:]
	}
	if n > int64(len(w.src)) { // each element has a byte at least
		w.src = nil
		return 0
	}
	return int(max(n, 0))
}

func (w *requestWalk) bytes(size int) { w.skip(w.length(size)) }

func (w *requestWalk) list() int {
	n := w.length(4)
	w.elements += n
	return n
}

// tags skips tagged fields, none where the version has none.
func (w *requestWalk) tags() {
	if !w.flexible {
		return
	}
	n, _, err := uvarint(w.src)
	if err == nil {
		w.src, err = skipTags(w.src)
	}
	if err != nil {
		w.src = nil
		return
	}
	w.elements += int(n)
}
