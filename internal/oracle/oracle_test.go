package oracle

import (
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/state/engine"
	"thalweg/state/pebble"
)

const publicCorpus = "testdata/public.jsonl.gz"

var (
	corpusFile = flag.String("corpus", publicCorpus, "scenarios to run, one a line")
	onlyID     = flag.String("id", "", "run the scenarios whose id begins with this")
	modeName   = flag.String("mode", "", "plain, pebble, restart or partitions; none: plain, and a share of the others")
	update     = flag.Bool("update", false, "write the list of what differs anew")
	showAll    = flag.Bool("show", false, "print each difference")
)

// tally counts scenarios by what they have in common.
type tally map[string]int

func (c tally) print(t *testing.T, title string) {
	if len(c) == 0 {
		return
	}
	names := slices.SortedFunc(maps.Keys(c), func(a, b string) int {
		if c[a] != c[b] {
			return c[b] - c[a]
		}
		return strings.Compare(a, b)
	})
	fmt.Printf("%s\n", title)
	for _, n := range names {
		fmt.Printf("%6d  %s\n", c[n], n)
	}
}

// modes are the ways to run a scenario. None may change its results.
func modes() map[string]mode {
	return map[string]mode{
		"plain":      {},
		"pebble":     {newEngine: newPebble},
		"restart":    {restartEvery: 3, allows: outlivesRestart},
		"partitions": {partitions: 3, allows: isPerKey},
	}
}

// outlivesRestart leaves out what a restart changes by its nature: wall-clock punctuation begins anew, and a
// processor's count of its own firings.
func outlivesRestart(s *scenario) bool {
	for _, n := range s.Nodes {
		parts := strings.Split(n.Proc, ":")
		if len(parts) > 1 && parts[1] == "wall" || len(parts) > 3 && parts[0] == "tick" {
			return false
		}
	}
	return true
}

// isPerKey tells whether each key's results depend on records of that key alone, and so not on what shares a
// partition with it.
func isPerKey(s *scenario) bool {
	groups := 0
	for _, n := range s.Nodes {
		name, _, _ := strings.Cut(n.Proc, ":")
		switch name {
		case "tick", "punct", "times", "meta", "versioned", "lookup":
			return false
		}
		switch n.Op {
		case "groupTable": // behind another one, a row's old and new group reach it from two partitions
			if groups++; groups > 1 {
				return false
			}
		case "joinStreams", "suppress", "fkJoin":
			return false
		}
		if n.Window != nil || n.Grace != nil || n.Timestamps != "" || n.Store != nil && n.Store.VersionedMs > 0 {
			return false
		}
	}
	return s.Expect.Error == nil && s.Config.DeadLetters == "" // a dead letter names its partition
}

// perKey loosens the order of all topics: keys of different partitions come in any order.
func perKey(s *scenario) {
	order := map[string]string{}
	for topic := range s.Expect.Outputs {
		order[topic] = "perKey"
	}
	for id := range s.Expect.Peeks {
		order["peek:"+id] = "perKey"
	}
	for what, how := range s.Expect.Order {
		order[what] = how
	}
	s.Expect.Order = order
}

func newPebble() (engine.Engine, error) {
	return pebble.Open("state", pebble.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
}

// openFile lists, for each mode, the scenarios that differ and are still to be settled. A scenario that differs without
// standing there fails the test.
const openFile = "testdata/open.txt"

// readOpen gives the ids that are open in a mode.
func readOpen(t *testing.T, mode string) map[string]bool {
	raw, err := os.ReadFile(openFile)
	require.NoError(t, err)
	ids := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) == 2 && fields[0] == mode {
			ids[fields[1]] = true
		}
	}
	return ids
}

// writeOpen replaces the ids of a mode.
func writeOpen(t *testing.T, mode string, ids []string) {
	raw, err := os.ReadFile(openFile)
	require.NoError(t, err)
	var kept []string
	for line := range strings.Lines(string(raw)) {
		if !strings.HasPrefix(line, mode+" ") {
			kept = append(kept, strings.TrimSpace(line))
		}
	}
	for _, id := range ids {
		kept = append(kept, mode+" "+id)
	}
	slices.Sort(kept)
	require.NoError(t, os.WriteFile(openFile, []byte(strings.Join(kept, "\n")+"\n"), 0o644))
}

// score is how the scenarios of one mode fared.
type score struct {
	equal, listed int
	differ        []string
	missing, byOp tally
}

func TestCorpus(t *testing.T) {
	if *modeName != "" {
		runCorpus(t, *modeName, 1)
		return
	}
	runCorpus(t, "plain", 1)
	for _, m := range []string{"pebble", "restart", "partitions"} {
		runCorpus(t, m, shareOfModes)
	}
}

// shareOfModes is which share of the scenarios the modes but plain run where none is named: one in so many.
const shareOfModes = 5

