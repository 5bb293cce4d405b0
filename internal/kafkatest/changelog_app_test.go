package kafkatest

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

const ms = time.Millisecond

// The stores of the application, with the names that Kafka Streams gives them.
var (
	counts   = state.NewKV[string, int64]("counts")
	joinedUp = state.NewKV[string, string]("joined-up")
	rows     = state.NewKV[string, string]("rows")

	tumbling = state.NewWindowed[string, int64]("tumbling")
	hopping  = state.NewWindowed[string, int64]("hopping")
	sliding  = state.NewWindowed[string, int64]("sliding")
	closing  = state.NewWindowed[string, int64]("closing")

	sessions        = state.NewSession[string, int64]("sessions")
	closingSessions = state.NewSession[string, int64]("closing-sessions")

	versions = state.NewVersioned[string, string]("versions", 10*time.Second)
)

// changelogged is the stores whose changelogs are compared, by the names that Kafka Streams gives them.
var changelogged = []string{
	"counts", "joined-up", "rows", "limited-store",
	"tumbling", "hopping", "sliding", "closing", "final-store",
	"sessions", "closing-sessions", "final-sessions-store",
	"versions", "waiting-Buffer",
	"inner-this-join-store", "inner-other-join-store",
	"left-this-join-store", "left-outer-other-join-store", "left-left-shared-join-store",
	"outer-outer-this-join-store", "outer-outer-other-join-store", "outer-outer-shared-join-store",
	"foreign-subscription-store",
}

// outputs is the topics that the application writes.
var outputs = []string{
	"counts", "joined-up", "rows", "limited", "tumbling", "final", "hopping", "sliding", "closing", "sessions",
	"final-sessions", "closing-sessions", "as-of", "waiting", "inner", "left", "outer", "foreign",
}

