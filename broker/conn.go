package broker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// conn is one client's connection: the reader starts requests in their order, the writer completes and answers them in
// the same order. queue holds those between the two, and its capacity limits how far the reader is ahead.
type conn struct {
	b      *broker
	net    net.Conn
	cancel context.CancelFunc
	host   string // the client's, as Kafka writes it
	server string // the broker's, as the client reached it
	queue  chan started
	frame  []byte     // reused between Produce requests, whose bytes nobody keeps
	idle   *idleWatch // nil within the process
	held   int64      // bytes of the frame memory that the request being read has
	kept   int64      // and those that frame has
}

// started is a request whose answer is due.
type started struct {
	r        *request
	complete completion
}

func newConn(b *broker, nc net.Conn, cancel context.CancelFunc) *conn {
	c := &conn{b: b, net: nc, cancel: cancel, queue: make(chan started, b.cfg.MaxPipelinedRequests)}
	c.host, c.server = "/127.0.0.1", "localhost"
	if addr, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.host = "/" + addr.IP.String()
	}
	if addr, ok := nc.LocalAddr().(*net.TCPAddr); ok {
		c.server = addr.IP.String()
	}
	return c
}

// abort makes both goroutines end.
func (c *conn) abort() {
	c.cancel()
	if err := c.net.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		c.b.cfg.Logger.Debug("broker: close connection", "remote", c.net.RemoteAddr(), "err", err)
	}
}

func (c *conn) serve(ctx context.Context) {
	defer c.idle.end()
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write(ctx)
	}()
	err := c.read(ctx)
	c.cancel()
	close(c.queue)
	<-written
	c.abort()
	c.sayEnd(err)
}

// sayEnd logs why a connection ends, unless the client has ended it.
func (c *conn) sayEnd(err error) {
	remote := c.net.RemoteAddr()
	switch {
	case errors.Is(err, errOtherProtocol):
		if c.b.sparing.say("other protocol "+c.host, c.b.steady.Now()) { // such clients try again all the time
			c.b.cfg.Logger.Warn("broker: a client is refused; this is said once a minute for each host", "remote",
				remote, "err", err)
		}
	case errors.Is(err, errRequestLimit):
		c.b.cfg.Logger.Warn("broker: a request is refused", "remote", remote, "err", err)
	case errors.Is(err, errStalled):
		c.b.cfg.Logger.Warn("broker: disconnecting a client that holds memory which others wait for", "remote", remote,
			"err", err)
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed):
		c.b.cfg.Logger.Info("broker: connection ended", "remote", remote, "err", err)
	}
}

// read starts requests until the client is gone or sends what is no request.
func (c *conn) read(ctx context.Context) error {
	defer c.leaveFrames()
	in := bufio.NewReaderSize(watched{c.net, c.idle}, smallFrameBytes)
	for {
		frame, err := c.readFrame(ctx, in)
		if err != nil {
			return err
		}
		c.b.counters.bytesIn.Add(int64(len(frame)) + 4)
		r, err := c.decode(frame)
		if err != nil {
			return err
		}
		r.clientHost, r.serverHost = c.host, c.server
		complete, err := c.b.begin(ctx, r)
		if err != nil {
			return err
		}
		c.begun(r, frame)
		c.idle.begin()
		select {
		case c.queue <- started{r, complete}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// smallFrameBytes is the size up to which requests and answers are not counted, no more than a connection's read
// buffer. Such requests never wait, so that heartbeats and polls pass when producers fill the memory.
const smallFrameBytes = 32 << 10

// maxKeptFrameBytes limits the memory that a connection keeps for its next Produce request.
const maxKeptFrameBytes = 4 << 20

// firstReadBytes is how much memory a frame gets on its length's word alone. More comes as its bytes do.
const firstReadBytes = 1 << 20

func (c *conn) readFrame(ctx context.Context, in *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:])))
	if size < minRequestBytes {
		return nil, fmt.Errorf("request of %d bytes: must have at least %d", size, minRequestBytes)
	}
	key, err := c.checkSize(in, size)
	if err != nil {
		return nil, err
	}
	var frame []byte
	large := size > smallFrameBytes
	if key == int16(kmsg.Produce) {
		frame = c.keptFrame(size)
	} else if large {
		if err := c.drain(ctx); err != nil {
			return nil, err
		}
	}
	if large && size > cap(frame) {
		if _, err := in.Peek(smallFrameBytes); err != nil { // a client that sends no more than that holds no memory
			return nil, fmt.Errorf("request of %d bytes: %w", size, err)
		}
		if err := c.b.frames.Enter(ctx, int64(size)); err != nil {
			return nil, err
		}
		c.held = int64(size)
	}
	for len(frame) < size {
		if err := c.readMore(in, &frame, size, large); err != nil {
			return nil, fmt.Errorf("request of %d bytes: %w", size, err)
		}
	}
	if large {
		return frame, c.net.SetReadDeadline(time.Time{})
	}
	return frame, nil
}

