package stream_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
)

// A table joined with what is made of itself: a change comes to the join from both sides, which read one store.
func TestJoinsOfATableWithItself(t *testing.T) {
	rows := stream.NewTopic[string, string]("rows")
	joined := stream.NewTopic[string, string]("joined")
	sums := stream.NewTopic[string, int64]("sums")
	upper := func(v string) string { return strings.ToUpper(v) }
	long := func(_, v string) bool { return len(v) > 1 }
	both := func(a, b *string) string {
		text := func(s *string) string {
			if s == nil {
				return "-"
			}
			return *s
		}
		return text(a) + text(b)
	}
	type table = stream.Table[string, string]
	derived := map[string]struct {
		of    func(table) table
		model func(v string) (string, bool)
	}{
		"itself": {func(t table) table { return t }, func(v string) (string, bool) { return v, true }},
		"mapped": {func(t table) table { return t.MapValues(upper) },
			func(v string) (string, bool) { return upper(v), true }},
		"filtered": {func(t table) table { return t.Filter(long) },
			func(v string) (string, bool) { return v, long("", v) }},
		"twice": {func(t table) table { return t.Filter(long).MapValues(upper) },
			func(v string) (string, bool) { return upper(v), long("", v) }},
	}
	kinds := map[string]struct {
		join func(a, b table) table
		has  func(a, b bool) bool
	}{
		"inner": {func(a, b table) table { return a.Join(b, func(a, b string) string { return both(&a, &b) }) },
			func(a, b bool) bool { return a && b }},
		"left": {
			func(a, b table) table {
				return a.LeftJoin(b, func(a string, b *string) string { return both(&a, b) })
			},
			func(a, b bool) bool { return a }},
		"outer": {func(a, b table) table { return a.OuterJoin(b, both) }, func(a, b bool) bool { return a || b }},
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for name, d := range derived {
		for kind, k := range kinds {
			for _, emit := range []stream.Emit{stream.OnUpdate, stream.OnCommit} {
				for _, swapped := range []bool{false, true} {
					t.Run(fmt.Sprint(name, " ", kind, " ", emit, " ", swapped), func(t *testing.T) {
						r := rand.New(rand.NewPCG(seed, 1))
						b := stream.NewBuilder().Emit(emit)
						left := b.Table(rows, state.NewKV[string, string]("rows"))
						right := d.of(left)
						if swapped {
							left, right = right, left
						}
						j := k.join(left, right)
						j.ToStream().To(joined)
						j.GroupBy("groups", func(_, v string) (string, int64) { return v, 1 }).
							Reduce(state.NewKV[string, int64]("sums"), func(a, n int64) int64 { return a + n },
								func(a, n int64) int64 { return a - n }).ToStream().To(sums)
						app := drive(t, b)
						table, shown, sum := map[string]string{}, map[string]string{}, map[string]string{}
						for i := range int64(200) {
							key := string(rune('a' + r.IntN(3)))
							if r.IntN(4) == 0 {
								del(app, rows, key, i)
								delete(table, key)
							} else {
								table[key] = []string{"x", "y", "xx", "yy"}[r.IntN(4)]
								put(app, rows, key, table[key], i)
							}
							fold(shown, got(app, joined))
							fold(sum, got(app, sums))
							want, groups := map[string]string{}, map[string]int{}
							for key, v := range table {
								other, ok := d.model(v)
								l, r, hasL, hasR := &v, &other, true, ok
								if !ok {
									r = nil
								}
								if swapped {
									l, r, hasL, hasR = r, l, hasR, hasL
								}
								if k.has(hasL, hasR) {
									want[key] = both(l, r)
									groups[want[key]]++
								}
							}
							require.Equal(t, want, shown, "after change %d of %s", i, key)
							for group, n := range sum {
								require.Equal(t, fmt.Sprint(groups[group]), n, "group %s after change %d", group, i)
							}
							require.Subset(t, keysOf(sum), keysOf(groups))
						}
					})
				}
			}
		}
	}
}

// The same with windows.
func TestJoinsOfAWindowedTableWithItself(t *testing.T) {
	joined := stream.NewTopic[string, int64]("joined")
	sums := stream.NewTopic[int64, int64]("sums")
	for _, emit := range []stream.Emit{stream.OnUpdate, stream.OnCommit} {
		for name, w := range map[string]stream.Window{
			"hopping": stream.Hopping(10*ms, 5*ms, 0), "sliding": stream.Sliding(10*ms, 0),
		} {
			t.Run(fmt.Sprint(name, emit), func(t *testing.T) {
				b := stream.NewBuilder().Emit(emit)
				counts := b.Stream(in).GroupByKey().Windowed(w).Count(state.NewWindowed[string, int64]("counts"))
				j := counts.Join(counts.MapValues(func(n int64) int64 { return 10 * n }),
					func(n, m int64) int64 { return n + m })
				j.ToStream(shown).To(joined)
				j.GroupBy("groups", func(_ string, _ stream.Span, n int64) (int64, int64) { return n, 1 }).
					Reduce(state.NewKV[int64, int64]("sums"), func(a, n int64) int64 { return a + n },
						func(a, n int64) int64 { return a - n }).ToStream().To(sums)
				app := drive(t, b)
				rows, sum := map[string]string{}, map[string]string{}
				for i := range int64(100) {
					put(app, in, string(rune('a'+i%3)), "v", i)
					fold(rows, got(app, joined))
					fold(sum, got(app, sums))
					groups := map[string]int{}
					for _, n := range rows {
						groups[n]++
					}
					for n, count := range sum {
						require.Equal(t, fmt.Sprint(groups[n]), count, "rows of %s after record %d", n, i)
					}
					require.Subset(t, keysOf(sum), keysOf(groups))
				}
			})
		}
	}
}

func keysOf[V any](m map[string]V) (keys []string) {
	for key := range m {
		keys = append(keys, key)
	}
	return keys
}

// fold makes changes, as got gives them, part of a table.
func fold(table map[string]string, changes []string) {
	for _, c := range changes {
		key, rest, _ := strings.Cut(c, "=")
		value, _, _ := strings.Cut(rest, "@")
		if value == "∅" {
			delete(table, key)
		} else {
			table[key] = value
		}
	}
}
