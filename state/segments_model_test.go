package state

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state/memory"
)

// span is a key of the naive model of windows and sessions.
type span struct {
	key        string
	start, end int64 // end is 0 for windows
}

// spanRig runs a window and a session store beside maps.
type spanRig struct {
	t        *testing.T
	r        *rand.Rand
	engine   *memory.Engine
	config   Config
	tx       *Tx
	windows  *WindowStore[string, int64]
	sessions *SessionStore[string, string]
	win, won map[span]int64 // now, and as of the last commit
	ses, son map[span]string
	drained  *drainedSpans // what was drained and is not committed yet; nil: nothing
	itself   bool          // the stores expire by themselves
	starts   horizons
	ends     horizons
	now      int64
	flushes  []string
	ahead    []Prefetcher
}

// drainedSpans are the model's spans as the commit in progress makes them.
type drainedSpans struct {
	win          map[span]int64
	ses          map[span]string
	starts, ends int64
}

// horizons are the times below which a store has given up all, now, and as of the last commit.
type horizons [2]int64

func (h *horizons) floor() int64       { return h[0] }
func (h *horizons) raise(before int64) { h[0] = max(h[0], before) }
func (h *horizons) discard()           { h[0] = h[1] }

const spansKept = 6000

func (g *spanRig) open() {
	g.tx = NewTx(g.config)
	var err error
	g.windows, err = NewWindowed[string, int64]("windows").Retain(spansKept * time.Millisecond).Open(g.tx)
	require.NoError(g.t, err)
	g.sessions, err = NewSession[string, string]("sessions").Retain(spansKept * time.Millisecond).Open(g.tx)
	require.NoError(g.t, err)
	if !g.itself {
		g.windows.KeepUntilExpired()
		g.sessions.KeepUntilExpired()
	}
	g.ahead = []Prefetcher{g.windows.Prefetcher(func(dst []int64, at int64) []int64 {
		return append(dst, at, at+50, at+1000)
	})(), g.sessions.Prefetcher(500)(), g.sessions.Prefetcher(4000)()}
	g.windows.OnFlush(1, true, func(f *Flushed[string, int64]) error {
		g.flushes = append(g.flushes, fmt.Sprintf("w %s %d %v %v", f.Key, f.Start, f.HasNew, f.New))
		return nil
	})
	g.sessions.OnFlush(2, false, func(f *Flushed[string, string]) error {
		g.flushes = append(g.flushes, fmt.Sprintf("s %s %d %d %v %v", f.Key, f.Start, f.End, f.HasNew, f.New))
		return nil
	})
}

func (g *spanRig) pick() (string, int64, int64) {
	start := max(0, g.now-6000+g.r.Int64N(7000)) / 50 * 50
	return fmt.Sprintf("key%d", g.r.IntN(8)*g.r.IntN(20)), start, start + g.r.Int64N(40)*50
}

func (g *spanRig) write() {
	key, start, end := g.pick()
	g.now += g.r.Int64N(60)
	value := g.r.Int64N(1000)
	text := fmt.Sprint(value)
	remove := g.r.IntN(5) == 0
	if remove {
		require.NoError(g.t, g.windows.Delete(key, start, g.now))
		require.NoError(g.t, g.sessions.Remove(key, start, end))
	} else {
		require.NoError(g.t, g.windows.Put(key, start, value, g.now))
		require.NoError(g.t, g.sessions.Put(key, start, end, text))
	}
	w, s := span{key: key, start: start}, span{key, start, end}
	if start >= g.starts.floor() {
		delete(g.win, w)
		if !remove {
			g.win[w] = value
		}
	}
	if end >= g.ends.floor() {
		delete(g.ses, s)
		if !remove {
			g.ses[s] = text
		}
	}
	if g.itself {
		g.raise(start-spansKept+1, end-spansKept+1)
	}
}

func (g *spanRig) raise(start, end int64) {
	g.starts.raise(start)
	g.ends.raise(end)
	maps.DeleteFunc(g.win, func(s span, _ int64) bool { return s.start < g.starts.floor() })
	maps.DeleteFunc(g.ses, func(s span, _ string) bool { return s.end < g.ends.floor() })
}

func spanOrder(a, b span) int {
	return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.start, b.start), strings.Compare(a.key, b.key))
}

// want returns the model's spans that a filter takes.
func want[V any](m map[span]V, take func(span) bool) []span {
	spans := []span{}
	for s := range m {
		if take(s) {
			spans = append(spans, s)
		}
	}
	slices.SortFunc(spans, spanOrder)
	return spans
}

