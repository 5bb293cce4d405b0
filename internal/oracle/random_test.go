package oracle

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/stream"
)

var (
	randomCount = flag.Int("random", 60, "random topologies to run")
	randomSeed  = flag.Uint64("seed", 0, "seed of the first random topology; 0: of the day")
)

// TestRandomTopologies runs random topologies with random input in ways that must not make a difference: on another
// engine, with restarts, with several partitions, with fewer commits, with the optimizer's rules. The first result is
// what the others are compared with.
func TestRandomTopologies(t *testing.T) {
	seed := *randomSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	ran, steps := map[string]int{}, map[string]int{}
	for i := range uint64(*randomCount) {
		s := randomScenario(seed + i)
		for rule, n := range optimized(s) {
			steps[rule] += n
		}
		// A test of its own, so that what it opened is closed at its end.
		if !t.Run(s.ID, func(t *testing.T) { inAllModes(t, s, ran) }) {
			return
		}
	}
	fmt.Printf("random topologies from seed %d: runs %v, the optimizer did %v\n", seed, ran, steps)
}

// inAllModes runs a topology in each mode that allows it, which ran counts.
func inAllModes(t *testing.T, s *scenario, ran map[string]int) {
	for name, m := range randomModes() {
		if m.allows != nil && !m.allows(s) {
			continue
		}
		ran[name]++
		want, got := runRandom(t, s, mode{}), runRandom(t, s, m)
		if m.partitions > 1 || m.commitEvery > 0 {
			want.forget(m.commitEvery > 0)
			got.forget(m.commitEvery > 0)
		}
		if diffs := differences(&want, &got); len(diffs) > 0 {
			t.Fatalf("mode %s, -seed %s -random 1:\n%s\n%s\n%s", name, s.ID, brief(s.Nodes), brief(s.Input),
				strings.Join(diffs, "\n"))
		}
	}
}

func randomModes() map[string]mode {
	modes := modes()
	delete(modes, "plain")
	for _, rule := range []stream.Rule{stream.MergeRepartitions, stream.ReuseTopics, stream.ShareSelfJoins} {
		modes[rule.String()] = mode{rules: []stream.Rule{rule}}
	}
	for _, name := range []string{"optimized", stream.MergeRepartitions.String()} {
		m := modes[name]
		m.allows = isNoRace
		modes[name] = m
	}
	partitions := modes["partitions"]
	partitions.allows = func(s *scenario) bool { return isPerKey(s) && meetsInOrder(s) }
	modes["partitions"] = partitions
	modes["commits"] = mode{commitEvery: 4, allows: staysInOneTask}
	modes["commits and restarts"] = mode{
		commitEvery: 3, restartEvery: 4, newEngine: newPebble,
		// What was not committed comes again in the order of time, whichever topic it was in.
		allows: func(s *scenario) bool { return staysInOneTask(s) && readsOneTopic(s) },
	}
	return modes
}

// staysInOneTask leaves out topologies that write topics of their own, and those in which results of asynchronous calls
// meet other records: when they come depends on when the application commits, and so does what meets in a join.
func staysInOneTask(s *scenario) bool {
	b := stream.NewBuilder()
	topo, err := newBuilder(s, b).build()
	calls := slices.ContainsFunc(s.Nodes, func(n node) bool { return n.Op == "mapAsync" })
	if calls && slices.ContainsFunc(s.Nodes, meets) {
		return false
	}
	return err == nil && len(topo.Subtopologies()) > 0 &&
		!slices.ContainsFunc(topo.Nodes(), isRepartition) && outlivesRestart(s)
}

func readsOneTopic(s *scenario) bool {
	return !slices.ContainsFunc(s.Input, func(in input) bool { return in.Topic != s.Input[0].Topic })
}

// isNoRace leaves out topologies in which the streams of repartitions that are merged may meet again: which of two
// records of equal times then comes first is an accident, with the rule as without.
func isNoRace(s *scenario) bool {
	return !slices.ContainsFunc(s.Nodes, meets) || optimized(s)[stream.MergeRepartitions.String()] == 0
}

// meetsInOrder leaves out topologies in which the records that come of one record may get another key in different
// partitions, and then meet under a third: in which order is an accident.
func meetsInOrder(s *scenario) bool {
	moved := map[string]bool{}
	again, several := false, false
	for _, n := range s.Nodes {
		for _, in := range n.In {
			moved[n.ID] = moved[n.ID] || moved[in]
		}
		switch n.Op {
		case "merge", "flatMapValues":
			several = true
		case "map", "selectKey", "groupBy", "groupTable":
			again = again || moved[n.ID]
			moved[n.ID] = true
		}
	}
	return !again || !several
}

func meets(n node) bool { return len(n.In) > 1 }

// optimized is how much the optimizer finds to do, by rule.
func optimized(s *scenario) map[string]int {
	b := stream.NewBuilder()
	if _, err := newBuilder(s, b).build(); err != nil {
		return nil
	}
	explained, err := b.Explain()
	if err != nil {
		return nil
	}
	did := map[string]int{}
	for _, rule := range []stream.Rule{stream.MergeRepartitions, stream.ReuseTopics, stream.ShareSelfJoins} {
		if n := strings.Count(explained, "\n"+rule.String()+":"); n > 0 {
			did[rule.String()] = n
		}
	}
	return did
}

