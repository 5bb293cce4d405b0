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
	env       *topology.Env    // has the marks
	sealed    map[string]int64 // of the commit under way; otherwise empty
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

func newTimes(env *topology.Env) times {
	return times{env: env, sealed: map[string]int64{}, committed: map[string]int64{}, stored: map[string]int64{}}
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

// start takes what the progress topic has, by name. It counts where a task has committed the inputs last, and otherwise
// gives way with the next commit. Those of stores that the task does not have are another's.
func (t *times) start(stored map[string]int64, hasStore func(name string) bool) {
	for name, at := range stored {
		if store, _, _ := strings.Cut(name, "/"); !hasStore(store) {
			continue
		}
		t.stored[name] = at
		if t.apart {
			t.committed[name] = at
		}
	}
}

// lost tells that times were committed which are nowhere: the progress topic was deleted.
func (t *times) lost() bool { return t.apart && len(t.stored) == 0 }

// moved tells whether a node's mark is another than at the last commit.
func (t *times) moved() bool {
	for name, at := range t.env.Marks {
		if differs(t.committed, name, *at) {
			return true
		}
	}
	return false
}

// take returns what differs from the progress topic, for the next commit.
func (t *times) take() []Time {
	t.handed, t.taken = t.handed[:0], true
	for name, at := range t.env.Marks {
		if differs(t.stored, name, *at) {
			t.handed = append(t.handed, Time{name, *at})
		}
	}
	for name := range t.stored {
		if t.env.Marks[name] == nil {
			t.handed = append(t.handed, Time{name, topology.Unknown})
		}
	}
	slices.SortFunc(t.handed, func(a, b Time) int { return strings.Compare(a.Name, b.Name) })
	return t.handed
}

// differs tells whether a mark is another one than is kept. What is not kept is unknown.
func differs(kept map[string]int64, name string, at int64) bool {
	if old, ok := kept[name]; ok {
		return at != old
	}
	return at != topology.Unknown
}

// marks are those that a graph begins with.
func (t *times) marks() map[string]*int64 {
	marks := make(map[string]*int64, len(t.committed))
	for name, at := range t.committed {
		marks[name] = &at
	}
	return marks
}

// seal fixes the marks of the next commit.
func (t *times) seal() {
	for name, at := range t.env.Marks {
		t.sealed[name] = *at
	}
}

// advance tells that a commit succeeded.
func (t *times) advance() {
	for name, at := range t.sealed {
		if t.committed[name] = at; at == topology.Unknown {
			delete(t.committed, name)
		}
	}
	clear(t.sealed)
	t.commits++
	if !t.taken {
		return
	}
	for _, h := range t.handed {
		if t.stored[h.Name] = h.At; h.At == topology.Unknown {
			delete(t.stored, h.Name)
		}
	}
	t.taken, t.apart = false, true
}

// discard tells that a commit failed: its times may be in the topic or not.
func (t *times) discard() {
	clear(t.sealed)
	if !t.taken {
		return
	}
	for _, h := range t.handed {
		t.stored[h.Name] = unsure
	}
	t.taken = false
}

// beside are the marks that go into the metadata of the next commit's offsets; nil: there are none.
func (t *times) beside() map[string]int64 {
	known, closed := false, map[string]int64{}
	for name, at := range t.env.Marks {
		if *at == topology.Unknown {
			continue
		}
		if known = true; isClosed(name) {
			closed[name] = *at
		}
	}
	if !known {
		return nil
	}
	return apartMarks(closed, t.commits+1)
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
