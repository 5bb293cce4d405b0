package batch

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

func (d *Decoder) inspectStream(w *inspection, b Batch) error {
	r, err := d.reader(b.Compression(), b.payload())
	if err != nil {
		return err
	}
	if d.buffered == nil {
		d.buffered = bufio.NewReaderSize(nil, 32<<10)
	}
	limit := d.limit(b.payload())
	d.buffered.Reset(&limited{r: r, left: limit, limit: limit})
	s := recordStream{r: d.buffered}
	for range b.Count() {
		if err := s.next(w); err != nil {
			return fmt.Errorf("batch: record %d: %w", w.index, streamError(b.Compression(), err))
		}
	}
	switch _, err := d.buffered.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: bytes after the last record, of %d", ErrCorrupt, b.Count())
	case err != io.EOF:
		return fmt.Errorf("batch: behind the last record: %w", streamError(b.Compression(), err))
	}
	return nil
}

// streamError makes what a codec finds wrong an ErrCorrupt.
func streamError(c Compression, err error) error {
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrTooLarge) {
		return err
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return fmt.Errorf("%w: %v: %w", ErrTooLarge, c, err)
	}
	return fmt.Errorf("%w: %v: %w", ErrCorrupt, c, err)
}

// reader decompresses src as a stream.
func (d *Decoder) reader(c Compression, src []byte) (io.Reader, error) {
	d.in.Reset(src)
	switch c {
	case Gzip:
		var err error
		if d.gzip == nil {
			d.gzip, err = gzip.NewReader(&d.in)
		} else {
			err = d.gzip.Reset(&d.in)
		}
		if err != nil {
			d.gzip = nil
			return nil, fmt.Errorf("%w: gzip: %w", ErrCorrupt, err)
		}
		return d.gzip, nil
	case LZ4:
		if d.lz4 == nil {
			d.lz4 = lz4.NewReader(&d.in)
		} else {
			d.lz4.Reset(&d.in)
		}
		return d.lz4, nil
	case Snappy:
		return d.snappyReader(src)
	case Zstd:
		if d.zstdStream == nil {
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(zstdWindowMax))
			if err != nil {
				return nil, fmt.Errorf("zstd: %w", err)
			}
			d.zstdStream = z
		}
		if err := d.zstdStream.Reset(&d.in); err != nil {
			return nil, fmt.Errorf("%w: zstd: %w", ErrCorrupt, err)
		}
		return d.zstdStream, nil
	}
	return nil, fmt.Errorf("%w: %v", ErrCorrupt, c)
}

// zstdWindowMax is the largest window that a frame may ask for: what the zstd tools accept without further options.
const zstdWindowMax = 128 << 20

func (d *Decoder) snappyReader(src []byte) (io.Reader, error) {
	if len(src) >= len(xerialHeader) && string(src[:len(xerialMagic)]) == xerialMagic {
		if _, err := xerialLen(src, d.limit(src)); err != nil {
			return nil, err
		}
		return &xerialReader{src: src[len(xerialHeader):]}, nil
	}
	block, err := unsnappy(src, d.limit(src))
	if err != nil {
		return nil, err
	}
	d.in.Reset(block)
	return &d.in, nil
}

// xerialReader decompresses framed snappy block by block. The frames are complete.
type xerialReader struct {
	src   []byte // frames to come
	block []byte // the rest of the one that is being read
	buf   []byte
}

func (x *xerialReader) Read(p []byte) (int, error) {
	for len(x.block) == 0 {
		if len(x.src) == 0 {
			return 0, io.EOF
		}
		n := int(binary.BigEndian.Uint32(x.src))
		block, err := s2.Decode(x.buf[:cap(x.buf)], x.src[4:4+n])
		if err != nil {
			return 0, fmt.Errorf("%w: snappy: %w", ErrCorrupt, err)
		}
		x.buf, x.block, x.src = block, block, x.src[4+n:]
	}
	n := copy(p, x.block)
	x.block = x.block[n:]
	return n, nil
}

// limited ends a stream with ErrTooLarge where it passes the limit.
type limited struct {
	r           io.Reader
	left, limit int
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 { // only the end may follow
		var probe [1]byte
		if n, err := l.r.Read(probe[:]); n == 0 {
			return 0, err
		}
		return 0, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, l.limit)
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// recordStream reads the fields of records one after the other. left is what remains of the record.
type recordStream struct {
	r    *bufio.Reader
	left int64
}

func (s *recordStream) next(w *inspection) error {
	s.left = 10 // a varint's most bytes
	size, err := s.varint()
	if err != nil {
		return err
	}
	if size <= 0 {
		return fmt.Errorf("%w: length %d", ErrCorrupt, size)
	}
	s.left = size
	if err := s.skip(1); err != nil { // the attributes of a record have no meaning yet
		return err
	}
	timestamp, err := s.varint()
	if err != nil {
		return err
	}
	offset, err := s.varint()
	if err != nil {
		return err
	}
	nullKey, err := s.field(true)
	if err != nil {
		return err
	}
	if _, err := s.field(true); err != nil {
		return err
	}
	headers, err := s.varint()
	if err != nil {
		return err
	}
	if headers < 0 || headers > s.left/2 { // a header takes two bytes or more
		return fmt.Errorf("%w: %d headers in %d bytes", ErrCorrupt, headers, s.left)
	}
	for range headers {
		if _, err := s.field(false); err != nil {
			return err
		}
		if _, err := s.field(true); err != nil {
			return err
		}
	}
	if s.left != 0 {
		return fmt.Errorf("%w: %d bytes after the headers", ErrCorrupt, s.left)
	}
	return w.record(timestamp, offset, nullKey)
}

// field passes over a length and as many bytes.
func (s *recordStream) field(mayBeNull bool) (null bool, err error) {
	size, err := s.varint()
	if err != nil {
		return false, err
	}
	if size == -1 && mayBeNull {
		return true, nil
	}
	return false, s.skip(size)
}

func (s *recordStream) skip(n int64) error {
	if n < 0 || n > s.left {
		return fmt.Errorf("%w: a field of %d bytes, where %d are left", ErrCorrupt, n, s.left)
	}
	s.left -= n
	for n > 0 {
		some, err := s.r.Discard(int(min(n, 1<<20)))
		if err != nil {
			return cutShort(err)
		}
		n -= int64(some)
	}
	return nil
}

func (s *recordStream) varint() (int64, error) {
	var u uint64
	for shift := 0; shift < 64; shift += 7 {
		if s.left == 0 {
			return 0, fmt.Errorf("%w: the record ends in a number", ErrCorrupt)
		}
		c, err := s.r.ReadByte()
		if err != nil {
			return 0, cutShort(err)
		}
		s.left--
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if shift == 63 && c > 1 {
				break
			}
			return unzigzag(u), nil
		}
	}
	return 0, fmt.Errorf("%w: a number of more than 64 bits", ErrCorrupt)
}

func cutShort(err error) error {
	if err == io.EOF {
		return fmt.Errorf("%w: the bytes end within the record", ErrCorrupt)
	}
	return err
}
