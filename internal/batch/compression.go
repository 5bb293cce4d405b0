package batch

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Compression names the codec of a batch's records, by its number in the batch's attributes.
type Compression int8

// The codecs of Kafka.
const (
	None   Compression = 0
	Gzip   Compression = 1
	Snappy Compression = 2
	LZ4    Compression = 3
	Zstd   Compression = 4
)

// String returns the name that Kafka's configuration uses.
func (c Compression) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("compression(%d)", int8(c))
}

// ParseCompression is the inverse of String.
func ParseCompression(name string) (Compression, error) {
	for c := None; c <= Zstd; c++ {
		if c.String() == name {
			return c, nil
		}
	}
	return None, fmt.Errorf("batch: compression %q is not one of none, gzip, snappy, lz4, zstd", name)
}

// The records of a batch may take, decompressed, the larger of so many bytes and so many times what they take
// compressed. Brokers refuse what is larger, and readers read what is not: the limit is one of the batch alone, so that
// both find the same.
const (
	decompressedBytesMin  = 128 << 20
	decompressionRatioMax = 128
)

// DecompressedBytesMax is how many bytes records may take whose compressed form has so many.
func DecompressedBytesMax(compressed int) int {
	return min(math.MaxInt32, max(decompressedBytesMin, decompressionRatioMax*compressed))
}

// Decoder decompresses records. It keeps the codecs' state between batches and is used by one goroutine at a time;
// what it returns is never reused. Its zero value is ready.
type Decoder struct {
	MaxBytes int // of one batch's records, decompressed; 0 means DecompressedBytesMax

	in         bytes.Reader
	gzip       *gzip.Reader
	lz4        *lz4.Reader
	zstd       *zstd.Decoder
	max        int           // bytes that zstd was made for
	zstdStream *zstd.Decoder // of Inspect, as is buffered
	buffered   *bufio.Reader
}

// limit is that of what src may be decompressed to.
func (d *Decoder) limit(src []byte) int {
	if d.MaxBytes > 0 {
		return d.MaxBytes
	}
	return DecompressedBytesMax(len(src))
}

func (d *Decoder) decompress(c Compression, src []byte) ([]byte, error) {
	switch c {
	case Gzip:
		return d.readAll(src, c)
	case Snappy:
		return unsnappy(src, d.limit(src))
	case LZ4:
		return d.readAll(src, c)
	case Zstd:
		return d.unzstd(src)
	}
	return nil, fmt.Errorf("%w: %v", ErrCorrupt, c)
}

func (d *Decoder) readAll(src []byte, c Compression) ([]byte, error) {
	r, err := d.reader(c, src)
	if err != nil {
		return nil, err
	}
	return readAll(r, len(src), d.limit(src), c)
}

func (d *Decoder) unzstd(src []byte) ([]byte, error) {
	limit := d.limit(src)
	if d.zstd == nil || d.max < limit || d.max > 2*limit { // it is not made again for each size of a large batch
		d.max = 1 << bits.Len(uint(limit-1))
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(uint64(d.max)))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		d.zstd = z
	}
	out, err := d.zstd.DecodeAll(src, nil)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, fmt.Errorf("%w: zstd: more than %d bytes", ErrTooLarge, limit)
	case err != nil:
		return nil, fmt.Errorf("%w: zstd: %w", ErrCorrupt, err)
	case len(out) > limit:
		return nil, fmt.Errorf("%w: zstd: %d bytes, at most %d", ErrTooLarge, len(out), limit)
	}
	return out, nil
}

// readAll reads r to its end into fresh memory, at most limit bytes.
func readAll(r io.Reader, packed, limit int, c Compression) ([]byte, error) {
	out := make([]byte, 0, min(4*packed+512, limit+1))
	for {
		if len(out) == cap(out) {
			grown := make([]byte, len(out), min(2*cap(out)+512, limit+1))
			copy(grown, out)
			out = grown
		}
		n, err := r.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		if len(out) > limit {
			return nil, fmt.Errorf("%w: %v: more than %d bytes", ErrTooLarge, c, limit)
		}
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %v: %w", ErrCorrupt, c, err)
		}
	}
}

