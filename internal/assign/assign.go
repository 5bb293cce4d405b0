// Package assign decides which member of a group runs which task. It is a pure function: members, tasks and what
// each member holds go in, an assignment comes out; the same input gives the same output on whichever member leads.
//
// In order of weight:
//
//  1. every task has exactly one member;
//  2. processes get tasks by their capacity, and members within a process likewise: with equal capacities the numbers
//     of two members differ by one at most, for stateful tasks and for all tasks;
//  3. a task stays where it runs, else goes to the process that has the most of its state on disk, else to where there
//     is the most room. What moves is only what balance forces to move.
//
// The algorithm deals out shares, then fills them. For processes, then for the members of each, apportion turns
// capacities into numbers of tasks, with the left-over ones going to those that hold more than their share already.
// Then holders get their tasks, nearest first, up to their share, and the rest fills up the gaps. Stateful tasks go
// first; stateless ones then fill the members up to their share of all tasks.
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
}

// Held says how much of a task's state a process has on disk.
type Held struct {
	ID TaskID
	// Position is the sum of the changelog offsets that the state on disk reaches to, over the task's stores. The
	// difference between two processes' positions is how much further one would have to restore.
	Position int64
}

// Member is a worker that takes part in the group.
type Member struct {
	ID      string // unique
	Process string // members of a process share its disk
	Weight  int    // capacity in relation to other members; 0 counts as 1
	Owned   []TaskID
	Held    []Held // of the process; each of its members may report it, or one
}

// Assignment is what one member gets, each list sorted.
type Assignment struct {
	Member string
	Active []TaskID
	// Standby is for replicas of state; nothing fills it yet.
	Standby []TaskID
}

// Assign gives every task to a member. The result is sorted by member. Without members it is empty. Owned and held
// tasks that are not among tasks are ignored; of several members that claim to own a task the first by ID is
// believed.
func Assign(tasks []Task, members []Member) []Assignment {
	if len(members) == 0 {
		return nil
	}
	p := newPlan(tasks, members)
	stateful, stateless := p.split()
	p.deal(stateful, len(stateful))
	p.deal(stateless, len(stateful)+len(stateless))
	return p.result()
}

// plan is the state of one run of Assign. Members and processes are known by their index in sorted order.
type plan struct {
	tasks     []TaskID // sorted
	stateful  []bool
	index     map[TaskID]int
	members   []member
	processes []process
	owner     []int // by task: the member that runs it, or -1
}

type member struct {
	id      string
	process int
	weight  int
	got     []int // tasks
}

type process struct {
	name    string
	weight  int
	members []int
	held    map[int]int64 // task → position
	got     int
}

