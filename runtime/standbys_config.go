package runtime

import (
	"slices"

	"thalweg/internal/assign"
	"thalweg/state"
)

const (
	tagsMax     = 32
	tagBytesMax = 128
	copiesMax   = 100
)

// checkStandbys checks what says where copies of state are.
func (c *Config) checkStandbys(check func(ok bool, format string, args ...any)) {
	s := c.Standbys
	check(s.Count >= 0 && s.Count <= copiesMax, "Standbys.Count is %d, must be from 0 to %d", s.Count, copiesMax)
	check(s.AcceptableLag > 0, "Standbys.AcceptableLag is %d records, must be positive, or 0 for its default",
		s.AcceptableLag)
	positive(check, "Standbys.ProbeInterval", s.ProbeInterval)
	check(s.ProbeInterval <= requestTimeMost, "Standbys.ProbeInterval is %v, must be at most %v", s.ProbeInterval,
		requestTimeMost)
	check(len(s.Tags) <= tagsMax, "Standbys.Tags has %d entries, must have at most %d", len(s.Tags), tagsMax)
	for _, key := range sortedKeys(s.Tags) {
		check(key != "" && s.Tags[key] != "", "Standbys.Tags has %q: %q: both sides must say something", key,
			s.Tags[key])
		check(len(key) <= tagBytesMax && len(s.Tags[key]) <= tagBytesMax, "Standbys.Tags has the key %.20q with %d bytes "+
			"and a value of %d: %d is the most for each", key, len(key), len(s.Tags[key]), tagBytesMax)
	}
	for i, key := range s.SpreadTags {
		check(s.Tags[key] != "", "Standbys.SpreadTags has %q, which is no key of Standbys.Tags: say there where this "+
			"process is", key)
		check(!slices.Contains(s.SpreadTags[:i], key), "Standbys.SpreadTags has %q twice", key)
	}
}

// copies say which copies of state the group is to have.
func (c *Config) copies() assign.Options {
	return assign.Options{
		Standbys: c.Standbys.Count, StandbyTags: c.Standbys.SpreadTags, AcceptableLag: c.Standbys.AcceptableLag,
		WarmupsMax: max(c.Standbys.WarmupsMax, 0),
	}
}

// copied tells whether a topic fills the store, and a process can keep a copy of it. The rows of a store in memory are
// those of the task that has them.
func (f filling) copied() bool { return f.topic != "" && !f.spec.InMemory && f.from != state.FromOther }

// hasCopies tells whether a sub-topology has a store of which a process can keep a copy.
func hasCopies(all []filling, subtopology int) bool {
	return slices.ContainsFunc(all, func(f filling) bool { return f.sub == subtopology && f.copied() })
}