// readMore reads a mebibyte of a frame, or what is left of it.
func (c *conn) readMore(in *bufio.Reader, frame *[]byte, size int, large bool) error {
	from := len(*frame)
	to := min(size, from+firstReadBytes)
	if to > cap(*frame) {
		grown := make([]byte, from, min(size, max(to, 2*from)))
		copy(grown, *frame)
		*frame = grown
	}
	*frame = (*frame)[:to]
	if large {
		return c.readHeld(in, (*frame)[from:])
	}
	_, err := io.ReadFull(in, (*frame)[from:])
	return err
}

// readHeld fills a part of a frame whose memory others may wait for.
func (c *conn) readHeld(in *bufio.Reader, part []byte) error {
	s := newStall(c.b.frames)
	for {
		if err := c.net.SetReadDeadline(s.deadline()); err != nil {
			return err
		}
		n, err := in.Read(part)
		if part = part[n:]; len(part) == 0 {
			return nil
		}
		if err := s.step(int64(n), err, true); err != nil {
			return err
		}
	}
}

// keptFrame is the buffer of the request before, if it has the size. Otherwise its memory is given back.
func (c *conn) keptFrame(size int) []byte {
	frame := c.frame[:0]
	c.frame = nil
	if size > cap(frame) {
		c.dropFrame()
		return nil
	}
	return frame
}

// begun gives back the memory of a frame that nobody reads any more, or keeps it for the next one.
func (c *conn) begun(r *request, frame []byte) {
	c.leaveFrame()
	if r.key != int16(kmsg.Produce) || cap(frame) > maxKeptFrameBytes {
		return
	}
	if c.kept == 0 && cap(frame) > smallFrameBytes {
		if !c.b.frames.Keep(int64(cap(frame))) {
			return
		}
		c.kept = int64(cap(frame))
	}
	c.frame = frame
}

func (c *conn) leaveFrame() {
	if c.held > 0 {
		c.b.frames.Leave(c.held)
		c.held = 0
	}
}

func (c *conn) dropFrame() {
	if c.kept > 0 {
		c.b.frames.Drop(c.kept)
		c.kept = 0
	}
}

// leaveFrames gives back all memory of frames, when no more of them are read.
func (c *conn) leaveFrames() {
	c.leaveFrame()
	c.frame = nil
	c.dropFrame()
}

// write answers requests. After a failure it only completes what was started, so that nothing is left behind.
func (c *conn) write(ctx context.Context) {
	var buf []byte
	failed := false
	for s := range c.queue {
		a, err := s.complete(ctx)
		c.idle.answer()
		if err == nil && !failed && !a.silent {
			buf, err = c.send(buf[:0], s.r, a)
		}
		if a.held > 0 {
			c.b.answers.Leave(a.held)
		}
		if failed {
			continue
		}
		if err != nil {
			failed = true
			if ctx.Err() == nil {
				c.sayEnd(err)
			}
			c.abort()
		}
		if cap(buf) > maxKeptBytes {
			buf = nil
		}
	}
}

// maxKeptBytes limits what a connection keeps between answers.
const maxKeptBytes = 256 << 10

// send writes one answer: length, correlation id, and the body, parts of which may be slices of the log.
func (c *conn) send(buf []byte, r *request, a answer) ([]byte, error) {
	buf = append(buf, 0, 0, 0, 0)
	buf = binary.BigEndian.AppendUint32(buf, uint32(r.correlation))
	if r.flexible && r.key != int16(kmsg.ApiVersions) { // whose header is understood by clients of any age
		buf = append(buf, 0)
	}
	if a.body != nil {
		buf = a.body.AppendTo(buf)
		binary.BigEndian.PutUint32(buf, uint32(len(buf)-4))
		n, err := c.net.Write(buf)
		c.b.counters.bytesOut.Add(int64(n))
		return buf, err
	}
	size := len(buf) - 4
	for _, part := range a.parts {
		size += len(part)
	}
	binary.BigEndian.PutUint32(buf, uint32(size))
	parts := append(net.Buffers{buf}, a.parts...)
	if a.held == 0 {
		n, err := parts.WriteTo(c.net)
		c.b.counters.bytesOut.Add(n)
		return buf, err
	}
	return buf, c.sendHeld(parts)
}

// sendHeld writes an answer whose memory others may wait for. While they do, the client has to take it.
func (c *conn) sendHeld(parts net.Buffers) error {
	for len(parts) > 0 {
		piece, rest := cutAt(parts, firstReadBytes)
		s := newStall(c.b.answers)
		for len(piece) > 0 {
			if err := c.net.SetWriteDeadline(s.deadline()); err != nil {
				return err
			}
			n, err := piece.WriteTo(c.net)
			if n > 0 {
				c.idle.touch()
			}
			c.b.counters.bytesOut.Add(n)
			if err == nil {
				continue
			}
			if err := s.step(n, err, false); err != nil {
				return fmt.Errorf("answer: %w", err)
			}
		}
		parts = rest
	}
	return c.net.SetWriteDeadline(time.Time{})
}

// cutAt divides buffers so that the first part has no more than so many bytes.
func cutAt(parts net.Buffers, bytes int) (first, rest net.Buffers) {
	for i, p := range parts {
		if len(p) > bytes {
			return append(slices.Clone(parts[:i]), p[:bytes]), append(net.Buffers{p[bytes:]}, parts[i+1:]...)
		}
		bytes -= len(p)
	}
	return parts, nil
}
