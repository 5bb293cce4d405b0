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

// TestKillApplication kills the word count, which has its broker inside, and starts the same command again.
func TestKillApplication(t *testing.T) {
	for _, g := range []guarantee{exactly, atLeast} {
		t.Run(g.String(), func(t *testing.T) {
			s := scaled(scale{kills: 5, lines: 700_000}, scale{kills: 1, lines: 300_000})
			r := seeded(t)
			for killed := 0; killed < s.kills; {
				killed += killApplication(t, r, g, s.kills-killed, s.lines)
			}
		})
	}
}

// killApplication counts one text, and returns how often it was killed meanwhile.
func killApplication(t *testing.T, r *rand.Rand, g guarantee, kills, lines int) (killed int) {
	text, dir := newText(t, r, lines), t.TempDir()
	args := slices.Concat([]string{"-all", "-dir", dir}, g.flags, []string{text.path})
	p := start(t, built(t).wordcount, args...)
	began := time.Now()
	for killed < kills {
		after := 100*time.Millisecond + r.N(2500*time.Millisecond)
		if p.exitsWithin(after) {
			break
		}
		p.kill()
		killed++
		t.Logf("killed after %v", after)
		p = start(t, built(t).wordcount, args...)
	}
	began2 := time.Now()
	g.check(t, text.want, printed(t, p.succeeds()))
	t.Logf("%d kills; %v in all, the last start worked for %v", killed, time.Since(began), time.Since(began2))
	b := serve(t, filepath.Join(dir, "broker"), "127.0.0.1:0")
	g.check(t, text.want, g.published(t, b.addr))
	b.kill()
	return killed
}

// TestKillBroker kills the broker and starts it again on the same port, while a word count in another process uses it.
func TestKillBroker(t *testing.T) {
	for _, g := range []guarantee{exactly, atLeast} {
		t.Run(g.String(), func(t *testing.T) {
			s := scaled(scale{kills: 5, lines: 700_000}, scale{kills: 1, lines: 300_000})
			r := seeded(t)
			for killed := 0; killed < s.kills; {
				killed += killBroker(t, r, g, s.kills-killed, s.lines)
			}
		})
	}
}

func killBroker(t *testing.T, r *rand.Rand, g guarantee, kills, lines int) (killed int) {
	text, dir := newText(t, r, lines), t.TempDir()
	b := serve(t, dir, "127.0.0.1:0")
	p := start(t, built(t).wordcount, slices.Concat(
		[]string{"-all", "-brokers", b.addr, "-dir", t.TempDir()}, g.flags, []string{text.path})...)
	began := time.Now()
	for killed < kills {
		after := 100*time.Millisecond + r.N(2500*time.Millisecond)
		if p.exitsWithin(after) {
			break
		}
		b.kill()
		killed++
		away := r.N(500 * time.Millisecond)
		if p.exitsWithin(away) { // it had read the counts before
			require.NoError(t, p.err, "the word count ended without a broker\n%s", &p.errs)
		}
		t.Logf("killed after %v, away for %v", after, away)
		b = serve(t, dir, b.addr)
	}
	g.check(t, text.want, printed(t, p.succeeds()))
	t.Logf("%d kills; %v in all", killed, time.Since(began))
	g.check(t, text.want, g.published(t, b.addr))
	b.kill()
	return killed
}
