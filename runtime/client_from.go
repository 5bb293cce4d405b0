package runtime

import (
	"fmt"
	"slices"
	"time"
)

// From says where [Client.Read] begins, and whether it goes on. It is a value: the methods return changed copies.
type From struct {
	start      fromStart
	at         int64 // an offset, or milliseconds since 1970
	follow     bool
	group      string
	partitions []int32 // empty: all
	committer  *Committer
	inGroup    bool // Group was called
	byProgram  bool // CommitBy was called
}

type fromStart uint8

const (
	fromEarliest fromStart = iota
	fromLatest
	fromOffset
	fromTime
)

// Earliest begins with the oldest record that each partition holds.
func Earliest() From { return From{start: fromEarliest} }

// Latest begins with the next record to be written. Without Follow there is nothing to read.
func Latest() From { return From{start: fromLatest} }

// FromOffset begins at an offset, in each of the partitions that are read: [From.Partitions] says which these are.
func FromOffset(offset int64) From { return From{start: fromOffset, at: offset} }

// FromTime begins with the first record of each partition whose timestamp is not before t, to the millisecond.
func FromTime(t time.Time) From { return From{start: fromTime, at: t.UnixMilli()} }

// Follow goes on after the present end, and waits for more, until the context ends or the loop is left.
func (f From) Follow() From { f.follow = true; return f }

// Partitions reads some of the topic's partitions, and no others.
func (f From) Partitions(partitions ...int32) From {
	f.partitions = slices.Clone(partitions)
	return f
}

// Group reads as a member of a consumer group, which spreads the topic's partitions over its members, in all processes,
// and goes on where it has committed. The place that From says is for partitions without a committed offset.
//
// A record is committed once the loop has asked for the one after it, within a second or when reading ends. The record
// at which the loop is left is not: the group reads it again. So each record is read at least once. While a body runs
// for more than a minute the group may give its partition away. Without Follow reading ends when the group has
// committed up to the present end of all partitions.
func (f From) Group(name string) From { f.group, f.inGroup = name, true; return f }

// CommitBy leaves it to the program when a group commits, for programs that process several records at once: see
// [Committer]. Without Follow reading ends then where the partitions of this member do, whether they are committed or
// not.
func (f From) CommitBy(c *Committer) From { f.committer, f.byProgram = c, true; return f }

func (f From) check() error {
	switch {
	case f.inGroup && f.group == "":
		return fmt.Errorf("the name of the group is empty: name one, or leave out Group")
	case f.byProgram && f.committer == nil:
		return fmt.Errorf("the Committer is nil: pass a new(runtime.Committer), or leave out CommitBy")
	case f.committer != nil && f.group == "":
		return fmt.Errorf("there is nothing to commit without a group: leave out CommitBy, or name a Group")
	case f.committer != nil && f.committer.of != nil:
		return fmt.Errorf("another loop reads with the same Committer: make one for each")
	case f.start == fromOffset && f.at < 0:
		return fmt.Errorf("offset %d: the first is 0", f.at)
	case f.start == fromTime && f.at < 0:
		return fmt.Errorf("time %v: it must not be before 1970", time.UnixMilli(f.at))
	case f.group != "" && len(f.partitions) > 0:
		return fmt.Errorf("a group gives out the partitions: leave out Group or Partitions")
	}
	return nil
}
