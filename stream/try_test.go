package stream_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// fed is a record that a test sends: to in, unless the topic says otherwise.
type fed struct {
	topic, key, value string
	ts                int64
}

// at are records of one key, "value@timestamp"; "others value@timestamp" are those of that topic.
func at(key string, records ...string) (list []fed) {
	for _, text := range records {
		f := fed{topic: "in", key: key}
		if rest, ok := strings.CutPrefix(text, "others "); ok {
			f.topic, text = "others", rest
		}
		if _, err := fmt.Sscanf(strings.Replace(text, "@", " ", 1), "%s %d", &f.value, &f.ts); err != nil {
			panic(err)
		}
		list = append(list, f)
	}
	return list
}

// skips is a program in which refuse fails for values that contain "bad", and the records that it gets.
type skips struct {
	build   func(b *stream.Builder, refuse func(...string) error)
	records []fed
	failed  int64 // how often a function failed; 0: once
}

const tick = time.Millisecond

var errBad = errors.New("bad")

// appending adds a value to text, unless it is refused.
func appending(refuse func(...string) error) func(*stream.Call, string, string, string) (string, error) {
	return func(_ *stream.Call, _, v, all string) (string, error) { return all + v, refuse(v) }
}

// bag is an aggregate that functions change in place.
type bag struct{ Values []string }

func (g *bag) add(v string) *bag {
	g.Values = append(g.Values, v)
	return g
}

func newBag() *bag { return &bag{} }

// inPlace changes its aggregate before it fails.
func inPlace(refuse func(...string) error) func(*stream.Call, string, string, *bag) (*bag, error) {
	return func(_ *stream.Call, _, v string, g *bag) (*bag, error) { return g.add(v), refuse(v) }
}

func listed(g *bag) string {
	if g == nil {
		return "nothing"
	}
	return strings.Join(g.Values, ",")
}

func noText() string { return "" }

func spanned(key string, w stream.Span) string { return fmt.Sprintf("%s %d-%d", key, w.Start, w.End) }