func runCorpus(t *testing.T, name string, every int) {
	t.Helper()
	scenarios, err := load(*corpusFile)
	require.NoError(t, err)
	m, ok := modes()[name]
	require.True(t, ok, "no mode %q", name)
	c := &score{missing: tally{}, byOp: tally{}}
	for i, s := range scenarios {
		if i%every != 0 || !strings.HasPrefix(s.ID, *onlyID) || m.allows != nil && !m.allows(s) {
			continue
		}
		if m.partitions > 1 {
			perKey(s)
		}
		c.run(t, s, m)
	}
	fmt.Printf("mode %s\n", name)
	if *showAll {
		c.byOp.print(t, "ops in scenarios that differ")
	}
	c.missing.print(t, "unsupported ops: scenarios")
	fmt.Printf("%d unsupported\n", sum(c.missing))
	fmt.Printf("%d equal, %d differ, %d listed\n", c.equal, len(c.differ), c.listed)
	if *update {
		writeOpen(t, name, c.differ)
	}
	if *corpusFile != publicCorpus {
		return
	}
	open := readOpen(t, name)
	for _, id := range c.differ {
		if !open[id] {
			t.Errorf("mode %s: scenario %s differs: -mode %s -id %s -show says where", name, id, name, id)
		}
	}
}

// isListed tells whether a scenario may differ, by a rule.
func isListed(s *scenario) bool {
	// Kafka Streams takes the initial value of an aggregate for an old row. It never was one.
	return slices.Contains(s.Expect.Sensitive, "initialOld") || emptyForeign(s) || cachedExpired(s) || forgottenDeletion(s)
}

// cachedExpired finds windows and sessions with caches: in Kafka Streams a cache goes on showing windows that the store
// below has expired, so late records and joins meet what is gone without a cache. Here it makes no difference.
func cachedExpired(s *scenario) bool {
	return s.Config.Cache == "on" && slices.ContainsFunc(s.Nodes, func(n node) bool { return n.Window != nil })
}

// forgottenDeletion finds a row of a versioned table that is deleted at the very time at which it was put: Kafka Streams
// then knows nothing of the key any more, and takes an older record that comes after it for the newest. Here a deletion
// is remembered like any other version.
func forgottenDeletion(s *scenario) bool {
	topics := map[string]bool{}
	for _, n := range s.Nodes {
		if n.Store != nil && n.Store.VersionedMs > 0 {
			topics[n.Topic] = true
		}
	}
	type row struct {
		topic, key string
		ts         int64
	}
	put := map[row]bool{}
	for _, in := range s.Input {
		if in.Key == nil || !topics[in.Topic] {
			continue
		}
		at := row{in.Topic, *in.Key, in.TS}
		if in.Value == nil && put[at] {
			return true
		}
		put[at] = in.Value != nil
	}
	return false
}

// emptyForeign finds a foreign-key join that meets an empty row on its right-hand side: Kafka Streams takes it for
// none, since its wire format says null by having no bytes. Here null and empty differ.
func emptyForeign(s *scenario) bool {
	topics, byID := map[string]bool{}, map[string]node{}
	for _, n := range s.Nodes {
		byID[n.ID] = n
		if n.Op == "fkJoin" {
			topics[byID[n.In[1]].Topic] = true
		}
	}
	return slices.ContainsFunc(s.Input, func(in input) bool {
		return in.Topic != "" && topics[in.Topic] && is(in.Value, "")
	})
}

func (c *score) run(t *testing.T, s *scenario, m mode) {
	got, lacks, err := execute(t, s, m)
	if lacks != "" {
		c.missing[lacks]++
		return
	}
	diffs := differences(&s.Expect, &got)
	if len(diffs) == 0 {
		c.equal++
		return
	}
	if isListed(s) {
		c.listed++
		return
	}
	c.differ = append(c.differ, s.ID)
	for _, op := range ops(s) {
		c.byOp[op]++
	}
	if !*showAll {
		return
	}
	fmt.Printf("%s (%s) %v\n", s.ID, s.Title, s.Expect.Sensitive)
	if err != nil {
		fmt.Printf("    error: %v\n", err)
	}
	for _, d := range diffs {
		fmt.Printf("    %s\n", d)
	}
}

func sum(c tally) (n int) {
	for _, m := range c {
		n += m
	}
	return n
}

func ops(s *scenario) []string {
	seen := map[string]bool{}
	for _, n := range s.Nodes {
		op := n.Op
		if n.Window != nil {
			op += "." + n.Window.Type
		}
		for _, more := range []string{n.Type, n.Emit, n.Until} {
			if more != "" {
				op += "." + more
			}
		}
		if n.Proc != "" {
			name, _, _ := strings.Cut(n.Proc, ":")
			op += "." + name
		}
		seen[op] = true
	}
	return slices.Sorted(maps.Keys(seen))
}
