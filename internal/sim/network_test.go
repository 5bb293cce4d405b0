package sim

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// latency is how long a message takes one way when nothing is wrong.
const latency = 100 * time.Microsecond

// host is a computer with clients on it, as the network sees it.
type host struct {
	name  string
	world *world

	mu       sync.Mutex
	links    map[*link]struct{}
	dead     bool                       // nobody hears from it again
	cutOff   bool                       // until healed
	delay    time.Duration              // of each message, on top of latency
	delays   map[kmsg.Key]time.Duration // of each request of a kind, on top of that
	held     chan struct{}              // closed when messages pass again; nil when they pass
	lose     map[kmsg.Key]bool
	deafened map[kmsg.Key]bool
	onLoss   func()              // called once when a request is lost
	onAnswer map[kmsg.Key]func() // called once when a request of a kind is answered
}

func (w *world) newHost(name string) *host {
	return &host{
		name: name, world: w, links: map[*link]struct{}{}, lose: map[kmsg.Key]bool{}, deafened: map[kmsg.Key]bool{},
		delays: map[kmsg.Key]time.Duration{}, onAnswer: map[kmsg.Key]func(){},
	}
}

// dial is a kgo.Dialer.
func (h *host) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	b := h.world.machine.current()
	h.mu.Lock()
	defer h.mu.Unlock()
	if b == nil || h.dead || h.cutOff {
		return nil, syscall.ECONNREFUSED
	}
	server, err := b.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	near, client := net.Pipe()
	l := &link{host: h, client: near, server: server, ended: make(chan struct{})}
	h.links[l] = struct{}{}
	h.world.running.Go(l.requests)
	h.world.running.Go(l.answers)
	return client, nil
}

// each calls f for each connection.
func (h *host) each(f func(*link)) {
	h.mu.Lock()
	links := make([]*link, 0, len(h.links))
	for l := range h.links {
		links = append(links, l)
	}
	h.mu.Unlock()
	for _, l := range links {
		f(l)
	}
}

// cut ends all connections. Requests that are on their way are lost.
func (h *host) cut() { h.each((*link).close) }

// die is what the network notices of a kill. What was sent before may still arrive.
func (h *host) die() {
	h.mu.Lock()
	h.dead = true
	h.mu.Unlock()
	h.each(func(l *link) { _ = l.client.Close() })
}

func (h *host) setCutOff(off bool) {
	h.mu.Lock()
	h.cutOff = off
	h.mu.Unlock()
	if off {
		h.cut()
	}
}

func (h *host) setDelay(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.delay = d
}

// setDelayOf delays requests of some kinds.
func (h *host) setDelayOf(d time.Duration, keys ...kmsg.Key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range keys {
		h.delays[key] = d
	}
}

// hold stops all messages until flow.
func (h *host) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held == nil {
		h.held = make(chan struct{})
	}
}

func (h *host) flow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held != nil {
		close(h.held)
		h.held = nil
	}
}

// loseNext loses the next answer to a request of a kind, or the request itself.
func (h *host) loseNext(key kmsg.Key, answer bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if answer {
		h.deafened[key] = true
	} else {
		h.lose[key] = true
	}
}

// loseWith loses the next request of a kind and calls f then.
func (h *host) loseWith(key kmsg.Key, f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lose[key], h.onLoss = true, f
}

func (h *host) heal() {
	h.flow()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cutOff, h.delay, h.onLoss = false, 0, nil
	clear(h.delays)
	clear(h.onAnswer)
	clear(h.lose)
	clear(h.deafened)
}

func (h *host) delayOf(key kmsg.Key) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.delays[key]
}

func (h *host) lost() {
	h.mu.Lock()
	f := h.onLoss
	h.onLoss = nil
	h.mu.Unlock()
	if f != nil {
		f()
	}
}

func (h *host) answered(key kmsg.Key) {
	h.mu.Lock()
	f := h.onAnswer[key]
	delete(h.onAnswer, key)
	h.mu.Unlock()
	if f != nil {
		f()
	}
}

