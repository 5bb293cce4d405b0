package runtime

import (
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/kclient"
)

// What comes back is resumed only where no other process can have had it: in the assignment that follows the one that
// took it, or claimed all the time.
func TestWhatIsTakenBackUntilItIsSomebodyElses(t *testing.T) {
	id := TaskID{0, 1}
	in := kclient.TopicPartition{Topic: "lines", Partition: 1}
	tps := []kclient.TopicPartition{in}
	type assignment struct {
		generation int32
		claimed    bool
		back       bool
	}
	revoked, back, goes := assignment{5, false, false}, assignment{6, false, true}, assignment{6, false, false}
	claimed := assignment{6, true, false}
	for name, c := range map[string]struct {
		assignments []assignment
		stale       bool // after the last one
		owed        bool
		settled     bool
	}{
		"the round that takes it":       {[]assignment{revoked}, false, false, false},
		"it comes back":                 {[]assignment{revoked, back}, false, false, true},
		"it goes":                       {[]assignment{revoked, goes}, true, false, true},
		"it goes, unseen, and is back":  {[]assignment{revoked, {7, false, true}}, true, false, true},
		"it is claimed":                 {[]assignment{revoked, claimed}, false, true, false},
		"it is claimed, and back":       {[]assignment{revoked, claimed, {9, true, true}}, false, false, true},
		"it was claimed, and is back":   {[]assignment{revoked, claimed, {7, false, true}}, false, false, true},
		"it was claimed, and goes":      {[]assignment{revoked, claimed, {7, false, false}}, true, false, true},
		"it was claimed, and went once": {[]assignment{revoked, claimed, {8, false, true}}, true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			m, g := newMembership(), newGiven()
			m.assign(kclient.Event{Kind: kclient.Assigned, Partitions: tps, Generation: 4})
			m.readers[in] = id
			taken := kclient.Event{Kind: kclient.Revoked, Partitions: tps, Generation: 5}
			g.revoked(taken, m.remove(taken), func(TaskID) []kclient.TopicPartition { return tps })
			require.Equal(t, tps, g.claims(func(TaskID) bool { return true }))
			require.Empty(t, g.claims(func(TaskID) bool { return false }))
			var stale []TaskID
			for _, a := range c.assignments {
				e := kclient.Event{Kind: kclient.Assigned, Generation: a.generation}
				if a.claimed {
					e.Claimed = tps
				}
				if a.back {
					e.Partitions = tps
					m.assigned[in] = true
				}
				require.Empty(t, stale)
				stale = g.assigned(e, &m)
				m.assign(e)
			}
			require.Equal(t, c.stale, len(stale) > 0)
			require.Equal(t, c.owed, len(g.owed) > 0)
			require.Equal(t, c.settled, m.settled())
		})
	}
}
