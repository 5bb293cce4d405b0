package runtime

import (
	"maps"
	"slices"
	"time"

	"thalweg/internal/kclient"
	"thalweg/internal/tasks"
)

// givenTask is a task that the group has taken back, and that no other process has been given since.
type givenTask struct {
	inputs     []kclient.TopicPartition
	generation int32 // up to which it was this process'
}

// given are the tasks that the group has taken back, until an assignment says whose they are. A worker that is in a
// call of the program can't commit before the call returns, and the group does not wait for that: the process joins it
// again, and claims the tasks that it has not committed like those that it keeps. Leaders give what a member claims to
// nobody else (KIP-429). When the worker has committed them, the process has the group balanced once more.
type given struct {
	tasks map[TaskID]*givenTask
	owed  []TaskID // that the last assignment leaves to this process until it has committed them
}

func newGiven() given { return given{tasks: map[TaskID]*givenTask{}} }

// revoked notes tasks that the group takes back in a generation, and that this process had until then.
func (g *given) revoked(e kclient.Event, ids []TaskID, inputs func(TaskID) []kclient.TopicPartition) {
	for _, id := range ids {
		g.tasks[id] = &givenTask{inputs: inputs(id)}
	}
	for _, t := range g.tasks { // also one that came back a moment ago, and is not resumed yet
		if contains(e.Partitions, t.inputs) {
			t.generation = e.Generation
		}
	}
}

// claims are the inputs of the tasks of which a worker may commit something.
func (g *given) claims(held func(TaskID) bool) (tps []kclient.TopicPartition) {
	for id, t := range g.tasks {
		if held(id) {
			tps = append(tps, t.inputs...)
		}
	}
	return tps
}

// assigned looks at an assignment. It returns the tasks that another process has, or may have had before they came
// back. What the process has claimed is nobody else's in the generation: that is noted in givenUp.
func (g *given) assigned(e kclient.Event, m *membership) (stale []TaskID) {
	g.owed = nil
	for id, t := range g.tasks {
		claimed := contains(e.Claimed, t.inputs)
		back := !slices.ContainsFunc(t.inputs, func(tp kclient.TopicPartition) bool { return !m.assigned[tp] })
		switch {
		case back && (claimed || e.Generation <= t.generation+1):
			t.generation = e.Generation // it was nobody else's in between
		case !back && e.Generation <= t.generation: // this assignment takes it back
		case !back && claimed:
			t.generation = e.Generation
			g.owed = append(g.owed, id)
			for _, tp := range t.inputs {
				m.givenUp[tp] = e.Generation
			}
		default:
			stale = append(stale, id)
			delete(g.tasks, id)
		}
	}
	return stale
}

// clear forgets all tasks, and returns them.
func (g *given) clear() (ids []TaskID) {
	ids = slices.SortedFunc(maps.Keys(g.tasks), compareTaskIDs)
	*g = newGiven()
	return ids
}

// contains tells whether all are among some that are sorted.
func contains(sorted, all []kclient.TopicPartition) bool {
	return !slices.ContainsFunc(all, func(tp kclient.TopicPartition) bool {
		_, found := slices.BinarySearchFunc(sorted, tp, kclient.CompareTopicPartitions)
		return !found
	})
}

// claims are the partitions that a join of the group names beside those that the process has been assigned.
func (d *dispatcher) claims() []kclient.TopicPartition {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.given.claims(func(id TaskID) bool { return d.tasks.Held(managed(id)) })
}

// settleGiven takes an assignment, and lets go of what it does not give back.
func (d *dispatcher) settleGiven(e kclient.Event) {
	if e.Lease != d.lease { // what was kept belongs to a membership that has ended
		d.loseGiven()
	}
	for _, tp := range e.Partitions {
		d.assigned[tp] = true
	}
	for _, id := range d.given.assigned(e, &d.membership) {
		d.tasks.Expire(managed(id))
	}
	d.assign(e)
}

func (d *dispatcher) loseGiven() {
	for _, id := range d.given.clear() {
		d.tasks.Lose(managed(id))
	}
}

// returned is an event after which the group waits until what workers have of its tasks is committed, for a while.
type returned struct {
	event kclient.Event
	ids   []tasks.ID
	until time.Time
}

// giveBackMost is how long the group waits for tasks that are to be committed, before the process claims them.
const giveBackMost = time.Second

// giveBack lets the group go on where it waited for tasks of which nobody here has anything to commit any more.
func (d *dispatcher) giveBack(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.returned = slices.DeleteFunc(d.returned, func(r returned) bool {
		if held := d.tasks.Held(r.ids...); held && now.Before(r.until) {
			return false
		} else if held {
			d.log.Info("the group goes on before all tasks that it takes back are committed: they are given back when a " +
				"call of the program has returned, or the broker has answered")
		}
		r.event.Done()
		return true
	})
}

// repay has the group balanced once more when tasks are committed that the process had claimed.
func (d *dispatcher) repay() {
	d.mu.Lock()
	due := slices.ContainsFunc(d.given.owed, func(id TaskID) bool { return !d.tasks.Held(managed(id)) })
	if due {
		d.given.owed = nil
	}
	d.mu.Unlock()
	if due {
		d.member.Rejoin()
	}
}
