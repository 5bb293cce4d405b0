package assign

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// world is a group that lives through joins and leaves: it remembers what each process has on disk.
type world struct {
	rng     *rand.Rand
	tasks   []Task
	members []Member
	disk    map[string]map[TaskID]int64
	next    int
	clock   int64
}

func newWorld(seed uint64, tasks int) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), disk: make(map[string]map[TaskID]int64)}
	for i := range tasks {
		w.tasks = append(w.tasks, Task{ID: TaskID{int32(i % 3), int32(i / 3)}, Stateful: i%3 != 0})
	}
	return w
}

// stateful are n tasks of sub-topology 1.
func stateful(n int) (tasks []Task) {
	for i := range n {
		tasks = append(tasks, Task{ID: TaskID{1, int32(i)}, Stateful: true, Logged: true})
	}
	return tasks
}

func (w *world) join(process string) string {
	w.next++
	id := fmt.Sprintf("m%03d", w.next)
	w.members = append(w.members, Member{ID: id, Process: process})
	if w.disk[process] == nil {
		w.disk[process] = make(map[TaskID]int64)
	}
	return id
}

func (w *world) leave(i int) { w.members = slices.Delete(w.members, i, i+1) }

// assign runs the assignment on a shuffled input and lets the owners' state grow.
func (w *world) assign() (before, after map[TaskID]string) {
	before, after = make(map[TaskID]string), make(map[TaskID]string)
	for i := range w.members {
		m := &w.members[i]
		m.Held = nil
		for id, position := range w.disk[m.Process] {
			m.Held = append(m.Held, Held{ID: id, Position: position})
		}
		for _, id := range m.Owned {
			before[id] = m.ID
		}
	}
	w.rng.Shuffle(len(w.tasks), func(i, j int) { w.tasks[i], w.tasks[j] = w.tasks[j], w.tasks[i] })
	w.rng.Shuffle(len(w.members), func(i, j int) { w.members[i], w.members[j] = w.members[j], w.members[i] })
	w.clock += int64(1 + w.rng.IntN(1000))
	for _, a := range Assign(w.tasks, w.members, Options{}).Members {
		i := slices.IndexFunc(w.members, func(m Member) bool { return m.ID == a.Member })
		w.members[i].Owned = a.Active
		for _, id := range a.Active {
			after[id] = a.Member
			w.disk[w.members[i].Process][id] = w.clock
		}
	}
	return before, after
}

func (w *world) counts() (stateful, all map[string]int) {
	stateful, all = make(map[string]int), make(map[string]int)
	for _, m := range w.members {
		stateful[m.ID], all[m.ID] = 0, 0
		for _, id := range m.Owned {
			all[m.ID]++
			if id.Subtopology != 0 {
				stateful[m.ID]++
			}
		}
	}
	return stateful, all
}

func spread(counts map[string]int) int {
	low, high := 1<<30, 0
	for _, n := range counts {
		low, high = min(low, n), max(high, n)
	}
	return high - low
}

func TestRandomHistoriesAreBalancedAndComplete(t *testing.T) {
	for range 300 {
		seed := rand.Uint64()
		w := newWorld(seed, rand.New(rand.NewPCG(seed, 2)).IntN(40))
		for step := range 12 {
			if len(w.members) > 0 && w.rng.IntN(3) == 0 {
				w.leave(w.rng.IntN(len(w.members)))
			} else {
				w.join(fmt.Sprintf("p%d", w.rng.IntN(4)))
			}
			if len(w.members) == 0 {
				require.Empty(t, Assign(w.tasks, nil, Options{}).Members)
				continue
			}
			_, after := w.assign()
			require.Len(t, after, len(w.tasks), "seed %d step %d", seed, step)
			total := 0
			for _, m := range w.members {
				total += len(m.Owned)
			}
			require.Equal(t, len(w.tasks), total, "a task twice: seed %d step %d", seed, step)
			stateful, all := w.counts()
			require.LessOrEqual(t, spread(stateful), 1, "stateful: seed %d step %d: %v", seed, step, stateful)
			require.LessOrEqual(t, spread(all), 1, "all: seed %d step %d: %v", seed, step, all)
		}
	}
}

func TestNothingMovesWithoutReason(t *testing.T) {
	for range 200 {
		seed := rand.Uint64()
		w := newWorld(seed, 1+rand.New(rand.NewPCG(seed, 2)).IntN(40))
		for i := range 1 + w.rng.IntN(6) {
			w.join(fmt.Sprintf("p%d", i%3))
		}
		w.assign()
		before, after := w.assign()
		require.Equal(t, before, after, "seed %d", seed)
	}
}