// onceAssigned calls f when a process's next assignment is on its way, and closes a channel after that.
func (h *host) onceAssigned(f func()) <-chan struct{} {
	done := make(chan struct{})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onAnswer[kmsg.SyncGroup] = func() {
		f()
		close(done)
	}
	return done
}

// take reports whether a message of a kind is to be lost, once.
func (h *host) take(from map[kmsg.Key]bool, key kmsg.Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !from[key] {
		return false
	}
	delete(from, key)
	return true
}

// link is a connection. Requests are answered in the order in which they came.
type link struct {
	host           *host
	client, server net.Conn
	ended          chan struct{}
	once           sync.Once

	mu      sync.Mutex
	pending []request
}

// request is one that waits for its answer.
type request struct {
	key         kmsg.Key
	version     int16
	correlation int32
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.ended)
		_ = l.client.Close()
		_ = l.server.Close()
		l.host.mu.Lock()
		delete(l.host.links, l)
		l.host.mu.Unlock()
	})
}

// pass waits as long as a message takes. It is false when the connection ends first.
func (l *link) pass(more time.Duration) bool {
	l.host.mu.Lock()
	d := latency + l.host.delay + more
	l.host.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.ended:
		return false
	}
	for {
		l.host.mu.Lock()
		held := l.host.held
		l.host.mu.Unlock()
		if held == nil {
			return true
		}
		select {
		case <-held:
		case <-l.ended:
			return false
		}
	}
}

func (l *link) requests() {
	defer l.close()
	for {
		frame, err := readFrame(l.client)
		if err != nil || len(frame) < 12 {
			return
		}
		r := request{
			kmsg.Key(binary.BigEndian.Uint16(frame[4:])), int16(binary.BigEndian.Uint16(frame[6:])),
			int32(binary.BigEndian.Uint32(frame[8:])),
		}
		if !l.pass(l.host.delayOf(r.key)) {
			return
		}
		if l.host.take(l.host.lose, r.key) {
			l.host.world.happened(lossOf(r.key, false))
			l.trace(r, "request lost")
			l.host.lost()
			return
		}
		l.mu.Lock() // nobody here produces with acks=0, which has no answer
		l.pending = append(l.pending, r)
		l.mu.Unlock()
		if l.host != l.host.world.driver {
			l.host.world.happened("request: " + r.name())
		}
		l.trace(r, "request")
		if _, err := l.server.Write(frame); err != nil {
			return
		}
	}
}

func (l *link) answers() {
	defer l.close()
	for {
		frame, err := readFrame(l.server)
		if err != nil {
			return
		}
		l.mu.Lock()
		r := l.pending[0]
		l.pending = l.pending[1:]
		l.mu.Unlock()
		if l.host.take(l.host.deafened, r.key) {
			l.host.world.happened(lossOf(r.key, true))
			l.trace(r, "response lost")
			return
		}
		if !l.pass(0) {
			return
		}
		l.trace(r, "response")
		l.host.answered(r.key)
		if _, err := l.client.Write(frame); err != nil {
			return
		}
	}
}

func (l *link) trace(r request, what string) {
	if r.key != kmsg.Fetch || what != "request" && what != "response" {
		l.host.world.trace.add(l.host.name, "%s %s v%d #%d", what, r.name(), r.version, r.correlation)
	}
}

// lossOf is how a request or an answer that was lost is counted.
func lossOf(key kmsg.Key, answer bool) string {
	if answer {
		return "lost response: " + kmsg.NameForKey(key.Int16())
	}
	return "lost request: " + kmsg.NameForKey(key.Int16())
}

// readFrame reads a message with its length in front.
func readFrame(conn net.Conn) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
	copy(frame, size[:])
	_, err := io.ReadFull(conn, frame[4:])
	return frame, err
}

func (r request) name() string { return kmsg.NameForKey(r.key.Int16()) }
