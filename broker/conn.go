package broker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

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
	frame  []byte // reused between Produce requests, whose bytes nobody keeps
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
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		c.b.cfg.Logger.Info("broker: connection ended", "remote", c.net.RemoteAddr(), "err", err)
	}
}

// read starts requests until the client is gone or sends what is no request.
func (c *conn) read(ctx context.Context) error {
	in := bufio.NewReaderSize(c.net, 32<<10)
	for {
		frame, err := c.readFrame(in)
		if err != nil {
			return err
		}
		r, err := parseRequest(frame)
		if err != nil {
			return err
		}
		r.clientHost, r.serverHost = c.host, c.server
		complete, err := c.b.begin(ctx, r)
		if err != nil {
			return err
		}
		if r.key == int16(kmsg.Produce) && cap(frame) <= maxKeptFrameBytes {
			c.frame = frame
		}
		select {
		case c.queue <- started{r, complete}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// maxKeptFrameBytes limits the memory that a connection keeps for its next Produce request.
const maxKeptFrameBytes = 4 << 20

// firstReadBytes is how much memory a frame gets on its length's word alone. More comes as its bytes do.
const firstReadBytes = 1 << 20

func (c *conn) readFrame(in *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:])))
	if size < minRequestBytes || size > c.b.cfg.MaxRequestBytes {
		return nil, fmt.Errorf("request of %d bytes: must have %d to %d (Config.MaxRequestBytes)",
			size, minRequestBytes, c.b.cfg.MaxRequestBytes)
	}
	var frame []byte
	if peek, err := in.Peek(2); err == nil && binary.BigEndian.Uint16(peek) == uint16(kmsg.Produce) {
		frame, c.frame = c.frame[:0], nil
	}
	for len(frame) < size {
		from := len(frame)
		want := min(size, max(firstReadBytes, 2*from, cap(frame)))
		if want > cap(frame) {
			frame = append(make([]byte, 0, want), frame...)
		}
		frame = frame[:want]
		if _, err := io.ReadFull(in, frame[from:]); err != nil {
			return nil, fmt.Errorf("request of %d bytes: %w", size, err)
		}
	}
	return frame, nil
}

// write answers requests. After a failure it only completes what was started, so that nothing is left behind.
func (c *conn) write(ctx context.Context) {
	var buf []byte
	failed := false
	for s := range c.queue {
		a, err := s.complete(ctx)
		if failed || err == nil && a.silent {
			continue
		}
		if err == nil {
			buf, err = c.send(buf[:0], s.r, a)
		}
		if err != nil {
			failed = true
			if ctx.Err() == nil {
				c.b.cfg.Logger.Info("broker: connection ended", "remote", c.net.RemoteAddr(), "err", err)
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
		_, err := c.net.Write(buf)
		return buf, err
	}
	size := len(buf) - 4
	for _, part := range a.parts {
		size += len(part)
	}
	binary.BigEndian.PutUint32(buf, uint32(size))
	parts := append(net.Buffers{buf}, a.parts...)
	_, err := parts.WriteTo(c.net)
	return buf, err
}