func newPlan(tasks []Task, members []Member) *plan {
	p := &plan{index: make(map[TaskID]int, len(tasks))}
	sorted := slices.Clone(tasks)
	slices.SortFunc(sorted, func(a, b Task) int { return compareTaskIDs(a.ID, b.ID) })
	sorted = slices.CompactFunc(sorted, func(a, b Task) bool { return a.ID == b.ID })
	for i, t := range sorted {
		p.tasks = append(p.tasks, t.ID)
		p.stateful = append(p.stateful, t.Stateful)
		p.owner = append(p.owner, -1)
		p.index[t.ID] = i
	}
	byID := slices.Clone(members)
	slices.SortFunc(byID, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	names := make([]string, 0, len(byID))
	for _, m := range byID {
		names = append(names, m.Process)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		p.processes = append(p.processes, process{name: name, held: make(map[int]int64)})
	}
	for i, m := range byID {
		p.addMember(i, m)
	}
	return p
}

func (p *plan) addMember(i int, m Member) {
	at, _ := slices.BinarySearchFunc(p.processes, m.Process, func(pr process, name string) int {
		return cmp.Compare(pr.name, name)
	})
	pr := &p.processes[at]
	weight := max(m.Weight, 1)
	p.members = append(p.members, member{id: m.ID, process: at, weight: weight})
	pr.members = append(pr.members, i)
	pr.weight += weight
	for _, id := range m.Owned {
		if t, ok := p.index[id]; ok && p.owner[t] < 0 {
			p.owner[t] = i
		}
	}
	for _, h := range m.Held {
		if t, ok := p.index[h.ID]; ok {
			pr.held[t] = max(pr.held[t], h.Position)
		}
	}
}

func (p *plan) split() (stateful, stateless []int) {
	for t := range p.tasks {
		if p.stateful[t] {
			stateful = append(stateful, t)
		} else {
			stateless = append(stateless, t)
		}
	}
	return stateful, stateless
}

// deal assigns tasks so that each process, and each member in it, ends with its share of total: those and what it
// has already.
func (p *plan) deal(tasks []int, total int) {
	shares := p.processShares(tasks, total)
	given := p.fillProcesses(tasks, shares)
	for at, tasks := range given {
		p.fillMembers(&p.processes[at], tasks)
	}
}

// processShares returns how many tasks each process may have in the end.
func (p *plan) processShares(tasks []int, total int) []int {
	claims := make([]claim, len(p.processes))
	for at := range p.processes {
		claims[at] = claim{weight: p.processes[at].weight, has: p.processes[at].got, wants: p.processes[at].got}
	}
	for _, t := range tasks {
		if at, ok := p.nearest(t); ok {
			claims[at].wants++
		}
	}
	return apportion(total, claims)
}

// nearest returns the process that a task likes best: where it runs, else the one with the most state.
func (p *plan) nearest(t int) (at int, ok bool) {
	if m := p.owner[t]; m >= 0 {
		return p.members[m].process, true
	}
	best, position := -1, int64(-1)
	for at := range p.processes {
		if has, ok := p.processes[at].held[t]; ok && has > position {
			best, position = at, has
		}
	}
	return best, best >= 0
}

// candidate is a process that has something of a task.
type candidate struct {
	task, process int
	owned         bool
	behind        int64 // how much less state it has than the one with the most
}

// fillProcesses gives tasks to processes: to the nearest while it has room, else to the one with the most room.
func (p *plan) fillProcesses(tasks []int, shares []int) [][]int {
	given := make([][]int, len(p.processes))
	placed := make(map[int]bool, len(tasks))
	place := func(t, at int) {
		given[at] = append(given[at], t)
		placed[t] = true
		p.processes[at].got++
	}
	for _, c := range p.candidates(tasks) {
		if !placed[c.task] && p.processes[c.process].got < shares[c.process] {
			place(c.task, c.process)
		}
	}
	for _, t := range tasks {
		if !placed[t] {
			place(t, p.roomiest(shares))
		}
	}
	return given
}

// candidates returns who has something of the tasks, nearest first.
func (p *plan) candidates(tasks []int) []candidate {
	var all []candidate
	for _, t := range tasks {
		most := int64(0)
		for at := range p.processes {
			most = max(most, p.processes[at].held[t])
		}
		for at := range p.processes {
			position, held := p.processes[at].held[t]
			owned := p.owner[t] >= 0 && p.members[p.owner[t]].process == at
			if owned || held {
				all = append(all, candidate{t, at, owned, most - position})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		if a.owned != b.owned {
			if a.owned {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.behind, b.behind) // equal ones stay in the order of task and process
	})
	return all
}

// roomiest returns the process that is furthest below its share, in relation to its weight. The shares add up to
// all tasks, so there is room.
func (p *plan) roomiest(shares []int) int {
	best := 0
	for at := range p.processes {
		room, bestRoom := shares[at]-p.processes[at].got, shares[best]-p.processes[best].got
		if room*p.processes[best].weight > bestRoom*p.processes[at].weight {
			best = at
		}
	}
	return best
}

// fillMembers shares a process's tasks out among its members: each keeps what it runs, up to its share.
func (p *plan) fillMembers(pr *process, tasks []int) {
	claims := make([]claim, len(pr.members))
	total := len(tasks)
	for i, m := range pr.members {
		total += len(p.members[m].got)
		claims[i] = claim{weight: p.members[m].weight, has: len(p.members[m].got), wants: len(p.members[m].got)}
		for _, t := range tasks {
			if p.owner[t] == m {
				claims[i].wants++
			}
		}
	}
	shares := apportion(total, claims)
	var rest []int
	for _, t := range tasks {
		i := slices.Index(pr.members, p.owner[t])
		if i >= 0 && len(p.members[p.owner[t]].got) < shares[i] {
			p.members[p.owner[t]].got = append(p.members[p.owner[t]].got, t)
		} else {
			rest = append(rest, t)
		}
	}
	for _, t := range rest {
		best := 0
		for i, m := range pr.members {
			if shares[i]-len(p.members[m].got) > shares[best]-len(p.members[pr.members[best]].got) {
				best = i
			}
		}
		m := &p.members[pr.members[best]]
		m.got = append(m.got, t)
	}
}

func (p *plan) result() []Assignment {
	out := make([]Assignment, len(p.members))
	for i := range p.members {
		out[i].Member = p.members[i].id
		slices.Sort(p.members[i].got)
		for _, t := range p.members[i].got {
			out[i].Active = append(out[i].Active, p.tasks[t])
		}
	}
	return out
}
