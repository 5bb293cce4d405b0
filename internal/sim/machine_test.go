package sim

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"thalweg/broker"
	"thalweg/internal/faultfs"
)

// wall is a clock that can be set. Its timers do not notice.
type wall struct{ off atomic.Int64 }

func (c *wall) Now() time.Time { return time.Now().Add(time.Duration(c.off.Load())) }

func (c *wall) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }

func (c *wall) set(off time.Duration) { c.off.Store(int64(off)) }

// drive is a disk with what can go wrong with it.
type drive struct {
	mem *vfs.MemFS
	*faultfs.FS
}

// newDrive has a directory that a crash does not take away.
func newDrive(w *world, who string, mem *vfs.MemFS) *drive {
	traced := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if faultfs.Writes(op.Kind) {
			w.trace.add(who, "file %v %s", op.Kind, op.Path)
		}
		return nil
	}))
	return &drive{mem, faultfs.New(traced)}
}

// crash is what a crash leaves of the disk: all that was written of a process that was killed, less of a power cut.
func (d *drive) crash(r *rand.Rand, power bool) *vfs.MemFS {
	percent := 100
	if power {
		percent = r.IntN(101)
	}
	if r == nil {
		r = rand.New(rand.NewPCG(1, 1)) // nothing is left to chance
	}
	return d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: r})
}

func emptyDisk(dirs ...string) (*vfs.MemFS, error) {
	disk := vfs.NewCrashableMem()
	for _, name := range append([]string{""}, dirs...) {
		if name != "" {
			if err := disk.MkdirAll(name, 0o750); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range append([]string{""}, dirs...) {
		dir, err := disk.OpenDir(name)
		if err != nil {
			return nil, err
		}
		if err := dir.Sync(); err != nil {
			return nil, err
		}
		if err := dir.Close(); err != nil {
			return nil, err
		}
	}
	return disk, nil
}

// machine is a computer with a broker.
type machine struct {
	world *world
	clock wall

	mu     sync.Mutex
	drive  *drive
	broker *broker.Broker // nil while it is down
}

func (m *machine) current() *broker.Broker {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.broker
}

func (m *machine) disk() *drive {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.drive
}

func (m *machine) open() {
	d := m.disk()
	d.Fail(nil) // as that of a process
	b, err := broker.Open(broker.Config{
		FS: d, Clock: &m.clock,
		Logger: slog.New(slog.NewTextHandler(traceWriter{m.world.trace, "broker"}, nil)),
	})
	if err != nil {
		m.world.fail("the broker does not start: %v", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broker = b
}

// down takes the broker off the network.
func (m *machine) down() *broker.Broker {
	m.mu.Lock()
	b := m.broker
	m.broker = nil
	m.mu.Unlock()
	m.world.cutAll()
	return b
}

// kill leaves what a crash leaves of the disk. The old broker goes on in a world of its own until it is closed.
func (m *machine) kill(r *rand.Rand, power bool) {
	old := m.down()
	d := m.disk()
	left := d.crash(r, power)
	m.mu.Lock()
	m.drive = newDrive(m.world, "broker", left)
	m.mu.Unlock()
	d.Fail(nil)
	d.SlowSyncs(0)
	if old != nil {
		m.world.running.Go(func() { _ = old.Close() })
	}
}

// close stops the broker.
func (m *machine) close() {
	if b := m.down(); b != nil {
		if err := b.Close(); err != nil {
			m.world.trace.add("broker", "close: %v", err)
		}
	}
}
