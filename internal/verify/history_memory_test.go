//go:build kill

package verify

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/faultfs"
	"thalweg/internal/verify/history"
)

// TestHistoryInMemory records what clients see of a broker in this process: its file system forgets at a power cut what
// was not synced, its disk is slow or full at times, and its clock is set.
func TestHistoryInMemory(t *testing.T) { recordHistories(t, newMachine) }

// machine is a computer with a broker.
type machine struct {
	t       *testing.T
	clock   *brokertest.Clock
	clocked sync.WaitGroup
	halt    chan struct{}
	off     time.Duration // by which the clock is wrong

	mu      sync.Mutex
	disk    *vfs.MemFS
	fs      *faultfs.FS
	broker  *broker.Broker // nil while it is down
	conns   map[*wire]struct{}
	closing sync.WaitGroup // brokers that the power was cut of
}

func newMachine(t *testing.T, _ *rand.Rand) *site {
	m := &machine{t: t, clock: brokertest.NewClock(), halt: make(chan struct{}), disk: vfs.NewCrashableMem()}
	m.fs = faultfs.New(m.disk)
	m.open()
	m.clocked.Go(m.tick)
	return &site{
		options: []kgo.Opt{kgo.SeedBrokers(m.broker.Addr()), kgo.Dialer(m.dial)},
		faults: [][]fault{
			{{"power cut", m.cutPower}, {"restart", m.restart}},
			{{"full disk", m.fillDisk}, {"slow disk", m.slowDown}},
			{{"clock set", m.setClock}, {"time passes", m.passTime}},
		},
		close: m.close,
	}
}

// open starts the broker. One that cannot start has lost what it has stored. m.mu is held, or nobody knows the machine
// yet.
func (m *machine) open() {
	b, err := broker.Open(broker.Config{FS: m.fs, Clock: m.clock})
	if err != nil {
		m.t.Errorf("anomaly: %s: the broker does not start: %v", history.Unreadable, err)
		return
	}
	m.broker, m.conns = b, map[*wire]struct{}{}
}

func (m *machine) close() {
	close(m.halt)
	m.clocked.Wait()
	if m.broker != nil {
		require.NoError(m.t, m.broker.Close())
	}
	m.closing.Wait()
}

// tick moves the clock as time passes.
func (m *machine) tick() {
	const every = 5 * time.Millisecond
	for {
		select {
		case <-m.halt:
			return
		case <-time.After(every):
			m.clock.Advance(every)
		}
	}
}

// wire is a connection that can be cut: what arrives afterwards nobody sees.
type wire struct {
	net.Conn
	machine *machine
	cut     bool // machine.mu guards it
}

var errCut = errors.New("the connection is cut")

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.machine.mu.Lock()
	defer w.machine.mu.Unlock()
	if w.cut {
		return 0, errCut
	}
	return n, err
}

func (w *wire) Close() error {
	w.machine.mu.Lock()
	delete(w.machine.conns, w)
	w.machine.mu.Unlock()
	return w.Conn.Close()
}

func (m *machine) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broker == nil {
		return nil, syscall.ECONNREFUSED
	}
	conn, err := m.broker.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: conn, machine: m}
	m.conns[w] = struct{}{}
	return w, nil
}

// cutPower cuts the connections first: what the broker does between that and the copy of its disk nobody sees. The old
// broker goes on in its own world until it is closed.
func (m *machine) cutPower(r *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for w := range m.conns {
		w.cut = true
		_ = w.Conn.Close()
	}
	left := m.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
	if old := m.broker; old != nil {
		m.closing.Go(func() { _ = old.Close() })
	}
	m.broker, m.disk, m.fs = nil, left, faultfs.New(left)
	m.open()
}

// restart closes the broker and opens it again.
func (m *machine) restart(*rand.Rand) {
	m.mu.Lock()
	old := m.broker
	m.broker = nil
	m.mu.Unlock()
	if old != nil {
		_ = old.Close() // on a full disk it may say so
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open()
}

func (m *machine) fileSystem() *faultfs.FS {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fs
}

// fillDisk lets nothing be written for a while.
func (m *machine) fillDisk(r *rand.Rand) {
	fs := m.fileSystem()
	fs.Fail(&faultfs.Fault{Err: syscall.ENOSPC, Kind: func(op errorfs.OpKind) bool {
		return slices.Contains([]errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpCreate}, op)
	}})
	<-time.After(r.N(500 * time.Millisecond))
	fs.Fail(nil)
}

// slowDown makes each sync take long for a while.
func (m *machine) slowDown(r *rand.Rand) {
	fs := m.fileSystem()
	fs.SlowSyncs(time.Millisecond + r.N(50*time.Millisecond))
	<-time.After(r.N(2 * time.Second))
	fs.SlowSyncs(0)
}

// setClock sets the clock to a time that is hours off. No time passes. A broker that starts cannot tell a clock that
// was set from a long pause: after a day it forgets producers, after a week records.
func (m *machine) setClock(r *rand.Rand) {
	const most = 11 * time.Hour
	off := r.N(2*most) - most
	m.clock.Jump(off - m.off)
	m.off = off
}

// passTime lets members, and transactions, run out of time.
func (m *machine) passTime(r *rand.Rand) { m.clock.Advance(r.N(50 * time.Second)) }
