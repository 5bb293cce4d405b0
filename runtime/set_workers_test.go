package runtime_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
)

// member is the only member of the application's group.
func (h *harness) member() kadm.DescribedGroupMember {
	h.t.Helper()
	groups, err := h.admin.DescribeGroups(h.ctx, "wordcount")
	require.NoError(h.t, err)
	require.Len(h.t, groups["wordcount"].Members, 1)
	return groups["wordcount"].Members[0]
}

// spread is how many tasks each worker runs.
func spread(s runtime.Stats) (counts []int) {
	for _, w := range s.Workers {
		n := 0
		for _, task := range w.Tasks {
			if task.State == "running" {
				n++
			}
		}
		counts = append(counts, n)
	}
	return counts
}

// Workers come and go while records arrive. The process spreads its tasks over those that there are, each moves with
// its state, and the group, of which the process is one member, does not notice.
func TestSetWorkers(t *testing.T) {
	t.Parallel()
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		for _, remote := range []bool{false, true} {
			t.Run(guarantee.String()+map[bool]string{false: "/local", true: "/remote"}[remote], func(t *testing.T) {
				t.Parallel()
				h := newHarness(t)
				cfg := h.config()
				cfg.Guarantee, cfg.NoLocal = guarantee, remote
				app := h.start(words(t, byWord), cfg).settled()
				member := h.member()
				for _, n := range []int{4, 2, 3, 1, 8} {
					h.feed(100)
					require.NoError(t, app.SetWorkers(n))
					h.feed(100)
					app.settled()
					require.Eventually(t, func() bool {
						counts := spread(app.Stats())
						return len(counts) == n && slices.Max(counts) == (8+n-1)/n && slices.Min(counts) == 8/n
					}, patience, poll)
					require.Empty(t, app.Stats().Pending)
				}
				for range 20 { // without waiting
					require.NoError(t, app.SetWorkers(1+h.random.IntN(6)))
					h.feed(h.random.IntN(50))
				}
				h.await()
				app.settled()
				require.Equal(t, member, h.member())
				var processed int64
				for _, n := range app.caughtUp().Stats().Nodes {
					if n.Node == "count" {
						processed = n.Processed
					}
				}
				require.LessOrEqual(t, processed, h.total)
				app.stop()
				for _, n := range app.Stats().Nodes {
					if n.Node == "count" {
						require.Equal(t, h.total, n.Processed, "what workers have counted that are gone counts")
					}
				}
				h.exact()
			})
		}
	}
}

func TestSetWorkersBeforeAndAfter(t *testing.T) {
	h := newHarness(t)
	app := h.start(words(t, byWord), h.config())
	require.NoError(t, app.SetWorkers(3), "whether it runs already or not")
	app.settled()
	require.Len(t, app.Stats().Workers, 3)
	require.ErrorContains(t, app.SetWorkers(0), "from 1 to")
	require.ErrorContains(t, app.SetWorkers(1<<20), "from 1 to")
	app.stop()
	require.ErrorContains(t, app.SetWorkers(1), "has ended")
	require.ErrorIs(t, app.SetWorkers(1), runtime.ErrClosed)
}

// A task does not move before the call that it is in has come back. Stats say what it waits for.
func TestATaskMovesAfterItsCall(t *testing.T) {
	h := newHarness(t)
	begun, over := make(chan struct{}), make(chan struct{})
	var once sync.Once
	refuse := func(line string) error {
		if line == "slow" {
			once.Do(func() { close(begun) })
			<-over
		}
		return nil
	}
	app := h.start(wordsUnless(t, byWord, refuse), h.config()).settled()
	h.produce(&kgo.Record{Topic: "lines", Key: []byte("k"), Value: []byte("slow")})
	h.want["slow"]++
	<-begun
	require.NoError(t, app.SetWorkers(2))
	require.Eventually(t, func() bool { return len(app.Stats().Pending) == 4 }, patience, poll)
	for _, p := range app.Stats().Pending {
		require.Equal(t, "it moves, and worker 0 has to commit and close it first", p.Reason)
		require.Zero(t, p.Worker)
	}
	require.Equal(t, runtime.Rebalancing, app.State())
	close(over)
	app.settled()
	require.Empty(t, app.Stats().Pending)
	h.await()
	app.stop()
	h.exact()
}

// Checkpoint does not wait for a worker that is taken away.
func TestCheckpointWhileWorkersGo(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	cfg.Workers = 8
	app := h.start(words(t, byWord), cfg).settled()
	ctx, cancel := context.WithTimeout(h.ctx, patience)
	defer cancel()
	for i := range 20 {
		require.NoError(t, app.SetWorkers(1+7*(i%2)))
		require.NoError(t, app.Checkpoint(ctx))
	}
	app.stop()
}

// The group takes the process out while one of its workers is in a call, and the process comes back at once. The tasks
// of the other worker go on. What the call is part of is not committed, and its tasks have no other worker before it
// has come back.
func TestTheMembershipIsLostDuringACall(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			h := newHarness(t)
			begun, over := make(chan struct{}), make(chan struct{})
			var once sync.Once
			cfg := h.config()
			cfg.Guarantee, cfg.Workers = guarantee, 2
			app := h.start(wordsUnless(t, byWord, func(line string) error {
				if line == "slow" {
					once.Do(func() { close(begun) })
					<-over
				}
				return nil
			}), cfg).settled()
			h.feed(100)
			h.await()
			member := h.member().MemberID
			h.produce(&kgo.Record{Topic: "lines", Key: []byte("k"), Value: []byte("slow")})
			h.want["slow"]++
			<-begun
			h.expel()
			require.Eventually(t, func() bool {
				pending := app.Stats().Pending
				return len(pending) == 4 && pending[0].Reason ==
					fmt.Sprintf("the process had lost it, and worker %d has to close it first", pending[0].Worker)
			}, patience, poll)
			require.NotEqual(t, member, h.member().MemberID)
			require.Equal(t, runtime.Rebalancing, app.State())
			close(over)
			app.settled()
			h.feed(100)
			h.await()
			app.stop()
			h.atLeast()
			if guarantee == runtime.ExactlyOnce {
				h.exact()
			}
		})
	}
}