func (g *spanRig) read() {
	key, from, to := g.pick()
	to += g.r.Int64N(5000)
	got := []span{}
	for e, err := range g.windows.Fetch(key, from, to) {
		require.NoError(g.t, err)
		require.Equal(g.t, g.win[span{key: e.Key, start: e.Start}], e.Value)
		got = append(got, span{key: e.Key, start: e.Start})
	}
	take := func(s span) bool {
		return s.key == key && s.start >= from && s.start <= to && s.start >= g.starts.floor()
	}
	require.Equal(g.t, want(g.win, take), got)
	back := []span{}
	for e, err := range g.windows.FetchReverse(key, from, to) {
		require.NoError(g.t, err)
		back = append(back, span{key: e.Key, start: e.Start})
	}
	slices.Reverse(back)
	require.Equal(g.t, got, back)

	got = []span{}
	for e, err := range g.windows.ByTime(from, to) {
		require.NoError(g.t, err)
		got = append(got, span{key: e.Key, start: e.Start})
	}
	take = func(s span) bool { return s.start >= max(from, g.starts.floor()) && s.start <= to }
	require.Equal(g.t, want(g.win, take), got)

	found, err := g.sessions.Find(key, from, to)
	require.NoError(g.t, err)
	got = []span{}
	for _, e := range found {
		require.Equal(g.t, g.ses[span{e.Key, e.Start, e.End}], e.Value)
		got = append(got, span{e.Key, e.Start, e.End})
	}
	take = func(s span) bool { return s.key == key && s.end >= max(from, g.ends.floor()) && s.start <= to }
	require.Equal(g.t, want(g.ses, take), got)

	got = []span{}
	for e, err := range g.sessions.ByEnd(from, to) {
		require.NoError(g.t, err)
		got = append(got, span{e.Key, e.Start, e.End})
	}
	require.Equal(g.t, want(g.ses, func(s span) bool { return s.end >= max(from, g.ends.floor()) && s.end <= to }), got)
}

// prefetch announces records, whose windows and sessions are looked up at once, later, or never.
func (g *spanRig) prefetch() {
	a := &Ahead{}
	for range g.r.IntN(60) {
		key, start, _ := g.pick()
		a.Keys, a.Timestamps = append(a.Keys, []byte(key)), append(a.Timestamps, start)
	}
	for _, p := range g.ahead {
		if g.r.IntN(2) == 0 {
			p.PrefetchRows(a)
		}
	}
	for range g.r.IntN(10) {
		g.read()
	}
}

func (g *spanRig) expire() {
	before := max(0, g.now-5000+g.r.Int64N(2500))
	g.windows.Expire(before)
	g.sessions.Expire(before)
	g.raise(before, before)
}

// commit begins a commit. While it stays in progress, the steps up to the next one belong to the next transaction.
func (g *spanRig) commit(underWay bool) {
	g.endCommit()
	g.flushes = g.flushes[:0]
	require.NoError(g.t, g.tx.Flush())
	seen := map[string]bool{}
	for _, f := range g.flushes {
		id := strings.Join(strings.Fields(f)[:3], " ")
		if f[0] == 's' {
			id = strings.Join(strings.Fields(f)[:4], " ")
		}
		require.False(g.t, seen[id], "told twice: %s", id)
		seen[id] = true
	}
	require.NoError(g.t, g.tx.Drain(func(s Store, key, value []byte, timestamp int64) error {
		if s.Name() == "windows" {
			require.Equal(g.t, "\x00\x00\x00\x00", string(key[len(key)-4:]))
		}
		return nil
	}))
	g.drained = &drainedSpans{maps.Clone(g.win), maps.Clone(g.ses), g.starts.floor(), g.ends.floor()}
	if !underWay {
		g.endCommit()
	}
}

func (g *spanRig) endCommit() {
	if g.drained == nil {
		return
	}
	require.NoError(g.t, g.tx.Commit(func(string) int64 { return 1 }))
	g.won, g.son = g.drained.win, g.drained.ses
	g.starts[1], g.ends[1] = g.drained.starts, g.drained.ends
	g.drained = nil
}

// checkpoint brings what is committed to the engine, and nothing else.
func (g *spanRig) checkpoint() {
	require.NoError(g.t, g.tx.Checkpoint())
	other := &spanRig{t: g.t, config: Config{Engine: g.engine, Namespace: g.config.Namespace}}
	other.open()
	win, ses := map[span]int64{}, map[span]string{}
	for e, err := range other.windows.All(g.starts[1], Latest-1) {
		require.NoError(g.t, err)
		win[span{key: e.Key, start: e.Start}] = e.Value
	}
	for e, err := range other.sessions.ByEnd(g.ends[1], Latest-1) {
		require.NoError(g.t, err)
		ses[span{e.Key, e.Start, e.End}] = e.Value
	}
	require.Equal(g.t, g.won, win)
	require.Equal(g.t, g.son, ses)
}

