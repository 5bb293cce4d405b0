package runtime_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/runtime"
)

// replaced is a process with an instance, as it is started and started again.
type replaced struct {
	cfg      runtime.Config
	app      *running
	log      *text
	restored *atomic.Int64 // records
}

func (h *harness) replaced(instance string) *replaced {
	n := &replaced{cfg: h.config()}
	n.cfg.Instance, n.cfg.State.FS = instance, vfs.NewMem()
	return n
}

func (n *replaced) begin(h *harness) {
	n.log = loggedTo(&n.cfg)
	n.restored = new(atomic.Int64)
	n.cfg.Hooks.RestoreEnded = func(r runtime.Restore) { n.restored.Add(r.Records) }
	n.app = h.start(words(h.t, byWord), n.cfg)
}

func (n *replaced) assignments() int { return strings.Count(n.log.String(), "msg=assigned") }

func (n *replaced) suspend(h *harness) {
	h.t.Helper()
	require.NoError(h.t, n.app.Suspend(h.ctx))
	require.NoError(h.t, <-n.app.end)
}

// Processes with a Config.Instance are replaced one after the other without a rebalance: no task moves, and none is
// restored. The first one leads the group.
func TestRollingRestart(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			h := newHarness(t)
			var processes []*replaced
			count := func() (counts []int) {
				for _, n := range processes {
					counts = append(counts, tasks(n.app))
				}
				return counts
			}
			for i := range 3 {
				n := h.replaced(fmt.Sprintf("p%d", i))
				n.cfg.Guarantee = guarantee
				n.begin(h)
				n.app.settled()
				processes = append(processes, n)
			}
			h.feed(100)
			h.await()
			spread := func() bool { c := count(); return c[0]+c[1]+c[2] == 8 && min(c[0], c[1], c[2]) >= 2 }
			require.Eventually(t, spread, patience, poll)
			was := count()
			for _, n := range processes {
				var before []int
				for _, o := range processes {
					before = append(before, o.assignments())
				}
				n.suspend(h)
				h.feed(50)
				n.begin(h)
				n.app.settled()
				require.Eventually(t, func() bool { return fmt.Sprint(count()) == fmt.Sprint(was) }, patience, poll)
				h.await()
				require.Zero(t, n.restored.Load())
				for i, o := range processes {
					if o == n {
						require.Equal(t, 1, o.assignments())
					} else {
						require.Equal(t, before[i], o.assignments(), "there was a rebalance")
					}
				}
			}
			processes[0].app.stop() // which leaves: the others have its tasks at once
			require.Eventually(t, func() bool { return tasks(processes[1].app)+tasks(processes[2].app) == 8 }, patience, poll)
			h.feed(50)
			h.await()
			processes[1].app.stop()
			processes[2].app.stop()
			h.exact()
		})
	}
}

// A process whose report differs, here by its workers, has the group balanced after its restart.
func TestARestartWithOtherWorkers(t *testing.T) {
	h := newHarness(t)
	one, two := h.replaced("one"), h.replaced("two")
	one.begin(h)
	one.app.settled()
	two.begin(h)
	require.Eventually(t, func() bool { return tasks(one.app) == 4 && tasks(two.app) == 4 }, patience, poll)
	two.suspend(h)
	two.cfg.Workers = 3
	two.begin(h)
	require.Eventually(t, func() bool { return tasks(one.app) == 2 && tasks(two.app) == 6 }, patience, poll)
	h.feed(50)
	h.await()
	one.app.stop()
	two.app.stop()
	h.exact()
}

// Of two processes with one instance the second takes the place of the first, which ends with an error that names both.
func TestTwoProcessesWithOneInstance(t *testing.T) {
	h := newHarness(t)
	first, second := h.replaced("one"), h.replaced("one")
	first.begin(h)
	first.app.settled()
	h.feed(100)
	h.await()
	second.begin(h)
	err := first.app.fails()
	require.ErrorContains(t, err, `two processes of application wordcount have the Config.Instance "one"`)
	require.ErrorContains(t, err, "client wordcount-one-member-")
	require.ErrorContains(t, err, "has taken the place of this one")
	require.ErrorIs(t, err, runtime.ErrFenced)
	require.Contains(t, second.log.String(), "takes the place of the member with the same instance")
	second.app.settled()
	h.feed(100)
	h.await()
	second.app.stop()
	h.exact()
}

func TestSuspendNeedsAnInstance(t *testing.T) {
	h := newHarness(t)
	app := h.start(words(t, byWord), h.config()).settled()
	require.ErrorContains(t, app.Suspend(h.ctx), "set Config.Instance, or use Close")
	require.Equal(t, runtime.Running, app.State())
	app.stop()
	cfg := h.config()
	cfg.Instance = "a b"
	_, err := runtime.New(words(t, byWord), cfg)
	require.ErrorContains(t, err, `Instance "a b"`)
}
