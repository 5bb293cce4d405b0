// Package memnet connects two ends within a process: net.Conn pairs over ring
// buffers, with deadlines.
//
// net.Pipe is a rendezvous: every write waits for its reader, which costs two
// context switches per message and makes pipelining impossible. Here each
// direction is a ring of up to MaxBufferBytes that starts small and grows, so a
// request and its answer fit in without a switch.
package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// MaxBufferBytes is the capacity of one direction of a connection.
const MaxBufferBytes = 1 << 20

const firstBufferBytes = 4 << 10

// Addr is the address of both ends.
type Addr string

// Network returns "memory".
func (Addr) Network() string { return "memory" }

// String returns the address as it was given.
func (a Addr) String() string { return string(a) }

// Pair returns the two ends of a new connection.
func Pair(a, b Addr) (net.Conn, net.Conn) {
	ab, ba := newRing(), newRing()
	return &conn{in: ba, out: ab, local: a, remote: b}, &conn{in: ab, out: ba, local: b, remote: a}
}

type conn struct {
	in, out       *ring
	local, remote Addr
}

func (c *conn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.remote }

// Close ends both directions. The other end still reads what is buffered.
func (c *conn) Close() error {
	c.out.close(false)
	c.in.close(true)
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	c.in.reader.set(c.in, t)
	c.out.writer.set(c.out, t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.reader.set(c.in, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.writer.set(c.out, t)
	return nil
}

// ring is one direction: bytes lie at buf[start:start+n], modulo its length.
type ring struct {
	mu       sync.Mutex
	readable sync.Cond // n > 0, or the ring is closed, or the reader's deadline has passed
	writable sync.Cond // n < MaxBufferBytes, or …
	buf      []byte
	start, n int
	eof      bool // the writing end is closed: what is buffered is still read
	broken   bool // the reading end is closed
	reader   deadline
	writer   deadline
}

func newRing() *ring {
	r := &ring{buf: make([]byte, firstBufferBytes)}
	r.readable.L = &r.mu
	r.writable.L = &r.mu
	return r
}

func (r *ring) read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case r.broken:
			return 0, net.ErrClosed
		case r.reader.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case r.n > 0:
			return r.take(p), nil
		case r.eof:
			return 0, io.EOF
		}
		r.readable.Wait()
	}
}

// take copies buffered bytes to p and frees their place. There is at least one.
func (r *ring) take(p []byte) int {
	end := min(r.start+r.n, len(r.buf))
	n := copy(p, r.buf[r.start:end])
	if n < len(p) && n < r.n {
		n += copy(p[n:], r.buf[:r.n-n])
	}
	r.start = (r.start + n) % len(r.buf)
	r.n -= n
	if r.n == 0 {
		r.start = 0
	}
	r.writable.Signal()
	return n
}

func (r *ring) write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	written := 0
	for {
		switch {
		case r.eof:
			return written, net.ErrClosed
		case r.broken:
			return written, io.ErrClosedPipe
		case r.writer.passed:
			return written, os.ErrDeadlineExceeded
		case written == len(p):
			return written, nil
		case r.n < MaxBufferBytes:
			written += r.put(p[written:])
			r.readable.Signal()
			continue
		}
		r.writable.Wait()
	}
}

// put copies as much of p as fits. There is place for at least one byte.
func (r *ring) put(p []byte) int {
	if want := min(r.n+len(p), MaxBufferBytes); want > len(r.buf) {
		r.grow(want)
	}
	total := 0
	for total < len(p) && r.n < len(r.buf) {
		at := (r.start + r.n) % len(r.buf)
		end := len(r.buf)
		if at < r.start {
			end = r.start
		}
		n := copy(r.buf[at:end], p[total:])
		r.n += n
		total += n
	}
	return total
}

func (r *ring) grow(want int) {
	size := len(r.buf)
	for size < want {
		size *= 2
	}
	buf := make([]byte, min(size, MaxBufferBytes))
	n := copy(buf, r.buf[r.start:min(r.start+r.n, len(r.buf))])
	copy(buf[n:], r.buf[:r.n-n])
	r.buf, r.start = buf, 0
}

func (r *ring) close(byReader bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if byReader {
		r.broken = true
		r.buf, r.start, r.n = r.buf[:1:1], 0, 0
	} else {
		r.eof = true
	}
	r.reader.stop()
	r.writer.stop()
	r.readable.Broadcast()
	r.writable.Broadcast()
}

// deadline is guarded by its ring's mutex.
type deadline struct {
	passed bool
	timer  *time.Timer
	epoch  uint64 // a timer that was replaced must not strike
}

func (d *deadline) set(r *ring, t time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.stop()
	d.epoch++
	d.passed = false
	if t.IsZero() || r.broken {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.strike(r)
		return
	}
	epoch := d.epoch
	d.timer = time.AfterFunc(left, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if d.epoch == epoch {
			d.strike(r)
		}
	})
}

func (d *deadline) strike(r *ring) {
	d.passed = true
	r.readable.Broadcast()
	r.writable.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
