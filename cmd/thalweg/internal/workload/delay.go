package workload

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
)

// delayed are options with which each request reaches the broker so much later than it is sent. Requests that follow
// each other on a connection do not wait for each other.
func delayed(by time.Duration) runtime.ClientOptions {
	return runtime.Options(kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return newDelayedConn(conn, by), nil
	}))
}

// delayedConn is a connection whose writes arrive later.
type delayedConn struct {
	net.Conn
	by     time.Duration
	wake   chan struct{} // has a token when there is something to write
	closed chan struct{}
	close  func()

	mu    sync.Mutex
	queue []written // on the way
	err   error     // of a write
}

type written struct {
	at    time.Time // when it arrives
	bytes []byte
}

func newDelayedConn(conn net.Conn, by time.Duration) *delayedConn {
	c := &delayedConn{Conn: conn, by: by, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	c.close = sync.OnceFunc(func() { close(c.closed) })
	go c.run()
	return c
}

// Write implements net.Conn. An error of the connection is returned by a later Write.
func (c *delayedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	c.queue = append(c.queue, written{time.Now().Add(c.by), append([]byte(nil), b...)})
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return len(b), nil
}

// Close implements net.Conn. What has not arrived never does.
func (c *delayedConn) Close() error {
	c.close()
	return c.Conn.Close()
}

func (c *delayedConn) run() {
	for {
		select {
		case <-c.closed:
			return
		case <-c.wake:
		}
		c.mu.Lock()
		queue := c.queue
		c.queue = nil
		c.mu.Unlock()
		for _, w := range queue {
			select {
			case <-c.closed:
				return
			case <-time.After(time.Until(w.at)):
			}
			if _, err := c.Conn.Write(w.bytes); err != nil {
				c.mu.Lock()
				c.err = err
				c.mu.Unlock()
				return
			}
		}
	}
}
