package origin

import (
	"fmt"
	"strings"

	"thalweg/internal/progress"
	"thalweg/state"
)

// An input that fills a store belongs to somebody else. Where its policy has delete, its owner has decided that records
// expire, and a restore goes on without them. Where it is compacted only, no record that counts may go.

// Expired is up to where the owner of an input lets records expire: without an end while its cleanup.policy has delete.
// Where that has changed, it is where the input begins when the change is seen. An empty policy is not known.
func Expired(was int64, policy string, first int64) int64 {
	switch {
	case policy == "":
		return was
	case deletes(policy):
		return progress.Endless
	case was == progress.Endless:
		return first
	}
	return was
}

// Expiry says why an input that begins at first may lack records; empty: it must not. It is for [Local].
func Expiry(expired int64, policy string, first int64) string {
	switch {
	case policy == "":
		return "its cleanup.policy is not known: allow the application to describe the topic"
	case deletes(policy):
		return "cleanup.policy=" + policy
	case first <= expired:
		return "its cleanup.policy had delete before"
	}
	return ""
}

func deletes(policy string) bool { return strings.Contains(policy, "delete") }

// reused tells that an input fills the store.
func (l Local) reused() bool { return l.Now.Filling == state.FromInput }

// gone says what a restore from an input lacks that the store had.
func (l Local) gone() string {
	why := ""
	if l.Expires != "" {
		why = " (" + l.Expires + ")"
	}
	return fmt.Sprintf("Store %s was filled from offset %d of %s on, which begins at %d now: %d offsets are gone%s. The "+
		"restored table does not have keys without a later record", l.Store, l.Accepted, l.topic(), l.First,
		l.First-l.Accepted, why)
}

// Shortened is what becomes of a store whose topic lost records while the store was restored: they are below l.First,
// and the store is at l.Saved.Offset.
func Shortened(l Local) Verdict {
	if l.cut() && l.Expires == "" {
		return l.cutAbove()
	}
	v := verdict(Wipe, "%s was cut while store %s was restored from it, at offset %d: it begins at %d", l.topic(), l.Store,
		l.Saved.Offset, l.First)
	return l.lacking(v)
}

// lacking adds to the verdict on a store that is restored from an input what it will lack.
func (l Local) lacking(v Verdict) Verdict {
	if v.Action == Wipe && l.reused() && l.cut() {
		v.Text += ". " + l.gone()
	}
	return v
}