func TestJoiningMovesStateOnlyToTheNewMember(t *testing.T) {
	for range 300 {
		seed := rand.Uint64()
		w := newWorld(seed, 1+rand.New(rand.NewPCG(seed, 2)).IntN(40))
		for i := range 1 + w.rng.IntN(6) {
			w.join(fmt.Sprintf("p%d", i)) // one member each: no sharing out within a process
		}
		w.assign()
		newcomer := w.join("new")
		before, after := w.assign()
		moved := 0
		for id, member := range after {
			if before[id] == member {
				continue
			}
			moved++
			if id.Subtopology != 0 {
				require.Equal(t, newcomer, member, "seed %d: stateful task %s went to an old member", seed, id)
			}
		}
		stateful, _ := w.counts()
		n, total := len(w.members), 0
		for _, s := range stateful {
			total += s
		}
		require.LessOrEqual(t, stateful[newcomer], (total+n-1)/n, "seed %d", seed)
		// The newcomer's share, rounded up; and since the two kinds are balanced apart, an old member that keeps
		// one stateful task more than another may have to give that one a stateless task.
		require.LessOrEqual(t, moved, (len(w.tasks)+n-1)/n+n-1, "seed %d", seed)
	}
}

func TestLeavingMovesOnlyWhatWasLeft(t *testing.T) {
	for range 300 {
		seed := rand.Uint64()
		w := newWorld(seed, 1+rand.New(rand.NewPCG(seed, 2)).IntN(40))
		for i := range 2 + w.rng.IntN(6) {
			w.join(fmt.Sprintf("p%d", i))
		}
		w.assign()
		gone := w.rng.IntN(len(w.members))
		left := len(w.members[gone].Owned)
		w.leave(gone)
		before, after := w.assign()
		moved := 0
		for id, member := range before {
			if after[id] != member {
				moved++
			}
		}
		// Stateful and stateless tasks are balanced apart, so that one more may have to make room for another.
		require.LessOrEqual(t, moved, left, "seed %d", seed)
	}
}

func TestStateAttractsItsTask(t *testing.T) {
	tasks := stateful(4)
	got := Assign(tasks, []Member{
		{ID: "a", Process: "A", Held: []Held{
			{ID: TaskID{1, 0}, Position: 90}, {ID: TaskID{1, 1}, Position: 100}, {ID: TaskID{1, 3}, Position: 5},
		}},
		{ID: "b", Process: "B", Held: []Held{
			{ID: TaskID{1, 0}, Position: 100}, {ID: TaskID{1, 1}, Position: 10}, {ID: TaskID{1, 3}, Position: 50},
		}},
	}, Options{}).Members
	require.Equal(t, []Assignment{
		{Member: "a", Active: []TaskID{{1, 1}, {1, 2}}},
		{Member: "b", Active: []TaskID{{1, 0}, {1, 3}}},
	}, got)
}

func TestProcessesAreBalancedBeforeMembers(t *testing.T) {
	tasks := stateful(2)
	got := Assign(tasks, []Member{
		{ID: "a1", Process: "A", Owned: []TaskID{{1, 0}}}, {ID: "a2", Process: "A", Owned: []TaskID{{1, 1}}},
		{ID: "b1", Process: "B"}, {ID: "b2", Process: "B"},
	}, Options{}).Members
	require.Equal(t, []Assignment{
		{Member: "a1", Active: []TaskID{{1, 0}}}, {Member: "a2"},
		{Member: "b1", Active: []TaskID{{1, 1}}}, {Member: "b2"},
	}, got)
}

func TestWeightsShareOutByCapacity(t *testing.T) {
	members := []Member{{ID: "small", Process: "S"}, {ID: "large", Process: "L", Weight: 3}}
	got := Assign(stateful(12), members, Options{}).Members
	require.Len(t, got[0].Active, 9)
	require.Len(t, got[1].Active, 3)
}

func TestTwoOwnersOfOneTask(t *testing.T) {
	got := Assign([]Task{{ID: TaskID{0, 0}}}, []Member{
		{ID: "b", Process: "B", Owned: []TaskID{{0, 0}}}, {ID: "a", Process: "A", Owned: []TaskID{{0, 0}, {7, 7}}},
	}, Options{}).Members
	require.Equal(t, []Assignment{{Member: "a", Active: []TaskID{{0, 0}}}, {Member: "b"}}, got)
}
