package streamtest_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

const ms = time.Millisecond

func run(t *testing.T, c streamtest.Config, build func(*stream.Builder)) *streamtest.Driver {
	t.Helper()
	b := stream.NewBuilder()
	build(b)
	topo, err := b.Build()
	require.NoError(t, err)
	return streamtest.New(t, topo, c)
}

// feed sends "key:value@timestamp" records; "restart" loses the state, "keep" restarts with it.
func feed(d *streamtest.Driver, script string) {
	for f := range strings.FieldsSeq(script) {
		switch f {
		case "restart":
			d.Restart(streamtest.LoseState)
			continue
		case "keep":
			d.Restart(streamtest.KeepState)
			continue
		}
		var ts int64
		rest, at, _ := strings.Cut(f, "@")
		key, value, _ := strings.Cut(rest, ":")
		if _, err := fmt.Sscan(at, &ts); err != nil {
			panic(err)
		}
		switch {
		case key == "∅":
			d.Input(texts).SendKeyless(value, ts)
		case value == "∅":
			d.Input(texts).SendNull(key, ts)
		default:
			d.Input(texts).Send(key, value, ts)
		}
	}
}

// shown is what a topic received since the last call, as "key=value@timestamp".
func shown[K comparable, V any](o *streamtest.Output[K, V]) string {
	var all []string
	for _, r := range o.ReadAll() {
		value := fmt.Sprint(r.Value)
		if r.NullValue {
			value = "∅"
		}
		all = append(all, fmt.Sprintf("%v=%s@%d", r.Key, strings.ReplaceAll(value, " ", ","), r.Timestamp))
	}
	return strings.Join(all, " ")
}

func TestDeduplicate(t *testing.T) {
	for _, restart := range []string{"", "restart", "keep"} {
		d := run(t, streamtest.Config{CheckpointCommits: 1}, func(b *stream.Builder) {
			b.Stream(texts).Deduplicate(stream.DuplicatesWithin(100*ms), "seen", func(_, v string) string { return v }).To(out)
		})
		o := d.Output(out)
		feed(d, "a:x@0 a:x@50 b:x@50 a:y@60 "+restart+" a:x@100 a:x@101 a:y@160 "+restart+" a:y@161 ∅:x@170 a:∅@170")
		require.Equal(t, "a=x@0 b=x@50 a=y@60 a=x@101 a=y@161", shown(o), restart)
		if restart == "" {
			require.EqualValues(t, 3, d.Dropped(topology.Duplicate))
			require.EqualValues(t, 1, d.Dropped(topology.NullKey))
			require.EqualValues(t, 1, d.Dropped(topology.NullValue))
		}
		feed(d, "c:z@1000 c:z@950 a:x@900 a:x@899 a:x@899")
		require.Equal(t, "c=z@1000 a=x@900 a=x@899 a=x@899", shown(o), "what is older is let through")
	}
}

func TestDuplicatesExtendTheInterval(t *testing.T) {
	for _, restart := range []string{"", "restart", "keep"} {
		d := run(t, streamtest.Config{CheckpointCommits: 1}, func(b *stream.Builder) {
			b.Stream(texts).Deduplicate(stream.DuplicatesWithin(100*ms).Extend(), "seen",
				func(_, v string) string { return v }).To(out)
		})
		o := d.Output(out)
		feed(d, "a:x@0 a:x@80 a:y@90 "+restart+" a:x@150 a:x@150 "+restart+" a:x@240 a:x@200 a:x@341 b:x@341")
		require.Equal(t, "a=x@0 a=y@90 a=x@341 b=x@341", shown(o), restart)
	}
}

func TestBatchByCount(t *testing.T) {
	for _, restart := range []string{"", "restart", "keep"} {
		d := run(t, streamtest.Config{CheckpointCommits: 1}, func(b *stream.Builder) {
			b.Stream(texts).Batch(3, 0, "waiting", func(k string, vs []string) string {
				return k + ":" + strings.Join(vs, "+")
			}).To(out)
		})
		o := d.Output(out)
		feed(d, "a:1@5 b:1@6 a:2@9 "+restart+" ∅:1@7 a:∅@7 a:3@7 b:2@8 "+restart+" a:4@10 a:5@11 b:3@5 a:6@2")
		require.Equal(t, "a=a:1+2+3@9 b=b:1+2+3@8 a=a:4+5+6@11", shown(o), restart)
	}
}