var skipCases = map[string]skips{
	"a sequence that fails behind its first record": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			b.Stream(in).Try().FlatMapValues(func(_ *stream.Call, _, v string) (iter.Seq[string], error) {
				return func(yield func(string) bool) {
					if yield(v + "1") {
						if err := refuse(v); err != nil {
							panic(err)
						}
						yield(v + "2")
					}
				}, nil
			}).To(out)
		},
		records: at("k", "a@1", "bad@2", "b@3"),
	},
	"a predicate of a split": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			for i, s := range b.Stream(in).Try().Split(func(_ *stream.Call, _, v string) (bool, error) {
				return v == "a", refuse(v)
			}) {
				s.MapValues(func(v string) string { return fmt.Sprint(v, i) }).To(out)
			}
		},
		records: at("k", "a@1", "bad@2", "b@3"),
	},
	"a function that names topics": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			b.Stream(in).Try().ToDynamic(func(_ *stream.Call, _, v string) (string, error) { return "out", refuse(v) })
		},
		records: at("k", "a@1", "bad@2", "b@3"),
	},
	"an aggregate": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			b.Stream(in).GroupByKey().Emit(stream.OnUpdate).Try().
				Aggregate(state.NewKV[string, string]("all"), noText, appending(refuse)).ToStream().To(out)
		},
		records: at("k", "a@1", "bad@2", "b@3"),
	},
	"an aggregate that is changed in place": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			b.Stream(in).GroupByKey().Try().Aggregate(state.NewKV[string, *bag]("bags"), newBag, inPlace(refuse)).
				ToStream().MapValues(listed).To(out)
		},
		records: at("k", "a@1", "bad@2", "b@3", "bad2@4"),
		failed:  2,
	},
	"a reduce": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			b.Stream(in).GroupByKey().Try().Reduce(state.NewKV[string, string]("all"),
				func(_ *stream.Call, _, l, r string) (string, error) { return l + r, refuse(r) }).ToStream().To(out)
		},
		records: at("k", "a@1", "bad@2", "b@3"),
	},
	"the first of a group": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			b.Stream(in).GroupByKey().Try().Top(state.NewKV[string, []string]("top"), 2,
				func(_ *stream.Call, _, l, r string) (int, error) { return strings.Compare(l, r), refuse(l, r) }).
				ToStream().MapValues(func(l []string) string { return strings.Join(l, ",") }).To(out)
		},
		records: at("k", "c@1", "bad@2", "a@3", "b@4"),
	},
	"the second of the windows of a record": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			b.Stream(in).GroupByKey().Emit(stream.OnUpdate).Windowed(stream.Hopping(10*tick, 5*tick, 0)).Try().
				Aggregate(state.NewWindowed[string, string]("windows"), noText,
					func(_ *stream.Call, _, v, all string) (string, error) {
						if strings.Contains(all, "first") {
							return all + v, nil
						}
						return all + v, refuse(v)
					}).ToStream(spanned).To(out)
		},
		records: at("k", "first@3", "a@7", "bad@7", "b@8", "c@30"),
	},
	"a sliding window": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			b.Stream(in).GroupByKey().Emit(stream.OnUpdate).Windowed(stream.Sliding(10*tick, 50*tick)).Try().
				Aggregate(state.NewWindowed[string, *bag]("windows"), newBag,
					func(_ *stream.Call, _, v string, g *bag) (*bag, error) {
						if !slices.Contains(g.add(v).Values, "first") { // the latest window comes first
							return g, nil
						}
						return g, refuse(v)
					}).ToStream(spanned).MapValues(listed).To(out)
		},
		records: at("k", "first@20", "a@26", "bad@26", "b@27", "c@60"),
	},
	"a session that a record bridges": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			b.Stream(in).GroupByKey().Emit(stream.OnUpdate).Sessions(stream.SessionGap(5*tick, 100*tick)).Try().
				Aggregate(state.NewSession[string, *bag]("sessions"), newBag, inPlace(refuse),
					func(_ *stream.Call, _ string, l, r *bag) (*bag, error) {
						l.Values = append(l.Values, r.Values...)
						return l, nil
					}).ToStream(spanned).MapValues(listed).To(out)
		},
		records: at("k", "a@10", "b@18", "bad@14", "c@14"),
	},
	"the merge of a session": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			b.Stream(in).GroupByKey().Emit(stream.OnUpdate).Sessions(stream.SessionGap(5*tick, 100*tick)).Try().
				Reduce(state.NewSession[string, string]("sessions"),
					func(_ *stream.Call, _, l, r string) (string, error) { return l + r, refuse(l, r) }).
				ToStream(spanned).To(out)
		},
		records: at("k", "a@10", "bad@12", "b@18", "c@14"),
	},
	"a cogroup": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			add := appending(refuse)
			b.Stream(in).GroupByKey().Try().Cogroup(add).Try().With(b.Stream(others).GroupByKey(), add).
				Aggregate(state.NewKV[string, string]("all"), noText).ToStream().To(out)
		},
		records: at("k", "a@1", "bad@2", "others b@3", "others bad@4", "c@5"),
		failed:  2,
	},
	"the second record that one meets": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			b.Stream(in).Try().OuterJoin(b.Stream(others), stream.Around(10*tick, 10*tick), "meetings",
				func(_ *stream.Call, _ string, l, r *string) (string, error) {
					if l == nil || r == nil || *r == "1" {
						return both(l, r), nil
					}
					return both(l, r), refuse(*l)
				}).To(out)
		},
		records: at("k", "others 1@5", "others 2@6", "bad@7", "a@8", "others 3@9", "b@50"),
	},
	"a record that meets one that is held": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			b.Stream(in).Try().OuterJoin(b.Stream(others), stream.Around(10*tick, 10*tick), "meetings",
				func(_ *stream.Call, _ string, l, r *string) (string, error) {
					if l != nil {
						return both(l, r), refuse(*l)
					}
					return both(l, r), nil
				}).To(out)
		},
		records: at("k", "others 1@5", "bad@7", "b@50"),
	},
	"a join with a table": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			rows := b.Table(others, state.NewKV[string, string]("rows"))
			b.Stream(in).Try().LeftJoinTable(rows, func(_ *stream.Call, _, l string, r *string) (string, error) {
				return both(&l, r), refuse(l)
			}).To(out)
		},
		records: at("k", "others row@1", "a@2", "bad@3", "b@4"),
	},
	"the key of a join with a global table": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			rows := b.GlobalTable(others, state.NewKV[string, string]("rows"))
			b.Stream(in).Try().JoinGlobal(rows,
				func(_ *stream.Call, key, v string) (string, bool, error) { return key, true, refuse(v) },
				func(_ *stream.Call, _, l, r string) (string, error) { return pair(l, r), nil }).To(out)
		},
		records: at("k", "others row@1", "a@2", "bad@3", "b@4"),
	},
	"what duplicates are told by": {
		build: func(b *stream.Builder, refuse func(...string) error) {
			b.Stream(in).Try().Deduplicate(stream.DuplicatesWithin(100*tick), "seen",
				func(_ *stream.Call, _, v string) (string, error) { return v[:1], refuse(v) }).To(out)
		},
		records: at("k", "a@1", "bad@2", "b@3", "a@4"),
	},
}

