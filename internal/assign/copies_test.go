package assign

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// cluster is a group whose processes keep state: it follows what an assignment makes them do until the next one. What
// moves is given back in one round and assigned in the next, as a cooperative group does it.
type cluster struct {
	t       *testing.T
	rng     *rand.Rand
	name    string
	options Options
	tasks   []Task
	members []Member
	end     map[TaskID]int64            // of the changelogs
	busy    int64                       // how far tasks get between two reports
	disk    map[string]map[TaskID]int64 // by process
	last    Result
	next    int
}

const testLag = 100

func newCluster(t *testing.T, seed uint64, tasks int, o Options) *cluster {
	c := &cluster{
		t: t, rng: rand.New(rand.NewPCG(seed, 3)), name: fmt.Sprintf("seed %d", seed), options: o,
		end: map[TaskID]int64{}, disk: map[string]map[TaskID]int64{},
	}
	for i := range tasks {
		task := Task{ID: TaskID{int32(i % 3), int32(i / 3)}, Stateful: i%3 != 0, Logged: i%3 != 0}
		c.tasks = append(c.tasks, task)
		if task.Logged {
			c.end[task.ID] = c.rng.Int64N(100 * testLag)
		}
	}
	return c
}

func (c *cluster) join(process string, weight int, tags map[string]string) {
	c.next++
	c.members = append(c.members, Member{ID: fmt.Sprintf("m%03d", c.next), Process: process, Weight: weight, Tags: tags})
	if c.disk[process] == nil {
		c.disk[process] = map[TaskID]int64{}
	}
}

// work lets the members do what they were told: tasks that run write, and copies get near the end or only nearer.
func (c *cluster) work(catchUp bool) {
	for _, a := range c.last.Members {
		i := slices.IndexFunc(c.members, func(m Member) bool { return m.ID == a.Member })
		if i < 0 {
			continue
		}
		disk := c.disk[c.members[i].Process]
		for _, id := range a.Active {
			if _, ok := c.end[id]; ok {
				c.end[id] += c.rng.Int64N(testLag / 2)
				disk[id] = c.end[id]
			}
		}
	}
	for _, a := range c.last.Members {
		i := slices.IndexFunc(c.members, func(m Member) bool { return m.ID == a.Member })
		if i < 0 {
			continue
		}
		disk := c.disk[c.members[i].Process]
		for _, id := range slices.Concat(a.Standby, a.Warmup) {
			if left := c.end[id] - disk[id]; catchUp {
				disk[id] = max(disk[id], c.end[id]-c.rng.Int64N(testLag/2))
			} else {
				disk[id] += left * c.rng.Int64N(10) / 10
			}
		}
	}
}

// balance assigns until nothing is to be given back, and checks each answer.
func (c *cluster) balance() {
	for round := 0; ; round++ {
		require.LessOrEqual(c.t, round, len(c.tasks)+3, "%s: tasks are given back again and again", c.name)
		if !c.balanceOnce() {
			return
		}
	}
}

func (c *cluster) balanceOnce() (givenBack bool) {
	holder := map[TaskID]string{} // a process
	for i := range c.members {
		m := &c.members[i]
		m.Held = c.report(m)
		for _, id := range m.Owned {
			require.Empty(c.t, holder[id], "%s: task %s twice", c.name, id)
			holder[id] = m.Process
		}
	}
	c.rng.Shuffle(len(c.tasks), func(i, j int) { c.tasks[i], c.tasks[j] = c.tasks[j], c.tasks[i] })
	c.rng.Shuffle(len(c.members), func(i, j int) { c.members[i], c.members[j] = c.members[j], c.members[i] })
	c.last = Assign(c.tasks, c.members, c.options)
	c.check(holder)
	owner := map[TaskID]string{} // a member
	for _, m := range c.members {
		for _, id := range m.Owned {
			owner[id] = m.ID
		}
	}
	for _, a := range c.last.Members {
		i := slices.IndexFunc(c.members, func(m Member) bool { return m.ID == a.Member })
		c.members[i].Owned = slices.DeleteFunc(slices.Clone(a.Active), func(id TaskID) bool {
			moves := owner[id] != "" && owner[id] != a.Member
			givenBack = givenBack || moves
			return moves
		})
	}
	return givenBack
}

