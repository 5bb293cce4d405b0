package assign

import (
	"cmp"
	"slices"
)

// plan is the state of one run of Assign. Members and processes are known by their index in sorted order.
type plan struct {
	options   Options
	tasks     []Task // sorted
	index     map[TaskID]int
	members   []member
	processes []process
	owner     []int     // by task: the member that runs it, or nobody
	copies    [][]local // by task, sorted by process: who has some of its state
	most      []int64   // by task: the greatest position of its copies
	target    []int     // by task: the process that it is to run on
	active    []int     // by task: the process that it runs on for now
	standbys  [][]int   // by task: the processes that keep a copy
	keep      bool      // members keep what they run, whatever their share
}

const nobody = -1

type member struct {
	id       string
	process  int
	weight   int
	got      []int // tasks
	standbys []int
	warmups  []int
}

type process struct {
	name     string
	weight   int
	members  []int
	tags     []string // values of Options.StandbyTags
	got      int      // tasks that are to run here
	active   int      // tasks with copies that run here for now
	standbys int
}

// local is what a process has of a task's state.
type local struct {
	process  int
	position int64
	lag      int64 // by its own account
	known    bool  // lag is
}

// behind is how many records the process lacks, where another has as much of the state as most.
func (c local) behind(most int64) int64 {
	if c.known {
		return min(most-c.position, c.lag)
	}
	return most - c.position
}

func newPlan(tasks []Task, members []Member, o Options) *plan {
	sorted := slices.Clone(tasks)
	slices.SortFunc(sorted, func(a, b Task) int { return compareTaskIDs(a.ID, b.ID) })
	sorted = slices.CompactFunc(sorted, func(a, b Task) bool { return a.ID == b.ID })
	n := len(sorted)
	p := &plan{
		options: o, tasks: sorted, index: make(map[TaskID]int, n), owner: slices.Repeat([]int{nobody}, n),
		copies: make([][]local, n), most: make([]int64, n), target: make([]int, n), active: make([]int, n),
		standbys: make([][]int, n),
	}
	for i, t := range sorted {
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
		p.processes = append(p.processes, process{name: name, tags: make([]string, len(o.StandbyTags))})
	}
	for i, m := range byID {
		p.addMember(i, m)
	}
	for t, copies := range p.copies {
		slices.SortFunc(copies, func(a, b local) int { return cmp.Compare(a.process, b.process) })
		for _, c := range copies {
			p.most[t] = max(p.most[t], c.position)
		}
	}
	p.disownStale()
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
	for k, tag := range p.options.StandbyTags {
		pr.tags[k] = cmp.Or(pr.tags[k], m.Tags[tag])
	}
	for _, id := range m.Owned {
		if t, ok := p.index[id]; ok && p.owner[t] == nobody {
			p.owner[t] = i
		}
	}
	for _, h := range m.Held {
		t, ok := p.index[h.ID]
		if !ok {
			continue
		}
		c := slices.IndexFunc(p.copies[t], func(c local) bool { return c.process == at })
		if c < 0 {
			p.copies[t] = append(p.copies[t], local{at, h.Position, h.Lag, h.Known})
			continue
		}
		l := &p.copies[t][c]
		l.position = max(l.position, h.Position)
		if h.Known && (!l.known || h.Lag < l.lag) {
			l.lag, l.known = h.Lag, true
		}
	}
}

// disownStale forgets the owners of tasks that restore far behind another process's copy, such as that of a process
// that was away for a moment: the task may run there at once.
func (p *plan) disownStale() {
	for t, m := range p.owner {
		if m == nobody || !p.waits(t) {
			continue
		}
		if c, ok := p.copy(t, p.members[m].process); ok && c.behind(p.most[t]) > p.options.AcceptableLag {
			p.owner[t] = nobody
		}
	}
}

// waits tells whether a task has to wait for a warm-up before it moves.
func (p *plan) waits(t int) bool { return p.options.WarmupsMax > 0 && p.tasks[t].Logged }