// Snappy travels in one of two forms: a single raw block, or the framing that the Java library xerial writes, which all
// of Kafka's clients read:
//
//	0x82 "SNAPPY" 0x00 | int32 version = 1 | int32 compatible = 1 | blocks: int32 size, raw block of at most 32 KiB
const (
	xerialMagic      = "\x82SNAPPY\x00"
	xerialHeader     = xerialMagic + "\x00\x00\x00\x01\x00\x00\x00\x01"
	xerialBlockBytes = 32 << 10
)

func unsnappy(src []byte, limit int) ([]byte, error) {
	if len(src) < len(xerialHeader) || string(src[:len(xerialMagic)]) != xerialMagic {
		n, err := s2.DecodedLen(src)
		if err != nil {
			return nil, fmt.Errorf("%w: snappy: %w", ErrCorrupt, err)
		}
		if n > limit {
			return nil, fmt.Errorf("%w: snappy: %d bytes, at most %d", ErrTooLarge, n, limit)
		}
		out, err := s2.Decode(nil, src)
		if err != nil {
			return nil, fmt.Errorf("%w: snappy: %w", ErrCorrupt, err)
		}
		return out, nil
	}
	total, err := xerialLen(src, limit)
	if err != nil {
		return nil, err
	}
	out := make([]byte, total)
	at := 0
	for src = src[len(xerialHeader):]; len(src) > 0; {
		n := int(binary.BigEndian.Uint32(src))
		block, err := s2.Decode(out[at:], src[4:4+n])
		if err != nil {
			return nil, fmt.Errorf("%w: snappy: %w", ErrCorrupt, err)
		}
		at += len(block)
		src = src[4+n:]
	}
	return out, nil
}

// xerialLen returns the decompressed size of framed blocks, which are complete when it returns no error.
func xerialLen(src []byte, limit int) (int, error) {
	total := 0
	for src = src[len(xerialHeader):]; len(src) > 0; {
		if len(src) < 4 || uint64(binary.BigEndian.Uint32(src)) > uint64(len(src)-4) {
			return 0, fmt.Errorf("%w: snappy: incomplete block", ErrCorrupt)
		}
		n := int(binary.BigEndian.Uint32(src))
		size, err := s2.DecodedLen(src[4 : 4+n])
		if err != nil {
			return 0, fmt.Errorf("%w: snappy: %w", ErrCorrupt, err)
		}
		if total += size; total > limit {
			return 0, fmt.Errorf("%w: snappy: more than %d bytes", ErrTooLarge, limit)
		}
		src = src[4+n:]
	}
	return total, nil
}

// encoder keeps the codecs' state between batches.
type encoder struct {
	out  appender
	gzip *gzip.Writer
	lz4  *lz4.Writer
	zstd *zstd.Encoder
}

// appender is a writer that appends to a slice.
type appender struct{ buf []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.buf = append(a.buf, p...)
	return len(p), nil
}

// compress appends src, compressed by c, to dst.
func (e *encoder) compress(c Compression, dst, src []byte) ([]byte, error) {
	switch c {
	case Gzip:
		if e.gzip == nil {
			e.gzip = gzip.NewWriter(nil)
		}
		e.out.buf = dst
		e.gzip.Reset(&e.out)
		return e.drain(e.gzip, src)
	case Snappy:
		dst = append(dst, xerialHeader...)
		for len(src) > 0 {
			n := min(len(src), xerialBlockBytes)
			at := len(dst)
			dst = append(dst, make([]byte, 4+s2.MaxEncodedLen(n))...)
			block := s2.EncodeSnappy(dst[at+4:], src[:n])
			putInt32(dst[at:], int32(len(block)))
			dst = dst[:at+4+len(block)]
			src = src[n:]
		}
		return dst, nil
	case LZ4:
		if e.lz4 == nil {
			e.lz4 = lz4.NewWriter(nil)
			if err := e.lz4.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ConcurrencyOption(1)); err != nil {
				return nil, fmt.Errorf("lz4: %w", err)
			}
		}
		e.out.buf = dst
		e.lz4.Reset(&e.out)
		return e.drain(e.lz4, src)
	case Zstd:
		if e.zstd == nil {
			z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
			if err != nil {
				return nil, fmt.Errorf("zstd: %w", err)
			}
			e.zstd = z
		}
		return e.zstd.EncodeAll(src, dst), nil
	}
	return nil, fmt.Errorf("unknown %v", c)
}

func (e *encoder) drain(w io.WriteCloser, src []byte) ([]byte, error) {
	if _, err := w.Write(src); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	out := e.out.buf
	e.out.buf = nil
	return out, nil
}
