package runtime_test

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/runtime"
)

// TestRebalance lets processes with several workers join and leave in the middle of a run, and workers come and go,
// near the broker, far from it, and over connections that break. What they have on disk goes stale and is used again.
// Counts are exact, at least once, too, as long as nothing breaks.
func TestRebalance(t *testing.T) {
	t.Parallel()
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		for _, network := range []string{"near", "far", "breaking"} {
			t.Run(guarantee.String()+"/"+network, func(t *testing.T) {
				t.Parallel()
				h := newHarness(t)
				breaking := h.cuts()
				breaking.on.Store(network == "breaking")
				var configs [3]runtime.Config // one per process
				for i := range configs {
					cfg := h.config()
					cfg.Guarantee = guarantee
					cfg.State.FS = vfs.NewMem()
					cfg.Workers = 1 + i
					cfg.NoLocal = i == 1
					if network != "near" {
						cfg.NoLocal = true
						cfg.ClientOptions = h.over(func(c net.Conn) net.Conn { return breaking.wrap(slowConn{c}) })
					}
					if network == "breaking" {
						cfg.SessionTimeout = 6 * time.Second // a member's farewell may be what is lost
					}
					configs[i] = cfg
				}
				h.joinAndLeave(configs[:], 8)
				t.Logf("%d connections cut", breaking.made.Load())
				h.atLeast()
				if guarantee == runtime.ExactlyOnce || network != "breaking" {
					h.exact()
				}
			})
		}
	}
}

// joinAndLeave starts and stops processes at random while records arrive.
func (h *harness) joinAndLeave(configs []runtime.Config, rounds int) {
	h.t.Helper()
	apps := make([]*running, len(configs))
	alive := 0
	for round := range rounds {
		i := h.random.IntN(len(apps))
		switch {
		case apps[i] == nil:
			h.t.Logf("round %d: process %d joins", round, i)
			apps[i] = h.start(words(h.t, byWord), configs[i])
			alive++
		case alive > 1:
			h.t.Logf("round %d: process %d leaves", round, i)
			apps[i].stop()
			apps[i] = nil
			alive--
		}
		for i, app := range apps {
			if n := 1 + h.random.IntN(4); app != nil && h.random.IntN(2) == 0 {
				h.t.Logf("round %d: process %d has %d workers", round, i, n)
				require.NoError(h.t, app.SetWorkers(n))
			}
		}
		h.feed(100 + h.random.IntN(200))
		if h.random.IntN(2) == 0 {
			h.await()
		}
	}
	h.await()
	for _, app := range apps {
		if app != nil {
			app.stop()
		}
	}
}

// slowConn is a connection on which answers take their time, some of them much.
type slowConn struct{ net.Conn }

func (c slowConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	switch dice := rand.IntN(20); {
	case dice == 0:
		<-time.After(time.Duration(rand.IntN(100)) * time.Millisecond)
	case dice < 8:
		<-time.After(time.Duration(rand.IntN(5)) * time.Millisecond)
	}
	return n, err
}

// TestAProcessThatFallsSilent cuts a process off until the group has given its tasks to another, and lets it come back
// with what it had not committed.
func TestAProcessThatFallsSilent(t *testing.T) {
	t.Parallel()
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			silence := new(gate)
			var apps [2]*running
			for i := range apps {
				cfg := h.config()
				cfg.Guarantee, cfg.State.FS, cfg.SessionTimeout = guarantee, vfs.NewMem(), 6*time.Second
				if i == 1 {
					cfg.NoLocal, cfg.ClientOptions = true, h.over(silence.wrap)
				}
				apps[i] = h.start(words(t, byWord), cfg).settled()
			}
			require.Eventually(t, func() bool { return tasks(apps[0]) == 4 && tasks(apps[1]) == 4 }, patience, poll)
			h.feed(200)
			silence.Lock() // in the middle of its work
			h.feed(200)
			h.await()
			require.Eventually(t, func() bool { return tasks(apps[0]) == 8 }, patience, poll)
			silence.Unlock()
			h.feed(200)
			h.await()
			require.Eventually(t, func() bool { return tasks(apps[0]) == 4 && tasks(apps[1]) == 4 }, patience, poll)
			h.feed(200)
			h.await()
			for _, app := range apps {
				app.stop()
			}
			h.atLeast()
			if guarantee == runtime.ExactlyOnce {
				h.exact()
			}
		})
	}
}

// gate lets connections carry nothing while it is locked.
type gate struct{ sync.RWMutex }

func (g *gate) wrap(conn net.Conn) net.Conn { return &gatedConn{conn, g} }

type gatedConn struct {
	net.Conn
	gate *gate
}

func (c *gatedConn) Write(b []byte) (int, error) {
	c.gate.RLock()
	defer c.gate.RUnlock()
	return c.Conn.Write(b)
}

func (c *gatedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.gate.RLock()
	defer c.gate.RUnlock()
	return n, err
}

// TestTakeover runs a second process beside the first: it gets its share of the tasks, with their state, and all of
// them when the first one leaves.
func TestTakeover(t *testing.T) {
	h := newHarness(t)
	first := h.start(words(t, byWord), h.config()).settled()
	h.feed(300)
	h.await()
	other := h.config()
	other.State.FS = vfs.NewMem()
	second := h.start(words(t, byWord), other)
	require.Eventually(t, func() bool { return tasks(first) == 4 && tasks(second) == 4 }, patience, poll)
	h.feed(300)
	h.await()
	first.stop()
	h.feed(300)
	h.await()
	require.Eventually(t, func() bool { return tasks(second) == 8 }, patience, poll)
	second.stop()
	h.exact()
}

// tasks counts those that a process runs.
func tasks(r *running) (n int) {
	for _, w := range r.Stats().Workers {
		for _, task := range w.Tasks {
			if task.State == "running" {
				n++
			}
		}
	}
	return n
}
