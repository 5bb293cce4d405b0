package stream

import "thalweg/internal/plan"

// Rule is a way in which [Builder.Optimize] makes a topology cheaper.
type Rule = plan.Rule

// The rules.
const (
	// MergeRepartitions writes once what several repartitions have of the same stream: the first one's topic serves
	// all. It expects serdes to give back the values that they were given.
	MergeRepartitions = plan.MergeRepartitions
	// ReuseTopics restores tables from the topics that they are read from, and writes no changelog for them. Such a
	// topic must be compacted, never cut, and must hold no record that cannot be decoded. Where it is compacted only and
	// was cut, a restore is refused; where its records expire, a restore logs what is gone.
	ReuseTopics = plan.ReuseTopics
	// ShareSelfJoins keeps one buffer, not two, for the inner join of a stream with itself.
	ShareSelfJoins = plan.ShareSelfJoins
	// CombineCounts counts before a repartition what comes between two commits, so that its topic holds a partial
	// count for each key instead of each record, where a Count that tells with the commit alone reads it.
	CombineCounts = plan.CombineCounts
)

// Optimize lets Build make the topology cheaper by all rules. Results stay the same, and so do the names of topics and
// stores; some are no longer needed. Where rules are switched on or off for an application that has state, its next
// start restores what the new topology needs, or refuses, with the names, where rows or records would be lost.
func (b *Builder) Optimize() *Builder { return b.OptimizeWith(plan.All()...) }

// OptimizeWith is [Builder.Optimize] by these rules only.
func (b *Builder) OptimizeWith(rules ...Rule) *Builder {
	b.rules = rules
	return b
}

// Explain describes what the rules of Optimize do, or would do where there are none: the topology before, each step,
// and the topology after.
func (b *Builder) Explain() (string, error) {
	if _, err := b.Build(); err != nil {
		return "", err
	}
	rules := b.rules
	if rules == nil {
		rules = plan.All()
	}
	nodes, _ := b.made()
	return plan.Explain(nodes, rules...)
}