func runRandom(t *testing.T, s *scenario, m mode) expect {
	got, err := execute(t, s, m)
	require.NoError(t, err, "seed %s:\n%s", s.ID, brief(s.Nodes))
	return got
}

// forget takes out what may differ: between partitions the order of keys, between commits when something came out.
func (e *expect) forget(when bool) {
	e.Order = map[string]string{}
	for topic, records := range e.Outputs {
		e.Order[topic] = "perKey"
		for i := range records {
			if when {
				records[i].At = 0
			}
		}
	}
	for id := range e.Peeks {
		e.Order["peek:"+id] = "perKey"
	}
	if when { // what a restart takes back was seen and counted
		e.Peeks, e.Dropped = nil, nil
	}
}

// brief is JSON without what is empty.
func brief(x any) string {
	var parts []map[string]any
	if err := json.Unmarshal([]byte(text(x)), &parts); err != nil {
		return err.Error()
	}
	for _, p := range parts {
		maps.DeleteFunc(p, func(_ string, v any) bool { return v == nil || v == "" || v == false || v == 0.0 })
	}
	return text(parts)
}

// grower makes a random scenario: it knows which nodes there are, by what they are.
type grower struct {
	*rand.Rand
	s                        *scenario
	streams, tables, windows []string
	sources                  []string // topics
}

func randomScenario(seed uint64) *scenario {
	g := &grower{Rand: rand.New(rand.NewPCG(seed, 7)), s: &scenario{ID: fmt.Sprint(seed)}}
	for i := range 1 + g.IntN(2) {
		name := fmt.Sprintf("S%d", i)
		g.sources = append(g.sources, name)
		g.add(&g.streams, node{Op: "stream", Topics: []string{name}})
	}
	for i := range g.IntN(3) {
		name := fmt.Sprintf("T%d", i)
		g.sources = append(g.sources, name)
		g.add(&g.tables, node{Op: "table", Topic: name})
	}
	for range 3 + g.IntN(8) {
		g.grow()
	}
	g.sinks()
	g.feed()
	return g.s
}

// add adds a node, with a store of a name of its own where the op may have one.
func (g *grower) add(to *[]string, n node) string {
	n.ID = fmt.Sprintf("n%d", len(g.s.Nodes)+1)
	switch n.Op {
	case "table", "toTable", "count", "reduce", "aggregate":
		if n.Window == nil {
			n.Store = &storeDef{Name: "store-" + n.ID}
		}
	}
	g.s.Nodes = append(g.s.Nodes, n)
	if to != nil {
		*to = append(*to, n.ID)
	}
	return n.ID
}

func (g *grower) one(some ...string) string { return some[g.IntN(len(some))] }

func (g *grower) pred() string {
	return g.one("even", "odd", "hasValue", "keyIs:a", "longer:1", "gt:3", "contains:b")
}

func (g *grower) fn() string {
	return g.one("upper", "len", "addKey", "append:x", "inc:1", "mod:3", "nullIfOdd", "show", "first")
}

func (g *grower) grow() {
	switch n := g.IntN(10); {
	case n < 7 || len(g.tables)+len(g.windows) == 0:
		g.growStream(g.one(g.streams...))
	case len(g.windows) == 0 || n < 9 && len(g.tables) > 0:
		g.growTable(g.one(g.tables...))
	default:
		g.growWindows(g.one(g.windows...))
	}
}

func (g *grower) growStream(from string) {
	in := []string{from}
	switch g.IntN(17) {
	case 0:
		g.add(&g.streams, node{Op: g.one("filter", "filterNot"), In: in, Pred: g.pred()})
	case 1:
		g.add(&g.streams, node{Op: g.one("mapValues", "mapAsync"), In: in, Fn: g.fn()})
	case 2:
		g.add(&g.streams, node{Op: "flatMapValues", In: in, Fn: g.one("chars", "twice", "words")})
	case 3, 4:
		moved := g.add(&g.streams, node{Op: "selectKey", In: in, Key: g.one("value", "first", "mod:3", "nullIfOdd", "key")})
		if g.IntN(2) == 0 { // several repartitions of one stream, for the optimizer
			g.aggregate(moved)
			g.aggregate(g.add(nil, node{Op: "mapValues", In: []string{moved}, Fn: g.fn()}))
		}
	case 5:
		g.add(&g.streams, node{Op: "map", In: in, Fn: g.one("swap", "valueAsKey", "modKey:3", "same")})
	case 6:
		g.add(nil, node{Op: "peek", In: in})
	case 7:
		g.add(&g.streams, node{Op: "merge", In: []string{from, g.one(g.streams...)}})
	case 8:
		g.add(&g.streams, node{Op: "repartition", In: in, Name: fmt.Sprintf("r%d", len(g.s.Nodes))})
	case 9:
		g.add(&g.tables, node{Op: "toTable", In: in})
	case 10:
		g.add(&g.streams, node{Op: g.one("deduplicate", "batch"), In: in, Key: g.one("value", "first"), Ms: g.Int64N(9)})
	case 11, 12:
		g.join(from)
	default:
		g.aggregate(from)
	}
}