// report is what a member says. The tasks that its process runs are further by what they have written since others
// reported; of these and of its copies it knows what it lacks.
func (c *cluster) report(m *Member) (held []Held) {
	follows := map[TaskID]bool{}
	for _, a := range c.last.Members {
		if slices.ContainsFunc(c.members, func(o Member) bool { return o.ID == a.Member && o.Process == m.Process }) {
			for _, id := range slices.Concat(a.Standby, a.Warmup) {
				follows[id] = true
			}
		}
	}
	writes := map[TaskID]bool{}
	for _, o := range c.members {
		for _, id := range o.Owned {
			if c.disk[o.Process][id] == c.end[id] { // it is not being restored
				writes[id], follows[id] = true, follows[id] || o.Process == m.Process
			}
		}
	}
	for id, position := range c.disk[m.Process] {
		h := Held{ID: id, Position: position}
		if follows[id] {
			h.Lag, h.Known = c.end[id]-position, true
		}
		if h.Known && h.Lag == 0 && writes[id] {
			h.Position += c.rng.Int64N(1 + c.busy)
		}
		held = append(held, h)
	}
	return held
}

func (c *cluster) processOf(member string) string {
	return c.members[slices.IndexFunc(c.members, func(m Member) bool { return m.ID == member })].Process
}

// placed are the processes of tasks in a role.
func (c *cluster) placed(role func(Assignment) []TaskID) map[TaskID][]string {
	at := map[TaskID][]string{}
	for _, a := range c.last.Members {
		for _, id := range role(a) {
			at[id] = append(at[id], c.processOf(a.Member))
		}
	}
	return at
}

func active(a Assignment) []TaskID  { return a.Active }
func standby(a Assignment) []TaskID { return a.Standby }
func warmup(a Assignment) []TaskID  { return a.Warmup }

// check tests what holds of each assignment, however far the processes are.
func (c *cluster) check(holder map[TaskID]string) {
	t, name := c.t, c.name
	actives, standbys, warmups := c.placed(active), c.placed(standby), c.placed(warmup)
	processes := map[string]bool{}
	for _, m := range c.members {
		processes[m.Process] = true
	}
	warm := 0
	for _, task := range c.tasks {
		id := task.ID
		require.Len(t, actives[id], 1, "%s: task %s runs once", name, id)
		copies := slices.Concat(actives[id], standbys[id], warmups[id])
		slices.Sort(copies)
		require.Len(t, slices.Compact(slices.Clone(copies)), len(copies), "%s: task %s has two roles in a process", name, id)
		warm += len(warmups[id])
		if !task.Logged {
			require.Len(t, copies, 1)
			continue
		}
		require.Len(t, standbys[id], min(c.options.Standbys, len(processes)-1), "%s: task %s", name, id)
		if c.options.WarmupsMax == 0 {
			continue
		}
		most := int64(0)
		for process := range processes {
			most = max(most, c.disk[process][id])
		}
		to := actives[id][0]
		if from := holder[id]; from != to {
			require.LessOrEqual(t, most-c.disk[to][id], c.options.AcceptableLag,
				"%s: task %s goes from %q to %s, which lacks state", name, id, from, to)
		}
	}
	require.LessOrEqual(t, warm, c.options.WarmupsMax, name)
	require.True(t, warm == 0 || c.last.Probe, "%s: a warm-up, and nobody looks again", name)
}

// settle goes on until an assignment changes nothing, and returns how many probes that took.
func (c *cluster) settle() (probes int) {
	c.balance()
	for {
		before := c.last
		c.work(true)
		c.balance()
		if probes++; !c.last.Probe && fmt.Sprint(before) == fmt.Sprint(c.last) {
			return probes
		}
		require.LessOrEqual(c.t, probes, 2*len(c.tasks)+10, "%s: no end of moves", c.name)
	}
}