// copy is what a process has of a task.
func (p *plan) copy(t, at int) (c local, ok bool) {
	i, ok := slices.BinarySearchFunc(p.copies[t], at, func(c local, at int) int { return cmp.Compare(c.process, at) })
	if !ok {
		return local{}, false
	}
	return p.copies[t][i], true
}

// runsOn is the process that runs a task now, or nobody.
func (p *plan) runsOn(t int) int {
	if m := p.owner[t]; m != nobody {
		return p.members[m].process
	}
	return nobody
}

// deal decides where tasks are to run so that each process ends with its share of total: those and what it has
// already.
func (p *plan) deal(tasks []int, total int) {
	shares := p.processShares(tasks, total)
	placed := make([]bool, len(p.tasks))
	place := func(t, at int) {
		p.target[t], p.active[t], placed[t] = at, at, true
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
}

// processShares returns how many tasks each process may have in the end.
func (p *plan) processShares(tasks []int, total int) []int {
	claims := make([]claim, len(p.processes))
	for at := range p.processes {
		claims[at] = claim{weight: p.processes[at].weight, has: p.processes[at].got, wants: p.processes[at].got}
	}
	for _, t := range tasks {
		if at := p.nearest(t); at != nobody {
			claims[at].wants++
		}
	}
	return apportion(total, claims)
}

// nearest returns the process that a task likes best: where it runs, else the one that lacks the least state.
func (p *plan) nearest(t int) int {
	if at := p.runsOn(t); at != nobody {
		return at
	}
	best := local{process: nobody}
	for _, c := range p.copies[t] {
		if most := p.most[t]; best.process == nobody || cmp.Or(cmp.Compare(c.behind(most), best.behind(most)),
			cmp.Compare(best.position, c.position)) < 0 {
			best = c
		}
	}
	return best.process
}

// candidate is a process that has something of a task.
type candidate struct {
	task, process int
	owned         bool
	behind        int64 // how many records it lacks
	less          int64 // how much less it has than the process with the most
}

// candidates returns who has something of the tasks, nearest first.
func (p *plan) candidates(tasks []int) []candidate {
	var all []candidate
	for _, t := range tasks {
		at := p.runsOn(t)
		if at != nobody {
			all = append(all, candidate{task: t, process: at, owned: true})
		}
		for _, c := range p.copies[t] {
			if most := p.most[t]; c.process != at {
				all = append(all, candidate{t, c.process, false, c.behind(most), most - c.position})
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
		// Equal ones stay in the order of task and process.
		return cmp.Or(cmp.Compare(a.behind, b.behind), cmp.Compare(a.less, b.less))
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

// fillMembers shares the tasks of each process out among its members. Where tasks wait for warm-ups, this is put off
// while others move between processes: a task that is given back for a neighbor is nobody's for a moment, and should
// not look like one that another process may have.
func (p *plan) fillMembers(tasks []int) {
	p.keep = p.options.WarmupsMax > 0 && slices.ContainsFunc(tasks, func(t int) bool {
		at := p.runsOn(t)
		return at != nobody && at != p.active[t]
	})
	given := make([][]int, len(p.processes))
	for _, t := range tasks {
		given[p.active[t]] = append(given[p.active[t]], t)
	}
	for at, tasks := range given {
		p.fillProcess(&p.processes[at], tasks)
	}
}

// fillProcess shares a process's tasks out among its members: each keeps what it runs, up to its share.
func (p *plan) fillProcess(pr *process, tasks []int) {
	claims := make([]claim, len(pr.members))
	at := make(map[int]int, len(pr.members)) // by member
	total := len(tasks)
	for i, m := range pr.members {
		has := len(p.members[m].got)
		at[m], claims[i] = i, claim{weight: p.members[m].weight, has: has, wants: has}
		total += has
	}
	for _, t := range tasks {
		if i, ok := at[p.owner[t]]; ok {
			claims[i].wants++
		}
	}
	shares := apportion(total, claims)
	var rest []int
	for _, t := range tasks {
		m := p.owner[t]
		if i, ok := at[m]; ok && (p.keep || len(p.members[m].got) < shares[i]) {
			p.members[m].got = append(p.members[m].got, t)
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