func (g *grower) join(from string) {
	grace := g.Int64N(10)
	if len(g.tables) > 0 && g.IntN(2) == 0 {
		g.add(&g.streams, node{
			Op: "joinStreamTable", In: []string{from, g.one(g.tables...)}, Type: g.one("inner", "left"), Joiner: "dash",
		})
		return
	}
	other := from
	if g.IntN(3) > 0 {
		other = g.one(g.streams...)
	}
	g.add(&g.streams, node{
		Op: "joinStreams", In: []string{from, other}, Type: g.one("inner", "inner", "left", "outer"), Joiner: "dash",
		Before: g.Int64N(10), After: g.Int64N(10), Grace: &grace, Ms: max(0, g.Int64N(3)-1),
	})
}

func (g *grower) aggregate(from string) {
	grouped := node{Op: "groupByKey", In: []string{from}}
	if g.IntN(4) == 0 {
		grouped = node{Op: "groupBy", In: []string{from}, Key: g.one("value", "first", "mod:2")}
	}
	n := node{In: []string{g.add(nil, grouped)}}
	to := &g.tables
	if g.IntN(3) == 0 {
		to, n.Window = &g.windows, g.window()
		if g.IntN(3) == 0 {
			n.Emit = "close"
		}
	}
	switch n.Op = g.one("count", "reduce", "aggregate"); n.Op {
	case "reduce":
		n.Adder = g.one("plus", "max", "last", "first")
	case "aggregate":
		n.Init, n.Adder = g.one("empty", "zero"), g.one("concat", "count", "sum", "last")
		if n.Window != nil && n.Window.Type == "session" {
			n.Merger = "plus"
		}
	}
	g.add(to, n)
}

func (g *grower) window() *window {
	grace := g.Int64N(8)
	switch g.IntN(5) {
	case 3:
		return &window{Type: "custom", Grace: grace}
	case 0:
		return &window{Type: "hopping", Size: 10, Advance: 4, Grace: grace}
	case 1:
		return &window{Type: "sliding", Diff: 6, Grace: grace}
	case 2:
		return &window{Type: "session", Gap: 4, Grace: grace}
	}
	return &window{Type: "tumbling", Size: 8, Grace: grace}
}

func (g *grower) growTable(from string) {
	in := []string{from}
	switch g.IntN(7) {
	case 0:
		g.add(&g.tables, node{Op: g.one("filter", "filterNot"), In: in, Pred: g.pred()})
	case 1:
		g.add(&g.tables, node{Op: "mapValues", In: in, Fn: g.fn()})
	case 2, 3:
		g.add(&g.streams, node{Op: "toStream", In: in})
	case 4:
		grouped := g.add(nil, node{
			Op: "groupTable", In: in, Fn: g.one("swap", "modKey:2", "firstKey"), Name: fmt.Sprintf("g%d", len(g.s.Nodes)),
		})
		g.add(&g.tables, node{Op: g.one("count", "topTable"), In: []string{grouped}})
	case 5:
		g.add(&g.tables, node{
			Op: "joinTables", In: []string{from, g.one(g.tables...)}, Type: g.one("inner", "left", "outer"), Joiner: "plus",
		})
	default:
		g.add(&g.tables, node{Op: "suppress", In: in, Until: "timeLimit", Ms: 1 + g.Int64N(10)})
	}
}

func (g *grower) growWindows(from string) {
	in := []string{from}
	switch g.IntN(3) {
	case 0:
		g.add(&g.windows, node{Op: "filter", In: in, Pred: g.pred()})
	case 1:
		g.add(&g.windows, node{Op: "mapValues", In: in, Fn: g.fn()})
	default:
		g.add(&g.streams, node{Op: "toStream", In: in, Windowed: true})
	}
}

// sinks shows what every node without children makes.
func (g *grower) sinks() {
	used := map[string]bool{}
	for _, n := range g.s.Nodes {
		for _, in := range n.In {
			used[in] = true
		}
	}
	for i, s := range [][]string{g.tables, g.windows} {
		for _, id := range s {
			if !used[id] {
				g.add(&g.streams, node{Op: "toStream", In: []string{id}, Windowed: i == 1})
			}
		}
	}
	for i, id := range g.streams {
		if !used[id] {
			g.add(nil, node{Op: "to", In: []string{id}, Topic: fmt.Sprintf("O%d", i)})
		}
	}
}

func (g *grower) feed() {
	now := int64(0)
	text := func(nulls int, some ...string) *string {
		if g.IntN(nulls) == 0 {
			return nil
		}
		return ptr(g.one(some...))
	}
	for range 15 + g.IntN(25) {
		now += g.Int64N(4)
		g.s.Input = append(g.s.Input, input{
			Topic: g.one(g.sources...), Key: text(15, "a", "b", "c"), TS: max(0, now-g.Int64N(3)*g.Int64N(8)),
			Value: text(12, "1", "2", "7", "12", "ab", "b c", "xyz"),
		})
	}
}