func byWeight(c *cluster, role func(Assignment) []TaskID, counts func(TaskID) bool) (low, high float64) {
	weight, got := map[string]int{}, map[string]int{}
	for _, m := range c.members {
		weight[m.Process] += max(m.Weight, 1)
	}
	for id, processes := range c.placed(role) {
		for _, process := range processes {
			if counts(id) {
				got[process]++
			}
		}
	}
	all, total := 0, 0
	for process, w := range weight {
		all, total = all+w, total+got[process]
	}
	for process, w := range weight { // how far from the exact share
		off := float64(got[process]) - float64(total*w)/float64(all)
		low, high = min(low, off), max(high, off)
	}
	return low, high
}

func randomCluster(t *testing.T, seed uint64) *cluster {
	rng := rand.New(rand.NewPCG(seed, 2))
	c := newCluster(t, seed, rng.IntN(40), Options{
		Standbys: rng.IntN(3), StandbyTags: []string{"zone"}[:rng.IntN(2)], AcceptableLag: testLag,
		WarmupsMax: 1 + rng.IntN(3),
	})
	c.busy = rng.Int64N(2) * 50 * testLag
	return c
}

// change lets a member come or go, or a process die.
func (c *cluster) change() {
	process := fmt.Sprintf("p%d", c.rng.IntN(6))
	switch {
	case len(c.members) > 1 && c.rng.IntN(3) == 0:
		i := c.rng.IntN(len(c.members))
		c.members = slices.Delete(c.members, i, i+1)
	case len(c.members) > 1 && c.rng.IntN(6) == 0:
		process = c.members[0].Process
		rest := slices.DeleteFunc(slices.Clone(c.members), func(m Member) bool { return m.Process == process })
		if len(rest) > 0 {
			c.members = rest
		}
		if c.rng.IntN(2) == 0 {
			delete(c.disk, process)
			for _, m := range c.members {
				if m.Process == process {
					c.disk[process] = map[TaskID]int64{}
				}
			}
		}
	default:
		c.join(process, 1+c.rng.IntN(3)/2, map[string]string{"zone": fmt.Sprint(int(process[1]) % 3)})
	}
}

func TestCopiesInRandomHistories(t *testing.T) {
	for range 150 {
		seed := rand.Uint64()
		c := randomCluster(t, seed)
		for range 12 {
			c.change()
			c.balance()
			c.work(c.rng.IntN(2) == 0)
		}
		c.settle()
		for _, kind := range []func(TaskID) bool{
			func(id TaskID) bool { return id.Subtopology != 0 }, func(TaskID) bool { return true },
		} {
			low, high := byWeight(c, active, kind)
			require.Greater(t, low, -1.0, "seed %d: %v", seed, c.last)
			require.Less(t, high, 1.0, "seed %d: %v", seed, c.last)
		}
		require.Empty(t, c.placed(warmup), "seed %d", seed)
	}
}

func TestStandbysAreSpread(t *testing.T) {
	for range 100 {
		seed := rand.Uint64()
		c := randomCluster(t, seed)
		c.options.StandbyTags, c.options.Standbys = nil, 1
		for i := range 2 + c.rng.IntN(5) {
			c.join(fmt.Sprintf("p%d", i), 1, nil)
		}
		c.settle()
		low, high := byWeight(c, standby, func(TaskID) bool { return true })
		require.Less(t, high-low, 4.0, "seed %d: %v", seed, c.last)
	}
}

// A copy is in another zone than its task and than other copies, as long as there are zones enough.
func TestStandbysAreInOtherZones(t *testing.T) {
	for range 100 {
		seed := rand.Uint64()
		c := randomCluster(t, seed)
		c.options.StandbyTags, c.options.Standbys = []string{"zone"}, 1+c.rng.IntN(2)
		zones := 2 + c.rng.IntN(3)
		zone := map[string]string{}
		for i := range zones + c.rng.IntN(5) {
			process := fmt.Sprintf("p%d", i)
			zone[process] = fmt.Sprint(i % zones)
			c.join(process, 1, map[string]string{"zone": zone[process], "rack": "1"})
		}
		c.settle()
		for id, copies := range c.placed(standby) {
			used := map[string]bool{zone[c.placed(active)[id][0]]: true}
			for _, process := range copies {
				used[zone[process]] = true
			}
			require.Len(t, used, min(zones, 1+len(copies)), "seed %d: task %s", seed, id)
		}
	}
}

