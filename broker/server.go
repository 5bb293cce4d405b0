package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"thalweg/broker/internal/memnet"
)

// memoryAddr is the seed address of a broker without a port. Only Dial understands it.
const memoryAddr = "thalweg.memory:9092"

// server owns the connections.
type server struct {
	b        *broker
	listener net.Listener // nil without a port
	host     string       // as advertised; empty when the listener accepts on all addresses
	port     int32

	mu     sync.Mutex
	conns  map[*conn]struct{}
	closed bool
	wg     sync.WaitGroup
}

func newServer(b *broker) *server {
	return &server{b: b, listener: b.cfg.Listener, conns: make(map[*conn]struct{})}
}

// address sets what clients are told to connect to.
func (s *server) address() error {
	addr := s.b.Addr()
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("broker: config: Advertise %q: %w", addr, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return fmt.Errorf("broker: config: Advertise %q: port: %w", addr, err)
	}
	if ip := net.ParseIP(host); s.b.cfg.Advertise == "" && (host == "" || ip != nil && ip.IsUnspecified()) {
		host = ""
	}
	s.host, s.port = host, int32(port)
	return nil
}

// advertised is the address that a client is told to connect to. Nobody can connect to 0.0.0.0, so a broker that
// listens on all addresses names the one that the client's own connection came in by.
func (s *server) advertised(r *request) (host string, port int32) {
	if s.host != "" {
		return s.host, s.port
	}
	return r.serverHost, s.port
}

func (s *server) start() {
	if s.listener == nil {
		return
	}
	s.wg.Add(1)
	go s.accept()
}

// The pause after a failed Accept doubles from the first to the second, as in net/http.
const (
	acceptBackoffFirst = 5 * time.Millisecond
	acceptBackoffMax   = time.Second
)

// accept takes connections until the listener is closed. Any other error is transient: the process may be out of file
// descriptors, or the client may have given up. So accept logs it, pauses and tries again.
func (s *server) accept() {
	defer s.wg.Done()
	backoff := acceptBackoffFirst
	for {
		nc, err := s.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.b.cfg.Logger.Error("broker: accept failed, trying again", "err", err, "in", backoff)
			if !s.pause(backoff) {
				return
			}
			backoff = min(2*backoff, acceptBackoffMax)
			continue
		}
		backoff = acceptBackoffFirst
		if err := s.serve(nc); err != nil {
			s.b.cfg.Logger.Warn("broker: connection refused", "remote", nc.RemoteAddr(), "err", err)
		}
	}
}

// pause waits for d by the broker's clock. It reports false when the broker closes meanwhile.
func (s *server) pause(d time.Duration) bool {
	over := make(chan struct{})
	stop := s.b.cfg.Clock.AfterFunc(d, func() { close(over) })
	select {
	case <-over:
		return true
	case <-s.b.stop:
		stop()
		return false
	}
}

// serve takes a connection, which it closes if it can't.
func (s *server) serve(nc net.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	switch {
	case s.closed:
		err = ErrClosed
	case len(s.conns) >= s.b.cfg.MaxConnections:
		err = fmt.Errorf("broker: %d connections are open, the limit MaxConnections", len(s.conns))
	}
	if err != nil {
		return errors.Join(err, nc.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := newConn(s.b, nc, cancel)
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		c.serve(ctx)
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	return nil
}

func (s *server) close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.abort()
	}
	s.mu.Unlock()
	var err error
	if s.listener != nil {
		err = s.listener.Close()
	}
	s.wg.Wait()
	return err
}

func (b *broker) Addr() string {
	switch {
	case b.cfg.Advertise != "":
		return b.cfg.Advertise
	case b.cfg.Listener != nil:
		return b.cfg.Listener.Addr().String()
	default:
		return memoryAddr
	}
}

func (b *broker) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	client, served := memnet.Pair("client", memoryAddr)
	if err := b.server.serve(served); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}
