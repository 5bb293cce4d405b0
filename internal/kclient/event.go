package kclient

import (
	"sync"

	"thalweg/internal/assign"
)

// EventKind says what happened to a membership.
type EventKind uint8

const (
	// Assigned: these partitions are the worker's from now on, in addition to those it has.
	Assigned EventKind = iota
	// Revoked: these partitions go to somebody else. The group waits until Done is called: commit first.
	Revoked
	// Lost: these partitions are somebody else's already. Nothing of them can be committed. Call Done.
	Lost
	// Trouble: the membership has an error that franz-go goes on retrying: Err.
	Trouble
)

func (k EventKind) String() string { return [...]string{"assigned", "revoked", "lost", "trouble"}[k] }

// Event is one change of a membership. Events come in the order in which they happened and none is ever replaced by
// a later one.
type Event struct {
	Kind       EventKind
	Partitions []TopicPartition // sorted by topic and partition
	Generation int32            // of the group when it happened; not for Trouble
	Lease      Lease            // under which the partitions are held; Assigned only
	Err        error            // Trouble only
	// Assignment says which tasks the member has, and which it keeps copies of. Of Assigned only; nil: the leader did not
	// say, and the tasks are those of the partitions.
	Assignment *assign.Sent
	// Claimed are the partitions, sorted, that the member had claimed with BalancerConfig.Claims: of Assigned only.
	Claimed []TopicPartition
	done    *sync.Once
	release chan struct{}
}

// Done lets the group go on. It may be called for any event, and more than once.
func (e Event) Done() {
	if e.done != nil {
		e.done.Do(func() { close(e.release) })
	}
}