func TestBatchByTime(t *testing.T) {
	d := run(t, streamtest.Config{}, func(b *stream.Builder) {
		b.Stream(texts).Batch(3, time.Second, "waiting", func(_ string, vs []string) string {
			return strings.Join(vs, "+")
		}).To(out)
	})
	o := d.Output(out)
	feed(d, "a:1@5")
	d.AdvanceWallClock(500 * ms)
	feed(d, "b:1@6 c:1@6 c:2@6 c:3@7 a:2@1")
	require.Equal(t, "c=1+2+3@7", shown(o))
	d.AdvanceWallClock(500 * ms)
	require.Equal(t, "a=1+2@5", shown(o))
	feed(d, "restart")
	d.AdvanceWallClock(750 * ms)
	require.Empty(t, shown(o), "the clock begins anew")
	d.AdvanceWallClock(250 * ms)
	require.Equal(t, "b=1@6", shown(o))
	d.AdvanceWallClock(time.Hour)
	require.Empty(t, shown(o))
}

func TestTop(t *testing.T) {
	tops := stream.NewTopic[string, []string]("tops")
	byLength := func(a, b string) int { return cmp.Compare(len(b), len(a)) }
	for _, restart := range []string{"", "restart", "keep"} {
		d := run(t, streamtest.Config{CheckpointCommits: 1}, func(b *stream.Builder) {
			b.Stream(texts).GroupByKey().Top(state.NewKV[string, []string]("top"), 3, byLength).ToStream().To(tops)
		})
		feed(d, "a:xx@1 a:y@2 a:xxx@3 b:z@3 "+restart+" a:zz@4 a:q@5 a:xxxx@6")
		require.Equal(t, "a=[xx]@1 a=[xx,y]@2 a=[xxx,xx,y]@3 b=[z]@3 a=[xxx,xx,zz]@4 a=[xxx,xx,zz]@5 a=[xxxx,xxx,xx]@6",
			shown(d.Output(tops)), restart)
	}
	wins := stream.NewTopic[string, []string]("wins")
	d := run(t, streamtest.Config{}, func(b *stream.Builder) {
		b.Stream(texts).GroupByKey().Windowed(stream.Tumbling(10*ms, 0)).Emit(stream.OnClose).
			Top(state.NewWindowed[string, []string]("top"), 2, byLength).
			ToStream(func(k string, w stream.Span) string { return fmt.Sprint(k, w.Start) }).To(wins)
	})
	feed(d, "a:x@1 a:xx@2 a:xxx@3 a:y@12 a:z@20")
	require.Equal(t, "a0=[xxx,xx]@3 a10=[y]@12", shown(d.Output(wins)))
}

func TestRowsHaveATimeToLive(t *testing.T) {
	numbers := stream.NewTopic[string, int64]("numbers")
	table := state.NewKV[string, string]("rows").TTL(100 * ms)
	counted := state.NewKV[string, int64]("counted").TTL(100 * ms)
	for _, emit := range []stream.Emit{stream.OnCommit, stream.OnUpdate} {
		for _, restart := range []string{"", "restart", "keep"} {
			d := run(t, streamtest.Config{CheckpointCommits: 1}, func(b *stream.Builder) {
				b.Table(texts, table).ToStream().To(out)
				b.Stream(texts).GroupByKey().Emit(emit).Count(counted).ToStream().To(numbers)
			})
			o := d.Output(out)
			feed(d, "a:x@0 b:x@10 a:y@50 c:x@60 "+restart+" d:x@110 b:y@120 "+restart+" e:x@170 a:z@65 a:z@160")
			require.Equal(t, "a=x@0 b=x@10 a=y@50 c=x@60 b=∅@110 d=x@110 b=y@120 a=∅@150 c=∅@160 e=x@170 a=z@160",
				shown(o), restart)
			require.Equal(t, "a=1@0 b=1@10 a=2@50 c=1@60 b=∅@110 d=1@110 b=1@120 a=∅@150 c=∅@160 e=1@170 a=1@160",
				shown(d.Output(numbers)), restart)
			require.Len(t, streamtest.Rows(d, table), 4)
			feed(d, "d:∅@200 d:v@205 f:x@1000")
			require.Equal(t, "d=∅@200 d=v@205 b=∅@220 a=∅@260 e=∅@270 d=∅@305 f=x@1000", shown(o), restart)
			require.Equal(t, map[string]streamtest.Row[string]{"f": {Value: "x", Timestamp: 1000}},
				streamtest.Rows(d, table))
		}
	}
}

