package assign

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// headerBytes are the two versions that a message begins with.
const headerBytes = 2

// decoder reads fields until the first error.
type decoder struct {
	what string // is read
	src  []byte
	err  error
}

var errShort = errors.New("cut short")

// newDecoder reads which version wrote something, and which can read it.
func newDecoder(what string, src []byte, version uint8) (*decoder, uint8, error) {
	d := &decoder{what: what, src: src}
	if len(src) < headerBytes {
		d.fail(errShort)
		return nil, 0, d.err
	}
	if src[1] > version {
		return nil, 0, fmt.Errorf("assign: %s: version %d can't be read by version %d: "+
			"upgrade all processes of the application", what, src[1], version)
	}
	d.src = src[headerBytes:]
	return d, src[0], nil
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = fmt.Errorf("assign: %s: %w", d.what, err)
	}
}

func (d *decoder) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.src)
	switch {
	case d.err != nil:
		return 0
	case n <= 0:
		d.fail(errShort)
		return 0
	case v > limit:
		d.fail(fmt.Errorf("%d exceeds the limit %d", v, limit))
		return 0
	}
	d.src = d.src[n:]
	return v
}

// number reads the number of a sub-topology or of a partition.
func (d *decoder) number() int32 { return int32(d.uvarint(math.MaxInt32)) }

func (d *decoder) bytes(limit uint64) []byte {
	n := d.uvarint(limit)
	if d.err != nil {
		return nil
	}
	if n > uint64(len(d.src)) {
		d.fail(errShort)
		return nil
	}
	b := d.src[:n]
	d.src = d.src[n:]
	return b
}
