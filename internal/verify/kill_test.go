//go:build kill

package verify

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// scale is how much is done: the short form is for every change, the full one for releases.
type scale struct {
	kills int // per test
	lines int // of the text
}

func scaled(full, short scale) scale {
	if testing.Short() {
		return short
	}
	return full
}

// inRounds kills until it has killed often enough; a round may end before.
func inRounds(kills int, round func(kills int) (killed int)) {
	for killed := 0; killed < kills; {
		killed += round(kills - killed)
	}
}

// killing kills at random moments as long as the work goes on. strike kills, starts anew, and returns the process that
// works from then on.
func killing(t *testing.T, r *rand.Rand, kills int, work *process, strike func() *process) (last *process, killed int) {
	began := time.Now()
	for killed < kills {
		after := 100*time.Millisecond + r.N(2500*time.Millisecond)
		if work.exitsWithin(after) {
			break
		}
		work = strike()
		killed++
		t.Logf("killed after %v", after)
	}
	again := time.Now()
	work.succeeds()
	t.Logf("%d kills; %v in all, %v of it undisturbed", killed, time.Since(began), time.Since(again))
	return work, killed
}

// restart kills a process and starts the same command again.
func (p *process) restart() *process {
	p.kill()
	return start(p.t, p.cmd.Path, p.cmd.Args[1:]...)
}

// restart kills a broker and starts it again on the same port, a little later. Work that ends without a broker has read
// its results before.
func (s *server) restart(r *rand.Rand, dir string, work *process) *process {
	s.kill()
	away := r.N(500 * time.Millisecond)
	if work.exitsWithin(away) {
		require.NoError(s.t, work.err, "the work ended without a broker\n%s", &work.errs)
	}
	*s = *serve(s.t, dir, s.addr)
	return work
}

// TestKillApplication kills the word count, which has its broker inside, and starts the same command again.
func TestKillApplication(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, r *rand.Rand, g guarantee, kills, lines int) (killed int) {
		text, dir := newText(t, r, lines), t.TempDir()
		p := start(t, built(t).wordcount, slices.Concat([]string{"-all", "-dir", dir}, g.flags, []string{text.path})...)
		p, killed = killing(t, r, kills, p, func() *process { p = p.restart(); return p })
		g.check(t, text.want, printed(t, p.out.Bytes()))
		b := serve(t, filepath.Join(dir, "broker"), "127.0.0.1:0")
		g.check(t, text.want, g.published(t, b.addr))
		b.kill()
		return killed
	})
}

// TestKillBroker kills the broker and starts it again on the same port, while a word count in another process uses it.
func TestKillBroker(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, r *rand.Rand, g guarantee, kills, lines int) (killed int) {
		text, dir := newText(t, r, lines), t.TempDir()
		b := serve(t, dir, "127.0.0.1:0")
		p := start(t, built(t).wordcount, slices.Concat(
			[]string{"-all", "-brokers", b.addr, "-dir", t.TempDir()}, g.flags, []string{text.path})...)
		p, killed = killing(t, r, kills, p, func() *process { return b.restart(r, dir, p) })
		g.check(t, text.want, printed(t, p.out.Bytes()))
		g.check(t, text.want, g.published(t, b.addr))
		b.kill()
		return killed
	})
}

func eachGuarantee(
	t *testing.T, round func(t *testing.T, r *rand.Rand, g guarantee, kills, lines int) (killed int),
) {
	for _, g := range []guarantee{exactly, atLeast} {
		t.Run(g.String(), func(t *testing.T) {
			s := scaled(scale{kills: 5, lines: 700_000}, scale{kills: 1, lines: 300_000})
			r := seeded(t)
			inRounds(s.kills, func(kills int) int { return round(t, r, g, kills, s.lines) })
		})
	}
}