// A row that is written with an earlier time than it had ends earlier.
func TestTimeToLiveFollowsTheRowsTime(t *testing.T) {
	table := state.NewKV[string, string]("rows").TTL(100 * ms)
	for _, restart := range []string{"", "restart"} {
		d := run(t, streamtest.Config{}, func(b *stream.Builder) { b.Table(texts, table).ToStream().To(out) })
		o := d.Output(out)
		feed(d, "a:x@50 a:y@20 "+restart+" b:x@121 b:y@200")
		require.Equal(t, "a=x@50 a=y@20 a=∅@120 b=x@121 b=y@200", shown(o), restart)
	}
}

func TestWhatIsLeftOutSaysWhy(t *testing.T) {
	left := stream.NewTopic[string, string]("left-out")
	reasons := func(d *streamtest.Driver) string {
		var all []string
		for _, r := range d.Output(left).ReadAll() {
			require.Len(t, r.Headers, 1)
			require.Equal(t, stream.ReasonHeader, r.Headers[0].Key)
			all = append(all, fmt.Sprintf("%s:%s=%s", r.Key, r.Value, r.Headers[0].Value))
		}
		return strings.Join(all, " ")
	}
	for name, build := range map[string]func(b *stream.Builder){
		"tumbling": func(b *stream.Builder) {
			g := b.Stream(texts).GroupByKey().Windowed(stream.Tumbling(10*ms, 0))
			g.Late().To(left)
			g.Reduce(state.NewWindowed[string, string]("w"), func(a, b string) string { return a + b })
		},
		"sliding": func(b *stream.Builder) {
			g := b.Stream(texts).GroupByKey().Windowed(stream.Sliding(10*ms, 0))
			g.Late().To(left)
			g.Reduce(state.NewWindowed[string, string]("w"), func(a, b string) string { return a + b })
		},
		"session": func(b *stream.Builder) {
			g := b.Stream(texts).GroupByKey().Sessions(stream.SessionGap(10*ms, 0))
			g.Reduce(state.NewSession[string, string]("s"), func(a, b string) string { return a + b })
			g.Late().To(left)
		},
	} {
		d := run(t, streamtest.Config{}, build)
		feed(d, "a:x@100 a:y@1 ∅:z@100 a:∅@100 a:v@101")
		require.Equal(t, "a:y=late :z=null-key a:=null-value", reasons(d), name)
	}
}

func TestGatherRefusals(t *testing.T) {
	b := stream.NewBuilder()
	s := b.Stream(texts)
	moved := s.SelectKey(func(_, v string) string { return v })
	id := func(_, v string) string { return v }
	last := func(_ string, vs []string) string { return vs[len(vs)-1] }
	s.MapAsync(0, newService().call)
	moved.Deduplicate(stream.DuplicatesWithin(time.Second), "d1", id)
	s.Deduplicate(stream.DuplicatesWithin(-1), "d2", id)
	s.Deduplicate(stream.DuplicatesWithin(1), "no good", id)
	moved.Batch(1, 0, "b1", last)
	s.Batch(0, time.Microsecond, "b2", last)
	s.Batch(1, time.Microsecond, "b3", last)
	s.GroupByKey().Top(state.NewKV[string, []string]("top"), 0, strings.Compare)
	s.GroupByKey().Count(state.NewKV[string, int64]("short").TTL(time.Microsecond))
	g := b.Table(stream.NewTopic[string, string]("t"), state.NewKV[string, string]("t")).
		GroupBy("by-value", func(k, v string) (string, string) { return v, k })
	g.Count(state.NewKV[string, int64]("living").TTL(time.Second))
	_, err := b.Build()
	require.Error(t, err)
	for _, want := range []string{
		"MapAsync: 0 calls at the same time", "Deduplicate brings equal keys together", "Deduplicate: within -1ns",
		`store "no good"`, "Batch brings equal keys together", "Batch: 0 records", "Batch: every 1µs",
		"Top: the first 0", `store "short": rows live for 1µs`, `the rows of store "living" can't have a time to live`,
	} {
		require.ErrorContains(t, err, want)
	}
	for line := range strings.Lines(err.Error()) {
		require.Contains(t, line, "gather_test.go:")
	}
}