func (g *spanRig) discard() {
	require.NoError(g.t, g.tx.Discard())
	g.back()
}

func (g *spanRig) back() {
	g.drained = nil
	g.win, g.ses = maps.Clone(g.won), maps.Clone(g.son)
	g.starts.discard()
	g.ends.discard()
}

func (g *spanRig) restart() {
	require.NoError(g.t, g.tx.Close())
	g.engine = g.engine.Restart()
	g.config.Engine = g.engine
	g.open()
	g.back()
	if g.itself {
		return
	}
	g.windows.Expire(g.starts.floor()) // it is not kept: the caller of Expire says it again
	g.sessions.Expire(g.ends.floor())
	g.commit(false)
}

func TestWindowsAndSessionsEqualModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	configs := []Config{{CheckpointCommits: 1}, {CheckpointCommits: 5}, {CheckpointCommits: 2, CacheBytesMax: 60_000}}
	for i := range 2 * len(configs) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			g := &spanRig{
				t: t, r: rand.New(rand.NewPCG(seed, uint64(i))), engine: memory.New(), config: configs[i/2], itself: i%2 == 1,
				win: map[span]int64{}, won: map[span]int64{}, ses: map[span]string{}, son: map[span]string{},
			}
			g.config.Engine, g.config.Namespace = g.engine, Namespace(1)
			g.open()
			for range 3000 {
				switch n := g.r.IntN(1000); {
				case n < 700:
					g.write()
				case n < 850:
					g.read()
				case n < 860:
					g.prefetch()
				case n < 900:
					if !g.itself {
						g.expire()
					}
				case n < 930:
					g.commit(false)
				case n < 960:
					g.commit(true)
				case n < 970:
					g.endCommit()
				case n < 975:
					g.checkpoint()
				case n < 978:
					require.NoError(t, g.tx.Relieve())
				case n < 985:
					g.discard()
				default:
					g.restart()
				}
			}
			g.commit(false)
			require.NoError(t, g.tx.Wipe("windows"))
			require.NoError(t, g.tx.Wipe("sessions"))
			require.NoError(t, g.tx.Close())
			it, err := g.engine.Iterate(nil, nil)
			require.NoError(t, err)
			require.False(t, it.First(), "wiped stores leave nothing behind")
		})
	}
}

// A segment that is gone leaves its memory to the next one, unless memory is short.
func TestSegmentsUseMemoryAgain(t *testing.T) {
	for _, most := range []int64{0, 1 << 10} {
		tx := NewTx(Config{CacheBytesMax: most})
		windows, err := NewWindowed[string, string]("windows").Retain(3 * time.Second).Open(tx)
		require.NoError(t, err)
		sides, err := NewBuffer[string, int64]("side").Retain(3 * time.Second).Open(tx)
		require.NoError(t, err)
		now := int64(0)
		second := func() { // the time of a segment
			for i := range 2000 {
				key := fmt.Sprint("key", i%1500)
				require.NoError(t, windows.Put(key, now, key, now))
				require.NoError(t, sides.Add(key, 1, now))
				now++
			}
			windows.Expire(now - 3000)
			sides.Expire(now - 3000)
			require.NoError(t, tx.Drain(drainNothing))
			require.NoError(t, tx.Commit(nil))
		}
		for range 10 {
			second()
		}
		spare := windows.segments.spareBytes() + sides.log.spareBytes()
		if most > 0 {
			require.Zero(t, spare)
			continue
		}
		require.Positive(t, spare)
		tables := func() map[any]bool {
			known := map[any]bool{}
			for _, t := range windows.segments.live {
				known[t.asTable.cache.Table] = true
			}
			for _, seg := range windows.segments.spare {
				known[seg.cache.Table] = true
			}
			for _, t := range sides.log.live {
				known[t.asLog.heads] = true
			}
			for _, seg := range sides.log.spare {
				known[seg.heads] = true
			}
			return known
		}
		before := tables()
		for range 10 {
			second()
		}
		for table := range tables() {
			require.True(t, before[table], "a table that was not there before")
		}
		require.Equal(t, len(before), len(tables()))
		tx.measure()
		require.Greater(t, tx.used, windows.segments.spareBytes()+sides.log.spareBytes())
	}
}
