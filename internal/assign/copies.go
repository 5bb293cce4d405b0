package assign

import (
	"cmp"
	"slices"
)

// holdBack keeps tasks from moving to processes that lack too much of their state, and tells whether there are any.
// Such a task stays where it runs. One that nobody runs goes to one of the processes that lack little.
func (p *plan) holdBack(tasks []int) (some bool) {
	for _, t := range tasks {
		if at := p.target[t]; !p.waits(t) || at == p.runsOn(t) || p.near(t, at) {
			p.processes[at].active++
		}
	}
	for _, t := range tasks {
		at := p.target[t]
		if !p.waits(t) || at == p.runsOn(t) || p.near(t, at) {
			continue
		}
		if p.active[t] = p.runsOn(t); p.active[t] == nobody {
			p.active[t] = p.leastLoadedNear(t)
		}
		p.processes[p.active[t]].active++
		some = true
	}
	return some
}

// behind is how many records a process lacks of a task's state: by its own account, or in comparison with the process
// that has the most.
func (p *plan) behind(t, at int) int64 {
	c, ok := p.copy(t, at)
	if !ok {
		return p.most[t]
	}
	return c.behind(p.most[t])
}

// near tells that a process would have little to restore.
func (p *plan) near(t, at int) bool { return p.behind(t, at) <= p.options.AcceptableLag }

// leastLoadedNear is the process with the most room of those that have nearly all of a task's state. The one with the
// most of it is among them.
func (p *plan) leastLoadedNear(t int) int {
	best := nobody
	for _, c := range p.copies[t] {
		if p.near(t, c.process) && (best == nobody || p.compareLoads(c.process, best) < 0) {
			best = c.process
		}
	}
	return best
}

// compareLoads compares how many tasks and standbys two processes have in relation to their weights.
func (p *plan) compareLoads(a, b int) int {
	x, y := &p.processes[a], &p.processes[b]
	return cmp.Compare((x.active+x.standbys)*y.weight, (y.active+y.standbys)*x.weight)
}

// placeStandbys gives copies of each task to other processes: all tasks get their first one before any gets a second.
func (p *plan) placeStandbys() {
	copies := min(p.options.Standbys, len(p.processes)-1)
	if copies <= 0 {
		return
	}
	var tasks []int
	for t := range p.tasks {
		if p.tasks[t].Logged {
			tasks = append(tasks, t)
		}
	}
	claims := make([]claim, len(p.processes))
	for at := range p.processes {
		claims[at] = claim{weight: p.processes[at].weight}
	}
	shares := apportion(copies*len(tasks), claims)
	for range copies {
		for _, t := range tasks {
			at := p.standbyFor(t, shares)
			p.standbys[t] = append(p.standbys[t], at)
			p.processes[at].standbys++
			m := p.idlest(at)
			m.standbys = append(m.standbys, t)
		}
	}
}

// standbyFor chooses the process for a task's next copy. Being elsewhere counts most, since that is what a copy is for,
// then room, then the state that is there already. Processes that lack little are the same in this, so that it does not
// depend on the moment.
func (p *plan) standbyFor(t int, shares []int) int {
	type choice struct {
		process, together int
		full              bool
		behind            int64
	}
	best := choice{process: nobody}
	for at := range p.processes {
		if at == p.active[t] || slices.Contains(p.standbys[t], at) {
			continue
		}
		c := choice{at, p.together(t, at), p.processes[at].standbys >= shares[at], 0}
		if !p.near(t, at) {
			c.behind = p.behind(t, at)
		}
		order := cmp.Or(cmp.Compare(c.together, best.together), compareTruths(c.full, best.full),
			cmp.Compare(c.behind, best.behind))
		if best.process == nobody || order < 0 || order == 0 && p.compareLoads(at, best.process) < 0 {
			best = c
		}
	}
	return best.process
}

func compareTruths(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// together counts the tags that a process has in common with those that have a task already.
func (p *plan) together(t, at int) (n int) {
	for k, value := range p.processes[at].tags {
		if p.processes[p.active[t]].tags[k] == value || slices.ContainsFunc(p.standbys[t], func(other int) bool {
			return p.processes[other].tags[k] == value
		}) {
			n++
		}
	}
	return n
}

// placeWarmups has copies made where tasks are to move to. Those that exist already come first, and of these the
// nearest. A process that keeps a copy as a standby needs no other.
func (p *plan) placeWarmups() {
	type move struct {
		task   int
		begun  bool
		behind int64
	}
	var moves []move
	for t := range p.tasks {
		if at := p.target[t]; p.active[t] != at && !slices.Contains(p.standbys[t], at) {
			_, begun := p.copy(t, at)
			moves = append(moves, move{t, begun, p.behind(t, at)})
		}
	}
	slices.SortStableFunc(moves, func(a, b move) int {
		return cmp.Or(compareTruths(!a.begun, !b.begun), cmp.Compare(a.behind, b.behind))
	})
	for _, mv := range moves[:min(len(moves), p.options.WarmupsMax)] {
		m := p.idlest(p.target[mv.task])
		m.warmups = append(m.warmups, mv.task)
	}
}

// idlest is the member of a process that has the least to do.
func (p *plan) idlest(at int) *member {
	members := p.processes[at].members
	best := &p.members[members[0]]
	for _, i := range members[1:] {
		m := &p.members[i]
		if m.tasks()*best.weight < best.tasks()*m.weight {
			best = m
		}
	}
	return best
}

func (m *member) tasks() int { return len(m.got) + len(m.standbys) + len(m.warmups) }
