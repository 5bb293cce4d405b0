package broker

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// idleWatch closes a connection on which nothing has happened for Config.IdleConnectionMax: the client may be gone
// without a word, as when its machine lost power. A connection whose request is being answered is not idle, however
// long the answer takes; one that does not take its answer is.
type idleWatch struct {
	b      *broker
	close  func()
	active atomic.Int64 // when something happened last, by the steady clock
	busy   atomic.Int32 // requests that are being answered

	mu    sync.Mutex
	stop  func() bool
	ended bool
}

// newIdleWatch begins to watch a connection. Those within the process are not watched, since they end with it: a nil
// watch does nothing.
func newIdleWatch(b *broker, closeConn func()) *idleWatch {
	w := &idleWatch{b: b, close: closeConn}
	w.touch()
	w.wait(b.cfg.IdleConnectionMax)
	return w
}

// touch notes that bytes have come, or that the client has taken some.
func (w *idleWatch) touch() {
	if w != nil {
		w.active.Store(w.b.steady.Now().UnixNano())
	}
}

// begin and answer note that a request begins to wait for its answer, and that the answer is there.
func (w *idleWatch) begin() {
	if w != nil {
		w.busy.Add(1)
	}
}

func (w *idleWatch) answer() {
	if w != nil {
		w.touch()
		w.busy.Add(-1)
	}
}

func (w *idleWatch) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.stop = w.b.cfg.Clock.AfterFunc(d, w.look)
	}
}

func (w *idleWatch) look() {
	if w.busy.Load() > 0 {
		w.touch()
	}
	left := w.b.cfg.IdleConnectionMax - w.b.steady.Now().Sub(time.Unix(0, w.active.Load()))
	if left > 0 {
		w.wait(left)
		return
	}
	w.close()
}

func (w *idleWatch) end() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	if w.stop != nil {
		w.stop()
	}
}

// watched is a connection whose bytes are signs of life.
type watched struct {
	net.Conn
	idle *idleWatch
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.idle.touch()
	return n, err
}
