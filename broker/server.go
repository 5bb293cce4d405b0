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
	host, text, err := net.SplitHostPort(s.b.Addr())
	if err != nil {
		return fmt.Errorf("broker: the listener's address %q is not a host and a port; set Config.Advertise: %w",
			s.b.Addr(), err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return fmt.Errorf("broker: the listener's address %q has no port; set Config.Advertise: %w", s.b.Addr(), err)
	}
	if isUnspecified(host) {
		host = ""
	}
	s.host, s.port = host, int32(port)
	return nil
}

// isUnspecified tells whether a host is no address that a client can connect to, but all of this machine's.
func isUnspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// checkAdvertised tells what is wrong with an address that clients are to connect to.
func checkAdvertised(address string) error {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if isUnspecified(host) {
		return errors.New("clients can't connect to all addresses: name a host that they reach, or leave it out")
	}
	if port, err := strconv.ParseUint(text, 10, 16); err != nil || port == 0 {
		return fmt.Errorf("port %q must be a number from 1 to 65535", text)
	}
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

func (s *server) accept() {
	defer s.wg.Done()
	s.b.acceptAll(s.listener, func(nc net.Conn) {
		if err := s.serve(nc, true); err != nil {
			s.b.cfg.Logger.Warn("broker: connection refused", "remote", nc.RemoteAddr(), "err", err)
		}
	})
}

// acceptAll takes connections until the listener is closed. Any other error is transient: the process may be out of
// file descriptors, or the client may have given up. So acceptAll logs it, pauses and tries again.
func (b *broker) acceptAll(l net.Listener, take func(net.Conn)) {
	backoff := acceptBackoffFirst
	for {
		nc, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			b.cfg.Logger.Error("broker: accept failed, trying again", "listener", l.Addr(), "err", err, "in", backoff)
			if !b.pause(backoff) {
				return
			}
			backoff = min(2*backoff, acceptBackoffMax)
			continue
		}
		backoff = acceptBackoffFirst
		take(nc)
	}
}

// pause waits for d by the broker's clock. It reports false when the broker closes meanwhile.
func (b *broker) pause(d time.Duration) bool {
	over := make(chan struct{})
	stop := b.cfg.Clock.AfterFunc(d, func() { close(over) })
	select {
	case <-over:
		return true
	case <-b.stop:
		stop()
		return false
	}
}

// serve takes a connection, accepted by the listener or made within the process. It closes one that it can't take.
func (s *server) serve(nc net.Conn, accepted bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	switch {
	case s.closed:
		err = ErrClosed
	case len(s.conns) >= int(s.b.connectionsMax.Load()):
		err = fmt.Errorf("broker: %d connections are open, the limit (MaxConnections, or max.connections)", len(s.conns))
	}
	if err != nil {
		return errors.Join(err, nc.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := newConn(s.b, nc, cancel)
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	if accepted {
		c.idle = newIdleWatch(s.b, func() {
			s.b.cfg.Logger.Debug("broker: closing an idle connection", "remote", nc.RemoteAddr())
			c.abort()
		})
	}
	go func() {
		defer s.wg.Done()
		c.serve(ctx)
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	return nil
}

// open returns the number of connections.
func (s *server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
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
	if err := b.server.serve(served, false); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}
