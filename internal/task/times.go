package task

import (
	"maps"
	"math"
	"slices"
	"strings"

	"thalweg/topology"
)

// Time is how far a node's time is, by the name of its mark, which begins with the name of the node's store; see
// [topology.Env]. topology.Unknown takes an earlier one back.
type Time struct {
	Name string
	At   int64
}

// times are how far the marks of a task's nodes are, and where that is kept.
type times struct {
	committed map[string]int64 // at the last commit
	stored    map[string]int64 // in the progress topic, or unsure
	commits   int64            // number of the last commit
	// apart tells that those of the last commit are in the progress topic. An earlier build has committed them beside the
	// offsets.
	apart   bool
	foreign bool   // somebody else has committed an input
	handed  []Time // to the driver, for the commit under way
	taken   bool   // handed is
}

// unsure is what is stored for a time of a commit that failed.
const unsure int64 = math.MinInt64

// closedBytesMax is how much of an offset's metadata may be times up to which windows are closed, so that all of it
// stays within Kafka's default limit of 4096 characters. The progress topic has them all.
const closedBytesMax = 2900

// seek takes the marks that were committed with an input's offset. They may be of an older commit than another
// input's; and where Kafka Streams has committed one of the inputs, those of all are old.
func (t *times) seek(marks map[string]int64, o Offset) {
	n := marks[commitNumber]
	t.foreign = t.foreign || o.Metadata != "" && len(marks) > 0 && !ours(marks, o.Next)
	switch {
	case t.foreign:
		t.apart = false
		maps.DeleteFunc(t.committed, func(name string, _ int64) bool { return !isClosed(name) })
		for name, at := range marks {
			if old, ok := t.committed[name]; isClosed(name) && (!ok || at > old) {
				t.committed[name] = at
			}
		}
		t.commits = max(t.commits, n)
	case n > t.commits:
		t.commits, t.committed, t.apart = n, marks, marks[timesApart] == n
		delete(marks, commitNumber)
		for _, name := range []string{nextOffset, timesApart, alignedMark, openMark} {
			delete(marks, name)
		}
	}
}

// startTimes takes what the progress topic has, by name. It counts where a task has committed the inputs last, and
// otherwise gives way with the next commit.
func (t *Task) startTimes(stored map[string]int64) {
	for name, at := range stored {
		if store, _, _ := strings.Cut(name, "/"); t.Stores.log(store) == nil {
			continue // another task's
		}
		t.times.stored[name] = at
		if t.times.apart {
			t.times.committed[name] = at
		}
	}
}

// LostTimes tells that the task has committed times which are nowhere: the progress topic was deleted. Its operators
// begin without.
func (t *Task) LostTimes() bool { return t.times.apart && len(t.times.stored) == 0 }

// marksMoved tells whether a node's mark is another than at the last commit.
func (t *Task) marksMoved() bool {
	for name, at := range t.env.Marks {
		if differs(t.times.committed, name, *at) {
			return true
		}
	}
	return false
}

// takeTimes are those to be kept with the offsets: what differs from the progress topic. There are none where nothing
// is committed of the task, since nothing would show whose they are.
func (t *Task) takeTimes() []Time {
	if !t.commitsOffsets() {
		return nil
	}
	s := &t.times
	s.handed, s.taken = s.handed[:0], true
	for name, at := range t.env.Marks {
		if differs(s.stored, name, *at) {
			s.handed = append(s.handed, Time{name, *at})
		}
	}
	for name := range s.stored {
		if t.env.Marks[name] == nil {
			s.handed = append(s.handed, Time{name, topology.Unknown})
		}
	}
	slices.SortFunc(s.handed, func(a, b Time) int { return strings.Compare(a.Name, b.Name) })
	return s.handed
}

// differs tells whether a mark is another one than is kept. What is not kept is unknown.
func differs(kept map[string]int64, name string, at int64) bool {
	if old, ok := kept[name]; ok {
		return at != old
	}
	return at != topology.Unknown
}

// committedTimes tells that a commit succeeded.
func (t *Task) committedTimes() {
	s := &t.times
	for name, at := range t.sealed.marks {
		if s.committed[name] = at; at == topology.Unknown {
			delete(s.committed, name)
		}
	}
	s.commits++
	if !s.taken {
		return
	}
	for _, h := range s.handed {
		if s.stored[h.Name] = h.At; h.At == topology.Unknown {
			delete(s.stored, h.Name)
		}
	}
	s.taken, s.apart = false, true
}

// discard tells that a commit failed: its times may be in the topic or not.
func (t *times) discard() {
	if !t.taken {
		return
	}
	for _, h := range t.handed {
		t.stored[h.Name] = unsure
	}
	t.taken = false
}

// besideOffsets are the marks that go into the metadata of the next commit's offsets; nil: there are none.
func (t *Task) besideOffsets() map[string]int64 {
	known, closed := false, map[string]int64{}
	for name, at := range t.env.Marks {
		if *at == topology.Unknown {
			continue
		}
		if known = true; isClosed(name) {
			closed[name] = *at
		}
	}
	var marks map[string]int64
	if known {
		marks = apartMarks(closed, t.times.commits+1)
	}
	return t.Aligning.beside(marks, t.Aligning.now(), t.times.commits+1)
}

// fence are the marks of the last commit, in the form in which it has committed them.
func (t *times) fence() map[string]int64 {
	switch {
	case len(t.committed) == 0:
		return nil
	case !t.apart:
		marks := maps.Clone(t.committed)
		marks[commitNumber] = t.commits
		return marks
	}
	closed := maps.Clone(t.committed)
	maps.DeleteFunc(closed, func(name string, _ int64) bool { return !isClosed(name) })
	return apartMarks(closed, t.commits)
}

// apartMarks says that the times of a commit are in the progress topic. Those up to which windows are closed stay
// beside the offset, too, as many as have room, because Kafka Streams looks for them there.
func apartMarks(closed map[string]int64, commit int64) map[string]int64 {
	marks := map[string]int64{commitNumber: commit, timesApart: commit}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(closed)) {
		if size += markBytes + len(name); size > closedBytesMax {
			break
		}
		marks[name] = closed[name]
	}
	return marks
}
