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
	check(c.Standbys >= 0 && c.Standbys <= copiesMax, "Standbys is %d, must be from 0 to %d", c.Standbys, copiesMax)
	check(c.AcceptableLag > 0, "AcceptableLag is %d records, must be positive, or 0 for its default", c.AcceptableLag)
	positive(check, "ProbeInterval", c.ProbeInterval)
	check(c.ProbeInterval <= requestTimeMost, "ProbeInterval is %v, must be at most %v", c.ProbeInterval, requestTimeMost)
	check(len(c.Tags) <= tagsMax, "Tags has %d entries, must have at most %d", len(c.Tags), tagsMax)
	for _, key := range sortedKeys(c.Tags) {
		check(key != "" && c.Tags[key] != "", "Tags has %q: %q: both sides must say something", key, c.Tags[key])
		check(len(key) <= tagBytesMax && len(c.Tags[key]) <= tagBytesMax, "Tags has the key %.20q with %d bytes and a value "+
			"of %d: %d is the most for each", key, len(key), len(c.Tags[key]), tagBytesMax)
	}
	for i, key := range c.StandbyTags {
		check(c.Tags[key] != "", "StandbyTags has %q, which is no key of Tags: say in Tags where this process is", key)
		check(!slices.Contains(c.StandbyTags[:i], key), "StandbyTags has %q twice", key)
	}
}

// copies say which copies of state the group is to have.
func (c *Config) copies() assign.Options {
	return assign.Options{
		Standbys: c.Standbys, StandbyTags: c.StandbyTags, AcceptableLag: c.AcceptableLag, WarmupsMax: max(c.WarmupsMax, 0),
	}
}

// copied tells whether a topic fills the store, and a process can keep a copy of it. The rows of a store in memory are
// those of the task that has them.
func (f filling) copied() bool { return f.topic != "" && !f.spec.InMemory && f.from != state.FromOther }

// hasCopies tells whether a sub-topology has a store of which a process can keep a copy.
func hasCopies(all []filling, subtopology int) bool {
	return slices.ContainsFunc(all, func(f filling) bool { return f.sub == subtopology && f.copied() })
}