// changelogTopology is what Changelogs.java runs, as the application that is named. Keep them equal.
func changelogTopology(t testing.TB, name string) *topology.Topology {
	b := stream.NewBuilder()
	in := b.Stream(stream.NewTopic[string, string](name + "-in").Reset(stream.Earliest()))
	to := func(topic string, s stream.Stream[string, string]) {
		s.To(stream.NewTopic[string, string](name + "-out-" + topic))
	}
	windows := func(topic string, w stream.WindowTable[string, int64]) {
		to(topic, w.ToStream(windowName).MapValues(number))
	}
	grouped := in.GroupByKey().Emit(stream.OnUpdate)

	// Rows by key.
	to("counts", grouped.Count(counts).ToStream().MapValues(number))
	to("joined-up", grouped.Reduce(joinedUp, func(a, b string) string { return a + "+" + b }).ToStream())
	table := in.ToTable(rows).Emit(stream.OnUpdate)
	to("rows", table.ToStream())
	to("limited", table.Suppress(stream.UntilTimeLimit(700*ms, "limited-store")).ToStream())

	// Rows by key and window.
	window := stream.Tumbling(1000*ms, 200*ms)
	counted := grouped.Windowed(window).Count(tumbling)
	windows("tumbling", counted)
	windows("final", counted.Suppress(stream.UntilWindowCloses("final-store")))
	windows("hopping", grouped.Windowed(stream.Hopping(1000*ms, 500*ms, 200*ms)).Count(hopping))
	windows("sliding", grouped.Windowed(stream.Sliding(400*ms, 200*ms)).Count(sliding))
	windows("closing", grouped.Windowed(window).Emit(stream.OnClose).Count(closing))
	gap := stream.SessionGap(300*ms, 100*ms)
	met := grouped.Sessions(gap).Count(sessions)
	windows("sessions", met)
	windows("final-sessions", met.Suppress(stream.UntilWindowCloses("final-sessions-store")))
	windows("closing-sessions", grouped.Sessions(gap).Emit(stream.OnClose).Count(closingSessions))

	// History.
	slash := func(a, b string) string { return a + "/" + b }
	history := in.ToVersionedTable(versions)
	to("as-of", in.JoinTable(history, slash))
	to("waiting", in.JoinAsOf(history, stream.AtOrBefore(300*ms), "waiting-Buffer", slash))

	// Joins of streams.
	left := in.Filter(func(_, v string) bool { return strings.HasPrefix(v, "l") })
	right := in.Filter(func(_, v string) bool { return strings.HasPrefix(v, "r") })
	near := stream.Around(250*ms, 100*ms)
	to("inner", left.Join(right, near, "inner", slash))
	to("left", left.LeftJoin(right, near, "left", func(a string, b *string) string { return a + "/" + orNull(b) }))
	to("outer", left.OuterJoin(right, near, "outer", func(a, b *string) string { return orNull(a) + "/" + orNull(b) }))

	// Foreign keys: a row names another by the last letter of its value.
	to("foreign", table.JoinForeign(table, func(_, v string) (string, bool) {
		return string(keys[int(v[len(v)-1])%len(keys)]), true
	}, "foreign", slash).ToStream())

	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func windowName(k string, w stream.Span) string { return fmt.Sprintf("%s[%d/%d]", k, w.Start, w.End) }

func orNull(v *string) string {
	if v == nil {
		return "null"
	}
	return *v
}

// keys is the keys of the input.
const keys = "abcdef"

// event is a record of the input.
type event = topology.Record[string, string]

// changelogInput is the two halves of the input: records of both sides of the joins, values that are null, some records
// out of order and some late. The second half begins with the newest record so far, so that it does not matter whether
// somebody who goes on from there still knows what time it was. It ends with what closes all windows but the last, step
// by step: Kafka Streams loses results where time jumps. And of the records that are late none is joined: it logs them,
// although its stores do not take them.
func changelogInput() (halves [2][]event) {
	random := rand.New(rand.NewPCG(7, 7))
	now := int64(1_700_000_000_000)
	for half := range halves {
		now += 400
		for i := range 60 {
			now += random.Int64N(90)
			r := event{Key: string(keys[random.IntN(len(keys))]), Timestamp: now}
			switch {
			case i == 0:
			case random.IntN(5) == 0:
				r.Timestamp -= random.Int64N(250)
			case random.IntN(20) == 0:
				r.Timestamp -= 1500
			}
			switch {
			case i == 0 || now-r.Timestamp >= 1500:
				r.Value = fmt.Sprintf("x%d", half*100+i)
			case random.IntN(12) == 0:
				r.NullValue = true
			default:
				r.Value = fmt.Sprintf("%c%d", "llrrx"[random.IntN(5)], half*100+i)
			}
			halves[half] = append(halves[half], r)
		}
	}
	for i := range int64(10) {
		halves[1] = append(halves[1], event{Key: "a", Value: fmt.Sprintf("x%d", 990+i), Timestamp: now + 300*i})
	}
	return halves
}

// storeRows is the rows of the stores that Changelogs.java tells of, in its words. Those of whom only a task knows
// are left out where there is no driver.
func storeRows(t testing.TB, d *streamtest.Driver, app *runtime.App) (found []string) {
	add := func(st state.Store, format string, args ...any) {
		found = append(found, st.Name()+" "+fmt.Sprintf(format, args...))
	}
	for _, st := range []state.KV[string, int64]{counts} {
		for e := range kvRows(t, d, app, st) {
			add(st, "%s=%d@%d", e.Key, e.Value, e.Timestamp)
		}
	}
	for _, st := range []state.KV[string, string]{joinedUp, rows} {
		for e := range kvRows(t, d, app, st) {
			add(st, "%s=%s@%d", e.Key, e.Value, e.Timestamp)
		}
	}
	for _, st := range []state.Windowed[string, int64]{tumbling, hopping, sliding, closing} {
		for e := range windowRows(t, d, app, st) {
			add(st, "%s[%d]=%d@%d", e.Key, e.Start, e.Value, e.Timestamp)
		}
	}
	for _, st := range []state.Session[string, int64]{sessions, closingSessions} {
		for e := range sessionRows(t, d, app, st) {
			add(st, "%s[%d/%d]=%d", e.Key, e.Start, e.End, e.Value)
		}
	}
	if d == nil {
		return found
	}
	for _, key := range keys {
		for _, v := range d.Versions(versions, string(key)) {
			if v.Exists {
				add(versions, "%c=%s@%d", key, v.Value, v.From)
			}
		}
	}
	for _, name := range changelogged {
		if strings.HasSuffix(name, "-this-join-store") || strings.HasSuffix(name, "-other-join-store") {
			st := state.NewBuffer[string, string](name)
			for _, key := range keys {
				for _, e := range d.Buffered(st, string(key), 0, math.MaxInt64) {
					add(st, "%c[%d]=%s", key, e.Timestamp, e.Value)
				}
			}
		}
	}
	return found
}

func kvRows[V any](
	t testing.TB, d *streamtest.Driver, app *runtime.App, st state.KV[string, V],
) iter.Seq[state.Entry[string, V]] {
	if d != nil {
		return slices.Values(d.Entries(st))
	}
	return without(t, st.Read(view(t, app, st)).All())
}

func windowRows[V any](
	t testing.TB, d *streamtest.Driver, app *runtime.App, st state.Windowed[string, V],
) iter.Seq[state.WindowEntry[string, V]] {
	if d != nil {
		return slices.Values(d.Windows(st))
	}
	return without(t, st.Read(view(t, app, st)).All(0, math.MaxInt64))
}

func sessionRows[V any](
	t testing.TB, d *streamtest.Driver, app *runtime.App, st state.Session[string, V],
) iter.Seq[state.SessionEntry[string, V]] {
	if d != nil {
		return slices.Values(d.Sessions(st))
	}
	return without(t, st.Read(view(t, app, st)).All(0, math.MaxInt64))
}

func view(t testing.TB, app *runtime.App, st state.Store) *state.Reader {
	v, err := app.View(st)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return v.Reader
}

// without is a sequence that fails the test where it has an error.
func without[E any](t testing.TB, all iter.Seq2[E, error]) iter.Seq[E] {
	return func(yield func(E) bool) {
		for e, err := range all {
			require.NoError(t, err)
			if !yield(e) {
				return
			}
		}
	}
}

// sortedByTopic is records of topics, sorted: which topic's comes first is not said. Of the foreign-key join it is the
// newest record of each key, since how often it tells of a row depends on how its two topics are read.
func sortedByTopic(topics map[string][]string) (lines []string) {
	for topic, records := range topics {
		newest := map[string]string{}
		for _, r := range records {
			if topic != "foreign" {
				lines = append(lines, topic+" "+r)
				continue
			}
			key, _, _ := strings.Cut(r, "=")
			newest[key] = topic + " " + r
		}
		lines = slices.AppendSeq(lines, maps.Values(newest))
	}
	slices.Sort(lines)
	return lines
}

// requireSame fails where one of two sorted lists has what the other has not.
func requireSame(t testing.TB, want, got []string) {
	t.Helper()
	var missing, extra []string
	for i, j := 0, 0; i < len(want) || j < len(got); {
		switch {
		case j == len(got) || i < len(want) && want[i] < got[j]:
			missing = append(missing, want[i])
			i++
		case i == len(want) || got[j] < want[i]:
			extra = append(extra, got[j])
			j++
		default:
			i, j = i+1, j+1
		}
	}
	require.True(t, len(missing)+len(extra) == 0, "missing:\n%s\nextra:\n%s", strings.Join(missing, "\n"),
		strings.Join(extra, "\n"))
}
