package oracle

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	corpusFile = flag.String("corpus", "testdata/public.jsonl.gz", "scenarios to run, one a line")
	onlyID     = flag.String("id", "", "run the scenarios whose id begins with this")
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

func TestCorpus(t *testing.T) {
	scenarios, err := load(*corpusFile)
	require.NoError(t, err)
	missing, byOp := tally{}, tally{}
	equal, differ, listed := 0, 0, 0
	for _, s := range scenarios {
		if !strings.HasPrefix(s.ID, *onlyID) {
			continue
		}
		got, lacks, err := execute(t, s, mode{})
		if lacks != "" {
			missing[lacks]++
			continue
		}
		diffs := differences(&s.Expect, &got)
		if len(diffs) == 0 {
			equal++
			continue
		}
		differ++
		for _, op := range ops(s) {
			byOp[op]++
		}
		if *showAll {
			fmt.Printf("%s (%s) %v\n", s.ID, s.Title, s.Expect.Sensitive)
			if err != nil {
				fmt.Printf("    error: %v\n", err)
			}
			for _, d := range diffs {
				fmt.Printf("    %s\n", d)
			}
		}
	}
	missing.print(t, "unsupported ops: scenarios")
	byOp.print(t, "ops in scenarios that differ")
	fmt.Printf("%d unsupported\n", sum(missing))
	fmt.Printf("%d equal, %d differ, %d listed\n", equal, differ, listed)
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
