// Package assign decides which member of a group runs which task. It is a pure function: members, tasks and what
// each member holds go in, an assignment comes out; the same input gives the same output on whichever member leads.
//
// In order of weight:
//
//  1. every task has exactly one member;
//  2. a task whose state can be copied moves only to a process whose copy is near enough (AcceptableLag). Until then it
//     stays, and the process that it is to move to gets it as a warm-up;
//  3. processes get tasks by their capacity, and members within a process likewise: with equal capacities the numbers
//     of two members differ by one at most, for stateful tasks and for all tasks, once no task waits for a warm-up;
//  4. a task stays where it runs, else goes to the process that has the most of its state on disk, else to where there
//     is the most room. What moves is only what balance forces to move.
//
// The algorithm deals out shares, then fills them. For processes, then for the members of each, apportion turns
// capacities into numbers of tasks, with the left-over ones going to those that hold more than their share already.
// Then holders get their tasks, nearest first, up to their share, and the rest fills up the gaps. Stateful tasks go
// first; stateless ones then fill the members up to their share of all tasks. That is where tasks are to run (their
// target). A task whose target lacks too much of its state runs elsewhere for now. Standbys and warm-ups come last.
package assign

import (
	"cmp"
	"fmt"
	"slices"
)

// TaskID names a task: a sub-topology and a partition.
type TaskID struct {
	Subtopology, Partition int32
}

func (id TaskID) String() string { return fmt.Sprintf("%d_%d", id.Subtopology, id.Partition) }

func compareTaskIDs(a, b TaskID) int {
	return cmp.Or(cmp.Compare(a.Subtopology, b.Subtopology), cmp.Compare(a.Partition, b.Partition))
}

// Task is something to assign.
type Task struct {
	ID       TaskID
	Stateful bool
	// Logged tells that a topic has the task's state, so that other processes can keep copies of it.
	Logged bool
}

// Held says how much of a task's state a process has on disk.
type Held struct {
	ID TaskID
	// Position is the sum of the changelog offsets that the state on disk reaches to, over the task's stores. The
	// difference between two processes' positions is how much further one would have to restore. The process that runs
	// the task, or restores it, tells how far it is now, or nothing.
	Position int64
	// Lag is how many records the process itself knows to lack: 0 where it runs the task. Processes report at different
	// times, so that a position is behind by what a busy task has written in between. The smaller figure counts.
	Lag int64
	// Known tells that the process knows Lag: it runs or follows the task.
	Known bool
}

// Member is a worker that takes part in the group, or a process with several.
type Member struct {
	ID      string // unique
	Process string // members of a process share its disk
	Weight  int    // capacity in relation to other members; 0 counts as 1
	Tags    map[string]string
	Owned   []TaskID
	Held    []Held // of the process; each of its members may report it, or one
}

// Options say which copies of state there are beside the tasks that run. Without any, a task moves at once.
type Options struct {
	// Standbys is how many other processes keep a copy of each task's state.
	Standbys int
	// StandbyTags are the keys of tags that tell where a process is: copies of a task go to processes with other values,
	// as far as there are any.
	StandbyTags []string
	// AcceptableLag is how many records a process may have to restore before a task may move to it. There is no request to
	// the topics for this: a process that follows a task says what it lacks. For others the end of the task's changelogs
	// is taken to be the greatest position that any process reports, which is that of the process that runs it.
	AcceptableLag int64
	// WarmupsMax bounds the copies that are made so that a task can move, at the same time and in the whole group. 0: a
	// task moves at once, and its new process restores what it lacks.
	WarmupsMax int
}

// Assignment is what one member gets, each list sorted.
type Assignment struct {
	Member string
	Active []TaskID
	// Standby are tasks of other processes that the member keeps a copy of.
	Standby []TaskID
	// Warmup are tasks of other processes that are to move to the member when its copy is near enough.
	Warmup []TaskID
}

// Result is what all members get.
type Result struct {
	Members []Assignment // sorted by member
	// Probe tells that tasks wait for a warm-up: the group has to be balanced again after a while.
	Probe bool
}

// Assign gives every task to a member. Without members nobody gets anything. Owned and held tasks that are not among
// tasks are ignored; of several members that claim to own a task the first by ID is believed.
func Assign(tasks []Task, members []Member, o Options) Result {
	if len(members) == 0 {
		return Result{}
	}
	p := newPlan(tasks, members, o)
	stateful, stateless := p.split()
	p.deal(stateful, len(stateful))
	probe := p.holdBack(stateful)
	p.deal(stateless, len(stateful)+len(stateless))
	p.fillMembers(stateful)
	p.fillMembers(stateless)
	p.placeStandbys()
	p.placeWarmups()
	return Result{p.assignments(), probe}
}

func (p *plan) split() (stateful, stateless []int) {
	for t := range p.tasks {
		if p.tasks[t].Stateful {
			stateful = append(stateful, t)
		} else {
			stateless = append(stateless, t)
		}
	}
	return stateful, stateless
}

func (p *plan) assignments() []Assignment {
	out := make([]Assignment, len(p.members))
	ids := func(tasks []int) (ids []TaskID) {
		slices.Sort(tasks)
		for _, t := range tasks {
			ids = append(ids, p.tasks[t].ID)
		}
		return ids
	}
	for i, m := range p.members {
		out[i] = Assignment{m.id, ids(m.got), ids(m.standbys), ids(m.warmups)}
	}
	return out
}
