// Package plan makes a topology cheaper before it is checked and run. Each rule has a file, may be left out, and
// changes no result: what comes out of a topology is the same with and without. Names of topics and stores stay what
// the user called them; a rule may do without one.
//
// A rule looks at nodes alone, and at what topology.Node tells of them. It never sees a type of the user's.
package plan

import (
	"fmt"
	"strings"

	"thalweg/topology"
)

// Rule is a way to make a topology cheaper.
type Rule uint8

// The rules.
const (
	// MergeRepartitions writes records once that several repartitions have of the same stream.
	MergeRepartitions Rule = iota
	// ReuseTopics restores tables from the topics that they are read from, instead of from changelogs.
	ReuseTopics
	// ShareSelfJoins keeps one buffer for the inner join of a stream with itself.
	ShareSelfJoins
	// CombineCounts counts before a repartition, as far as records of a key come together, and adds up behind it.
	CombineCounts
	rules
)

// All are all rules.
func All() []Rule {
	all := make([]Rule, rules)
	for i := range all {
		all[i] = Rule(i)
	}
	return all
}

func (r Rule) String() string {
	return [...]string{"merge repartitions", "reuse topics", "share self joins", "combine counts"}[r]
}

// Step is one thing that a rule has changed.
type Step struct {
	Rule Rule
	What string
}

func (s Step) String() string { return s.Rule.String() + ": " + s.What }

// graph is the nodes while rules change them.
type graph struct {
	nodes []*topology.Node
	steps []Step
}

func (g *graph) did(r Rule, format string, args ...any) {
	g.steps = append(g.steps, Step{r, fmt.Sprintf(format, args...)})
}

// Optimize applies rules to nodes, which it changes, and returns those that are left, with what was done.
func Optimize(nodes []*topology.Node, some ...Rule) ([]*topology.Node, []Step) {
	g := &graph{nodes: nodes}
	for r := range rules { // in their own order: a rule may make work for the next
		for _, asked := range some {
			if asked == r {
				[...]func(*graph){mergeRepartitions, reuseTopics, shareSelfJoins, combineCounts}[r](g)
				break
			}
		}
	}
	return g.nodes, g.steps
}

// Explain tells what rules do to nodes: the topology before, each step, and the topology after.
func Explain(nodes []*topology.Node, some ...Rule) (string, error) {
	before, err := topology.New(topology.Clone(nodes))
	if err != nil {
		return "", err
	}
	nodes, steps := Optimize(topology.Clone(nodes), some...)
	after, err := topology.New(nodes)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	describe := func(title string, t *topology.Topology) {
		fmt.Fprintf(&text, "%s\n%s\n%s\n", title, t.Fingerprint(), t.Describe())
	}
	describe("Before", before)
	text.WriteString("Steps\n")
	for _, s := range steps {
		fmt.Fprintf(&text, "%s\n", s)
	}
	if len(steps) == 0 {
		text.WriteString("none\n")
	}
	text.WriteString("\n")
	describe("After", after)
	return text.String(), nil
}