// forget drops what is on disk and serves nothing.
func (c *cluster) forget() {
	for process, disk := range c.disk {
		for id := range disk {
			if !slices.Contains(slices.Concat(c.placed(active)[id], c.placed(standby)[id]), process) {
				delete(disk, id)
			}
		}
	}
}

// A standby takes over as soon as its process is asked, and no state moves but what was lost.
func TestAStandbyTakesOver(t *testing.T) {
	for range 100 {
		seed := rand.Uint64()
		c := randomCluster(t, seed)
		c.options.Standbys, c.options.StandbyTags = 1, nil
		for i := range 3 + c.rng.IntN(4) {
			c.join(fmt.Sprintf("p%d", i), 1, nil)
		}
		c.settle()
		c.forget()
		before, copies := c.placed(active), c.placed(standby)
		dead := fmt.Sprintf("p%d", c.rng.IntN(3))
		c.members = slices.DeleteFunc(c.members, func(m Member) bool { return m.Process == dead })
		c.balance()
		for id, now := range c.placed(active) {
			if c.end[id] > 3*testLag && before[id][0] == dead {
				require.Equal(t, copies[id], now, "seed %d: task %s", seed, id)
			}
		}
	}
}

// Of the standbys only what the new process is to have moves.
func TestStandbysStay(t *testing.T) {
	for range 100 {
		seed := rand.Uint64()
		c := randomCluster(t, seed)
		c.options.Standbys, c.options.StandbyTags = 1, nil
		n := 3 + c.rng.IntN(4)
		for i := range n {
			c.join(fmt.Sprintf("p%d", i), 1, nil)
		}
		c.settle()
		c.forget()
		before, moved := c.placed(standby), 0
		c.join("p", 1, nil)
		c.balance()
		for id, now := range c.placed(standby) {
			if c.end[id] > testLag && now[0] != before[id][0] {
				moved++
			}
		}
		require.LessOrEqual(t, moved, len(c.placed(standby))/(n+1)+n, "seed %d", seed)
	}
}

// A process with nothing joins: its tasks come one after the other, when their copies are near.
func TestANewProcessWarmsUp(t *testing.T) {
	c := newCluster(t, 1, 0, Options{AcceptableLag: testLag, WarmupsMax: 2})
	c.tasks = stateful(6)
	for _, task := range c.tasks {
		c.end[task.ID] = 100 * testLag
	}
	c.join("a", 1, nil)
	c.settle()
	c.join("b", 1, nil)
	b := func() Member {
		return c.members[slices.IndexFunc(c.members, func(m Member) bool { return m.Process == "b" })]
	}
	for moved := 0; moved < 3; moved = len(b().Owned) {
		c.balance()
		require.True(t, c.last.Probe)
		require.Len(t, c.placed(warmup), min(2, 3-moved))
		require.Equal(t, map[TaskID][]string{}, maps.Clone(c.placed(standby)))
		c.work(false) // half-way
		c.balance()
		require.Len(t, c.placed(warmup), min(2, 3-moved))
		c.work(true)
		c.balance()
	}
	require.False(t, c.last.Probe)
	require.Empty(t, c.placed(warmup))
}

// A process that was away for a moment gets its tasks back from one that has hardly begun to restore them.
func TestACopyThatIsNearWinsAgainstARestoreThatIsNot(t *testing.T) {
	tasks := stateful(1)
	id := tasks[0].ID
	members := []Member{
		{ID: "1", Process: "a", Owned: []TaskID{id}, Held: []Held{{ID: id, Position: 10}}},
		{ID: "2", Process: "b", Held: []Held{{ID: id, Position: 1000}}},
	}
	o := Options{AcceptableLag: testLag, WarmupsMax: 2}
	require.Equal(t, Result{Members: []Assignment{{Member: "1"}, {Member: "2", Active: []TaskID{id}}}},
		Assign(tasks, members, o))
	members[0].Held = nil // it does not say how far it is
	require.Equal(t, []TaskID{id}, Assign(tasks, members, o).Members[0].Active)
	members[0].Held = []Held{{ID: id, Position: 950}}
	require.Equal(t, []TaskID{id}, Assign(tasks, members, o).Members[0].Active)
}