// A record that fails leaves nothing behind: outputs and changelogs are those of a program that never got it.
func TestSkippedRecordsLeaveNothing(t *testing.T) {
	for name, c := range skipCases {
		t.Run(name, func(t *testing.T) {
			want := c.run(t, topology.Errors{}, false, never)
			require.NotEmpty(t, want)
			for how, fail := range failures {
				failed := int64(0)
				skip := topology.Errors{Handle: func(e *topology.ProcessingError) topology.Action {
					require.ErrorIs(t, e, errBad)
					require.Equal(t, topology.PhaseProcess, e.Phase)
					failed++
					return topology.Skip
				}}
				require.Equal(t, want, c.run(t, skip, true, func(string) error { return fail(errBad) }), how)
				require.Equal(t, max(c.failed, 1), failed)
			}
		})
	}
}

// A record that fails at first leaves what it would have left if it had not.
func TestRetriedRecordsCountOnce(t *testing.T) {
	for name, c := range skipCases {
		t.Run(name, func(t *testing.T) {
			want := c.run(t, topology.Errors{}, true, never)
			for how, fail := range failures {
				known := map[string]bool{}
				first := func(values string) error {
					if known[values] {
						return nil
					}
					known[values] = true
					return fail(errBad)
				}
				retry := topology.Errors{Process: topology.Retry{First: time.Second}}
				require.Equal(t, want, c.run(t, retry, true, first), how)
				require.NotEmpty(t, known)
			}
		})
	}
}

var failures = map[string]func(error) error{
	"errors": func(err error) error { return err },
	"panics": func(err error) error { panic(err) },
}

func never(string) error { return nil }

// run returns what the program has written, with or without the bad records, of which refuse says whether they fail.
func (c skips) run(
	t *testing.T, policy topology.Errors, bad bool, refuse func(values string) error,
) (written []string) {
	t.Helper()
	b := stream.NewBuilder()
	c.build(b, func(values ...string) error {
		if all := strings.Join(values, " "); strings.Contains(all, "bad") {
			return refuse(all)
		}
		return nil
	})
	d := open(b, streamtest.Config{Errors: policy})
	defer d.Close()
	inputs := map[string]*streamtest.Input[string, string]{"in": d.Input(in)}
	if slices.ContainsFunc(c.records, func(f fed) bool { return f.topic == "others" }) {
		inputs["others"] = d.Input(others)
	}
	for _, f := range c.records {
		if bad || !strings.Contains(f.value, "bad") {
			inputs[f.topic].Send(f.key, f.value, f.ts)
			for range 9 { // until the last attempt is over
				d.AdvanceWallClock(time.Minute)
			}
		}
	}
	for _, topic := range d.Topics() {
		if topic != "out" && !strings.HasSuffix(topic, "-changelog") {
			continue
		}
		for _, r := range d.Written(topic) {
			written = append(written, fmt.Sprintf("%s: %q=%q@%d", topic, r.Key, r.Value, r.Timestamp))
		}
	}
	return written
}
