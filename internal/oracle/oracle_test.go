package oracle

import (
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/state/engine"
	"thalweg/state/pebble"
	"thalweg/stream"
)

const publicCorpus = "testdata/public.jsonl.gz"

var (
	corpusFile = flag.String("corpus", publicCorpus, "scenarios to run, one a line")
	onlyID     = flag.String("id", "", "run the scenarios whose id begins with this")
	modeName   = flag.String("mode", "", "one of modes, or all; none: plain and a share of the others")
	showAll    = flag.Bool("show", false, "print the differences of listed scenarios, too")
)

// tally counts scenarios by what they have in common.
type tally map[string]int

func (c tally) print(title string) {
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
		"optimized": {
			rules: []stream.Rule{stream.MergeRepartitions, stream.ReuseTopics, stream.ShareSelfJoins}, restartEvery: 3,
			allows: outlivesRestart,
		},
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
	groups, moved := 0, movedNodes(s)
	for _, n := range s.Nodes {
		name, _, _ := strings.Cut(n.Proc, ":")
		switch name {
		case "tick", "punct", "times", "meta", "versioned", "lookup":
			return false
		case "dedupe", "counter": // a key's rows are where its records are
			if moved[n.In[0]] {
				return false
			}
		}
		switch n.Op {
		case "groupTable": // behind another one, a row's old and new group reach it from two partitions
			if groups++; groups > 1 {
				return false
			}
		case "joinStreams", "suppress", "fkJoin":
			return false
		case "deduplicate": // what is too late for a short interval depends on the time of the partition
			if n.Ms > 0 {
				return false
			}
		}
		if n.Window != nil || n.Grace != nil || n.Timestamps != "" || n.Store != nil && n.Store.VersionedMs > 0 {
			return false
		}
	}
	return s.Expect.Error == nil && s.Config.DeadLetters == "" // a dead letter names its partition
}

// movedNodes are the streams whose records may lie in another partition than their key's.
func movedNodes(s *scenario) map[string]bool {
	moved := map[string]bool{}
	for _, n := range s.Nodes {
		is := false
		switch n.Op {
		case "map", "flatMap", "selectKey", "process":
			is = true
		case "toStream":
			is = n.Windowed || n.Key != ""
		case "filter", "filterNot", "mapValues", "flatMapValues", "peek", "merge", "split", "processValues", "joinGlobal":
			is = slices.ContainsFunc(n.In, func(in string) bool { return moved[in] })
		}
		moved[n.ID] = is
		for _, b := range n.Branches {
			moved[b.ID] = is
		}
		if n.Default != "" {
			moved[n.Default] = is
		}
	}
	return moved
}

// perKey loosens the order of all topics: keys of different partitions come in any order.
func perKey(s *scenario) map[string]string {
	order := map[string]string{}
	for topic := range s.Expect.Outputs {
		order[topic] = "perKey"
	}
	for id := range s.Expect.Peeks {
		order["peek:"+id] = "perKey"
	}
	maps.Copy(order, s.Expect.Order)
	return order
}

func newPebble() (engine.Engine, error) {
	return pebble.Open("state", pebble.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
}

// verdict is how a scenario fared; the worst of all modes counts.
type verdict int

const (
	equal verdict = iota
	listed
	differs
)

// verdicts are those of all scenarios that ran, by id.
var verdicts = map[string]verdict{}

// TestMain prints the sum over all scenarios and modes as the last line.
func TestMain(m *testing.M) {
	code := m.Run()
	if len(verdicts) > 0 {
		var n [3]int
		for _, v := range verdicts {
			n[v]++
		}
		fmt.Println(sums(n))
	}
	os.Exit(code)
}

func sums(n [3]int) string {
	return fmt.Sprintf("%d equal, %d differ, %d listed", n[equal], n[differs], n[listed])
}

// score is how the scenarios of one mode fared.
type score struct {
	verdicts [3]int
	byOp     tally // of those that differ
	byRule   tally // of those that are listed
}

func TestCorpus(t *testing.T) {
	scenarios, err := load(fromRoot(*corpusFile))
	require.NoError(t, err)
	share := map[string]int{}
	for name := range modes() {
		share[name] = shareOfModes
	}
	share["plain"] = 1
	if *modeName != "" {
		share = map[string]int{*modeName: 1}
	}
	if *modeName == "all" {
		share = map[string]int{}
		for name := range modes() {
			share[name] = 1
		}
	}
	known, err := loadSeconds(fromRoot(*secondFile))
	require.NoError(t, err)
	for _, name := range slices.Sorted(maps.Keys(share)) {
		runCorpus(t, known, name, scenarios, share[name])
	}
	if *listedFile != "" {
		require.NoError(t, known.writeMissing(*listedFile))
	}
}

// TestMinimal runs the smallest scenarios of differences that there were, in all modes.
func TestMinimal(t *testing.T) {
	scenarios, err := load("testdata/minimal.jsonl")
	require.NoError(t, err)
	known, err := loadSeconds(secondExpectations)
	require.NoError(t, err)
	for _, name := range slices.Sorted(maps.Keys(modes())) {
		runCorpus(t, known, name, scenarios, 1)
	}
}

// fromRoot finds a file that is named as seen from the top of the repository, too: a test runs in its own directory.
func fromRoot(file string) string {
	if _, err := os.Stat(file); err != nil && !filepath.IsAbs(file) {
		return filepath.Join("..", "..", file)
	}
	return file
}

// shareOfModes is which share of the scenarios the modes but plain run where none is named: one in so many.
const shareOfModes = 5

func runCorpus(t *testing.T, r seconds, name string, scenarios []*scenario, every int) {
	t.Helper()
	m, ok := modes()[name]
	require.True(t, ok, "no mode %q", name)
	c := &score{byOp: tally{}, byRule: tally{}}
	for i, s := range scenarios {
		if i%every != 0 || !strings.HasPrefix(s.ID, *onlyID) || m.allows != nil && !m.allows(s) {
			continue
		}
		if v := c.run(t, r, name, s, m); v > verdicts[s.ID] {
			verdicts[s.ID] = v
		} else if _, ok := verdicts[s.ID]; !ok {
			verdicts[s.ID] = v
		}
	}
	c.byOp.print("ops in scenarios that differ")
	c.byRule.print("listed by rule")
	fmt.Printf("mode %s: %s\n", name, sums(c.verdicts))
}

func (c *score) run(t *testing.T, r seconds, mode string, s *scenario, m mode) (v verdict) {
	defer func() { c.verdicts[v]++ }()
	want := s.Expect
	if m.partitions > 1 {
		want.Order = perKey(s)
	}
	got, err := execute(t, s, m)
	diffs := differences(&want, &got)
	if len(diffs) == 0 {
		return equal
	}
	rule, unchecked := rulesFor(s)
	if rule != "" {
		if more := r.second(t, s, m, &got); len(more) > 0 {
			rule, diffs = "", append(diffs, more...)
		}
	}
	if rule == "" {
		rule = unchecked
	}
	if rule != "" {
		c.byRule[rule]++
	}
	if rule == "" || *showAll {
		fmt.Printf("mode %s: %s (%s) %s\n", mode, s.ID, s.Title, rule)
		if err != nil {
			fmt.Printf("    error: %v\n", err)
		}
		for _, d := range diffs {
			fmt.Printf("    %s\n", d)
		}
	}
	if rule != "" {
		return listed
	}
	for _, op := range ops(s) {
		c.byOp[op]++
	}
	t.Errorf("mode %s: scenario %s differs: run it with -mode %s -id %s", mode, s.ID, mode, s.ID)
	return differs
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
