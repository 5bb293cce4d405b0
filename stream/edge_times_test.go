package stream_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// timedEvent is a record of a side, with a number as its value.
type timedEvent struct {
	right  bool
	number int
	ts     int64
}

// eventsAround makes records of times about a base, as far as there are such times.
func eventsAround(rnd *rand.Rand, base int64) []timedEvent {
	events := make([]timedEvent, 25)
	for i := range events {
		ts := min(max(base+rnd.Int64N(80)-40, 0), topology.MaxTime)
		events[i] = timedEvent{rnd.IntN(2) == 0, i, ts}
	}
	return events
}

const (
	edgeGap, edgeGrace = 5, 7
	edgeBefore         = 5
	edgeAfter          = 2
	edgeLife           = 10
)

// edges are operators of time, each with a naive model. Windows begin each 5 ms and have 10.
var edges = map[string]struct {
	build func(s stream.Stream[string, string], right stream.Stream[string, string])
	model func(events []timedEvent) (want []string, dropped map[topology.Reason]int64)
}{
	"hopping": {func(s, _ stream.Stream[string, string]) {
		s.GroupByKey().Windowed(stream.Hopping(10*ms, edgeGap*ms, edgeGrace*ms)).
			Count(state.NewWindowed[string, int64]("store").Retain(time.Hour)).ToStream(shown).MapValues(decimal).To(out)
	}, hoppingModel},
	"sessions": {func(s, _ stream.Stream[string, string]) {
		s.GroupByKey().Sessions(stream.SessionGap(edgeGap*ms, edgeGrace*ms)).
			Count(state.NewSession[string, int64]("store").Retain(time.Hour)).ToStream(shown).MapValues(decimal).To(out)
	}, sessionsModel},
	"lifetime": {func(s, _ stream.Stream[string, string]) {
		s.GroupByKey().Count(state.NewKV[string, int64]("store").TTL(edgeLife * ms)).ToStream().MapValues(decimal).To(out)
	}, lifetimeModel},
	"join": {func(s, right stream.Stream[string, string]) {
		within := stream.Around(0, edgeGrace*ms).Before(edgeBefore * ms).After(edgeAfter * ms)
		s.Join(right, within, "store", func(l, r string) string { return l + " " + r }).
			SelectKey(func(_, v string) string { return v }).To(out)
	}, edgeJoinModel},
	"deduplicate": {func(s, _ stream.Stream[string, string]) {
		s.Deduplicate(stream.DuplicatesWithin(edgeGap*ms), "store", func(k, _ string) string { return k }).
			SelectKey(func(_, v string) string { return v }).To(out)
	}, deduplicateModel},
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// hoppingModel counts in a map from windows.
func hoppingModel(events []timedEvent) ([]string, map[topology.Reason]int64) {
	counts, dropped, now := map[int64]int{}, map[topology.Reason]int64{}, int64(0)
	for _, e := range events {
		now = max(now, e.ts)
		for start := e.ts - e.ts%5 - 5; start <= e.ts; start += 5 {
			switch {
			case start < 0:
			case start+10 <= now-edgeGrace:
				dropped[topology.Late]++
			default:
				counts[start]++
			}
		}
	}
	var want []string
	for start, n := range counts {
		want = append(want, fmt.Sprintf("k[%d/%d]=%d", start, start+10, n))
	}
	return want, dropped
}

// sessionsModel keeps a list of sessions.
func sessionsModel(events []timedEvent) ([]string, map[topology.Reason]int64) {
	type session struct{ start, end, n int64 }
	var sessions []session
	dropped, now := map[topology.Reason]int64{}, int64(0)
	for _, e := range events {
		now = max(now, e.ts)
		merged := session{e.ts, e.ts, 1}
		var others []session
		for _, s := range sessions {
			if s.end+edgeGap < e.ts || s.start > e.ts+edgeGap {
				others = append(others, s)
				continue
			}
			merged = session{min(merged.start, s.start), max(merged.end, s.end), merged.n + s.n}
		}
		if merged.end < now-edgeGrace-edgeGap {
			dropped[topology.Late]++
			continue
		}
		sessions = append(others, merged)
	}
	var want []string
	for _, s := range sessions {
		want = append(want, fmt.Sprintf("k[%d/%d]=%d", s.start, s.end, s.n))
	}
	return want, dropped
}

// lifetimeModel is one row and when it was changed.
func lifetimeModel(events []timedEvent) ([]string, map[topology.Reason]int64) {
	n, changed, now, dropped := 0, int64(0), int64(0), map[topology.Reason]int64{}
	for _, e := range events {
		if now = max(now, e.ts); changed+edgeLife <= now {
			n = 0
		}
		if e.ts+edgeLife <= now {
			dropped[topology.Expired]++
			continue
		}
		if n == 0 {
			changed = 0
		}
		n, changed = n+1, max(changed, e.ts)
	}
	if n == 0 {
		return nil, dropped
	}
	return []string{fmt.Sprintf("k=%d", n)}, dropped
}

// edgeJoinModel compares each record with all that the other side keeps.
func edgeJoinModel(events []timedEvent) ([]string, map[topology.Reason]int64) {
	const keep = edgeBefore + edgeAfter + edgeGrace
	var (
		kept    [2][]timedEvent
		newest  = [2]int64{-1, -1}
		want    []string
		dropped = map[topology.Reason]int64{}
	)
	for _, e := range events {
		side, other := 0, 1
		if e.right {
			side, other = 1, 0
		}
		for _, o := range kept[other] {
			l, r := e, o
			if e.right {
				l, r = o, e
			}
			if r.ts >= l.ts-edgeBefore && r.ts <= l.ts+edgeAfter {
				want = append(want, fmt.Sprintf("%d %d=%d %d", l.number, r.number, l.number, r.number))
			}
		}
		if newest[side] >= 0 && e.ts <= newest[side]-keep {
			dropped[topology.Expired]++
			continue
		}
		newest[side] = max(newest[side], e.ts)
		kept[side] = slices.DeleteFunc(append(kept[side], e), func(o timedEvent) bool { return o.ts <= newest[side]-keep })
	}
	return want, dropped
}

// deduplicateModel keeps the times of all records that went through.
func deduplicateModel(events []timedEvent) ([]string, map[topology.Reason]int64) {
	var (
		through []int64
		want    []string
		now     int64
		dropped = map[topology.Reason]int64{}
	)
	for _, e := range events {
		now = max(now, e.ts)
		if e.ts >= now-edgeGap {
			if slices.ContainsFunc(through, func(ts int64) bool { return ts >= e.ts-edgeGap && ts <= e.ts+edgeGap }) {
				dropped[topology.Duplicate]++
				continue
			}
			through = append(through, e.ts)
		}
		want = append(want, fmt.Sprintf("%d=%d", e.number, e.number))
	}
	return want, dropped
}

// edgeBases are the first times, usual ones, and the last ones: all multiples of the windows' advance.
var edgeBases = []int64{
	0, 86_400_000, topology.MaxTime - topology.MaxTime%10 - 40, topology.MaxTime - topology.MaxTime%10,
}

func TestOperatorsAtTheEdgesOfTime(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, name := range slices.Sorted(maps.Keys(edges)) {
		t.Run(name, func(t *testing.T) {
			for range 25 {
				for _, base := range edgeBases {
					events := eventsAround(rnd, base)
					if name != "join" {
						for i := range events {
							events[i].right = false
						}
					}
					want, dropped := edges[name].model(events)
					d := feedEdges(t, edges[name].build, events)
					got := lastOf(d)
					slices.Sort(want)
					require.Equal(t, want, got, "%v", events)
					for why := range topology.Reason(topology.Reasons) {
						require.Equal(t, dropped[why], d.dropped(why), "%s: %v", why, events)
					}
				}
			}
		})
	}
}

func feedEdges(
	t *testing.T, build func(s, right stream.Stream[string, string]), events []timedEvent,
) *driver {
	t.Helper()
	b := stream.NewBuilder()
	build(b.Stream(in), b.Stream(right))
	d := drive(t, b)
	for _, e := range events {
		topic := in
		if e.right {
			topic = right
		}
		put(d, topic, "k", strconv.Itoa(e.number), e.ts)
	}
	return d
}

// lastOf are the rows that the results come to.
func lastOf(d *driver) []string {
	d.t.Helper()
	rows := map[string]string{}
	for _, r := range got(d, out) {
		k, v, _ := strings.Cut(r, "=")
		v, _, _ = strings.Cut(v, "@")
		if rows[k] = v; v == "∅" {
			delete(rows, k)
		}
	}
	var all []string
	for k, v := range rows {
		all = append(all, k+"="+v)
	}
	slices.Sort(all)
	return all
}

// shifting are operators that do the same at any time, and give results in order.
var shifting = map[string]func(s, right stream.Stream[string, string]){
	"sliding": func(s, _ stream.Stream[string, string]) {
		s.GroupByKey().Windowed(stream.Sliding(10*ms, edgeGrace*ms)).Emit(stream.OnUpdate).
			Count(state.NewWindowed[string, int64]("store")).
			ToStream(func(k string, _ stream.Span) string { return k }).MapValues(decimal).To(out)
	},
	"closed": func(s, _ stream.Stream[string, string]) {
		s.GroupByKey().Windowed(stream.Hopping(10*ms, 5*ms, edgeGrace*ms)).Emit(stream.OnClose).
			Count(state.NewWindowed[string, int64]("store")).KeyStream().MapValues(decimal).To(out)
	},
	"closed sessions": func(s, _ stream.Stream[string, string]) {
		s.GroupByKey().Sessions(stream.SessionGap(edgeGap*ms, edgeGrace*ms)).Emit(stream.OnClose).
			Count(state.NewSession[string, int64]("store")).KeyStream().MapValues(decimal).To(out)
	},
	"outer join": func(s, right stream.Stream[string, string]) {
		s.OuterJoin(right, stream.Around(edgeBefore*ms, edgeGrace*ms), "store", func(l, r *string) string {
			return text(l) + " " + text(r)
		}).To(out)
	},
	"suppress": func(s, _ stream.Stream[string, string]) {
		s.GroupByKey().Count(state.NewKV[string, int64]("store")).
			Suppress(stream.UntilTimeLimit(edgeGap*ms, "held")).ToStream().MapValues(decimal).To(out)
	},
}

func text(s *string) string {
	if s == nil {
		return "none"
	}
	return *s
}

// What an operator does with usual times it does with the last ones.
func TestOperatorsDoTheSameAtTheLastTimes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	usual, last := edgeBases[1], edgeBases[2]
	for _, name := range slices.Sorted(maps.Keys(shifting)) {
		t.Run(name, func(t *testing.T) {
			results := 0
			for range 25 {
				events := eventsAround(rnd, usual)
				if name != "outer join" {
					for i := range events {
						events[i].right = false
					}
				}
				was := shiftedResults(t, name, events, 0)
				require.Equal(t, was, shiftedResults(t, name, events, last-usual), "%v", events)
				results += len(was) - topology.Reasons
			}
			require.Positive(t, results)
		})
	}
}

// shiftedResults are the results of events that come so much later, with times as if they did not, and then what was
// dropped.
func shiftedResults(t *testing.T, name string, events []timedEvent, by int64) (all []string) {
	t.Helper()
	events = slices.Clone(events)
	for i := range events {
		events[i].ts += by
	}
	d := feedEdges(t, shifting[name], events)
	for _, r := range got(d, out) {
		what, at, _ := strings.Cut(r, "@")
		ts, err := strconv.ParseInt(at, 10, 64)
		require.NoError(t, err)
		all = append(all, fmt.Sprintf("%s@%d", what, ts-by))
	}
	for why := range topology.Reason(topology.Reasons) {
		all = append(all, fmt.Sprint(why, " ", d.dropped(why)))
	}
	return all
}