// Processes report one after the other, and a task writes meanwhile. What counts then is what the copy itself says, and
// what the process says that runs the task.
func TestABusyTaskMovesToACopyThatIsNear(t *testing.T) {
	tasks := stateful(2)
	other, id := tasks[0].ID, tasks[1].ID
	o := Options{AcceptableLag: testLag, WarmupsMax: 2}
	runs := Member{ID: "1", Process: "a", Owned: []TaskID{other, id}}
	follows := Member{ID: "2", Process: "b"}
	assigned := func(owner, copied Held) Result {
		owner.ID, copied.ID = id, id
		runs.Held, follows.Held = []Held{owner}, []Held{copied}
		return Assign(tasks, []Member{runs, follows}, o)
	}
	warms := Result{Probe: true, Members: []Assignment{
		{Member: "1", Active: []TaskID{other, id}}, {Member: "2", Warmup: []TaskID{id}},
	}}
	moves := Result{Members: []Assignment{{Member: "1", Active: []TaskID{other}}, {Member: "2", Active: []TaskID{id}}}}
	require.Equal(t, warms, assigned(Held{Position: 9000, Known: true}, Held{Position: 1000}))
	require.Equal(t, warms, assigned(Held{Position: 9000, Known: true}, Held{Position: 1000, Lag: 101, Known: true}))
	require.Equal(t, moves, assigned(Held{Position: 9000, Known: true}, Held{Position: 1000, Lag: 100, Known: true}))
	require.Equal(t, moves, assigned(Held{Position: 1050, Known: true}, Held{Position: 1000, Lag: 200, Known: true}))
	require.Equal(t, warms, assigned(Held{Position: 101, Known: true}, Held{}))
	require.Equal(t, moves, assigned(Held{Position: 100, Known: true}, Held{}), "there is no more to copy")
	tasks, runs.Owned = stateful(2)[1:], []TaskID{id}
	stays := Result{Members: []Assignment{{Member: "1", Active: []TaskID{id}}, {Member: "2"}}}
	takes := Result{Members: []Assignment{{Member: "1"}, {Member: "2", Active: []TaskID{id}}}}
	require.Equal(t, stays, assigned(Held{Position: 1000, Known: true}, Held{Position: 9000, Known: true}), "it runs")
	require.Equal(t, takes, assigned(Held{Position: 1000}, Held{Position: 9000, Known: true}), "it is being restored")
}

func BenchmarkAssign(b *testing.B) {
	for _, o := range []Options{{}, {Standbys: 1, StandbyTags: []string{"zone"}, AcceptableLag: 10_000, WarmupsMax: 2}} {
		b.Run(fmt.Sprintf("standbys=%d", o.Standbys), func(b *testing.B) {
			var tasks []Task
			for i := range 5000 {
				tasks = append(tasks, Task{ID: TaskID{int32(i % 3), int32(i / 3)}, Stateful: i%3 > 0, Logged: i%3 > 0})
			}
			var members []Member
			for i := range 100 {
				members = append(members, Member{
					ID: fmt.Sprintf("m%03d", i), Process: fmt.Sprintf("p%03d", i), Tags: map[string]string{"zone": fmt.Sprint(i % 3)},
				})
			}
			for range 3 {
				for i, a := range Assign(tasks, members, o).Members {
					members[i].Owned, members[i].Held = a.Active, nil
					for _, id := range slices.Concat(a.Active, a.Standby) {
						members[i].Held = append(members[i].Held, Held{ID: id, Position: 1e9})
					}
				}
			}
			for b.Loop() {
				Assign(tasks, members, o)
			}
		})
	}
}
