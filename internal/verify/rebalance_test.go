//go:build kill

package verify

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRebalance lets processes join a running count, leave it, and die and come back.
func TestRebalance(t *testing.T) {
	s := scaled(scale{lines: 3_000_000}, scale{lines: 700_000})
	for _, g := range []guarantee{exactly, atLeast} {
		t.Run(g.String(), func(t *testing.T) {
			if testing.Short() && !g.exact {
				t.Skip("in the full form")
			}
			r := seeded(t)
			text := newText(t, r, s.lines)
			b := serve(t, t.TempDir(), "127.0.0.1:0")
			command := func(dir string, flags ...string) *process {
				return start(t, built(t).wordcount,
					slices.Concat(flags, g.flags, []string{"-brokers", b.addr, "-dir", dir, "-workers", "2", text.path})...)
			}
			began := time.Now()
			feeder := command(t.TempDir(), "-all")
			leaves, dies := t.TempDir(), t.TempDir()
			changes := 0
			for !feeder.exitsWithin(r.N(time.Second)) {
				first := command(leaves, "-join")
				feeder.exitsWithin(r.N(time.Second))
				second := command(dies, "-join")
				feeder.exitsWithin(r.N(2 * time.Second))
				first.works(leaves)
				first.signal(syscall.SIGTERM)
				first.succeeds()
				feeder.exitsWithin(r.N(time.Second))
				second.kill()
				changes++
				if changes == 3 { // the last one that dies comes back and stays
					last := command(dies, "-join")
					defer last.kill()
					break
				}
			}
			g.check(t, text.want, printed(t, feeder.succeeds()))
			t.Logf("%d rounds of two that joined, one that left and one that died; %v in all", changes, time.Since(began))
			require.Positive(t, changes, "the count was too fast")
			g.check(t, text.want, g.published(t, b.addr))
		})
	}
}

// works returns once a word count has locked its state: a signal ends it gracefully from then on.
func (p *process) works(dir string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		names, err := filepath.Glob(filepath.Join(dir, "state", "*", "pid"))
		require.NoError(p.t, err)
		return slices.ContainsFunc(names, func(name string) bool {
			pid, err := os.ReadFile(name)
			return err == nil && strings.TrimSpace(string(pid)) == strconv.Itoa(p.cmd.Process.Pid)
		})
	}, finishWithin, 20*time.Millisecond, "%s", p.cmd)
}
