package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"thalweg/internal/defect"
	"thalweg/internal/kclient"
	"thalweg/internal/tasks"
	"thalweg/topology"
)

// noMember is the generation of a process that the group has not answered yet, or has taken out.
const noMember = -1

// membership is what the process knows of the group's assignment.
type membership struct {
	generation int32
	lease      kclient.Lease
	assigned   map[kclient.TopicPartition]bool
	readers    map[kclient.TopicPartition]TaskID // of what internal/tasks was given
	givenUp    map[kclient.TopicPartition]int32  // in which generation, for the next one
}

func newMembership() membership {
	return membership{
		generation: noMember, assigned: map[kclient.TopicPartition]bool{}, readers: map[kclient.TopicPartition]TaskID{},
		givenUp: map[kclient.TopicPartition]int32{},
	}
}

// assign notes what the group gives the process.
func (m *membership) assign(e kclient.Event) {
	m.generation, m.lease = e.Generation, e.Lease
	for _, tp := range e.Partitions {
		m.assigned[tp] = true
		delete(m.givenUp, tp)
	}
	for tp, generation := range m.givenUp {
		if generation < m.generation && !m.assigned[tp] {
			delete(m.givenUp, tp)
		}
	}
}

// remove notes what the group takes back, and returns the tasks that it is about.
func (m *membership) remove(e kclient.Event) (ids []TaskID) {
	for _, tp := range e.Partitions {
		delete(m.assigned, tp)
		if e.Kind == kclient.Revoked {
			m.givenUp[tp] = e.Generation
		}
		if id, ok := m.readers[tp]; ok {
			ids = append(ids, id)
			delete(m.readers, tp)
		}
	}
	if e.Kind == kclient.Lost {
		m.generation = noMember
	}
	slices.SortFunc(ids, compareTaskIDs)
	return slices.Compact(ids)
}

// settled tells that the group has answered, and that the assignment gives nothing up for another one.
func (m *membership) settled() bool {
	if m.generation == noMember {
		return false
	}
	for _, generation := range m.givenUp {
		if generation >= m.generation {
			return false
		}
	}
	return true
}

// elsewhere tells that the assignment gives a partition to another process.
func (m *membership) elsewhere(tp kclient.TopicPartition) bool {
	generation, given := m.givenUp[tp]
	return m.generation != noMember && !m.assigned[tp] && (!given || generation < m.generation)
}

// managed is how internal/tasks names a task.
func managed(id TaskID) tasks.ID {
	return tasks.ID{Subtopology: int32(id.Subtopology), Partition: id.Partition}
}

func taskID(id tasks.ID) TaskID { return TaskID{int(id.Subtopology), id.Partition} }

// event handles one change of the membership.
func (d *dispatcher) event(e kclient.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch e.Kind {
	case kclient.Assigned:
		d.log.Info("assigned", "partitions", e.Partitions)
		d.settleGiven(e)
		d.app.standbys.assign(e.Assignment)
		d.adopting, d.adopts, d.adoptAt = true, 0, time.Time{}
		e.Done()
		return nil
	case kclient.Revoked, kclient.Lost:
		if defect.RevokedGoesOn && e.Kind == kclient.Revoked {
			e.Done()
			return nil
		}
		r := returned{event: e, until: time.Now().Add(giveBackMost)}
		ids := d.remove(e)
		for _, id := range ids {
			r.ids = append(r.ids, managed(id))
			delete(d.troubles, id)
		}
		if e.Kind == kclient.Revoked {
			d.log.Info("revoked", "partitions", e.Partitions)
			d.given.revoked(e, ids, func(id TaskID) []kclient.TopicPartition { return inputsOf(d.app, id) })
			d.tasks.Revoke(r.ids...)
			d.returned = append(d.returned, r)
			return nil
		}
		d.log.Warn("lost the membership: what was not committed is dropped", "partitions", e.Partitions)
		d.tasks.Lose(r.ids...)
		d.loseGiven()
		e.Done() // the lease is over: workers that are in a call do not keep the process out of the group
		return nil
	default:
		if kclient.ClassOf(e.Err) == kclient.Fatal {
			return fmt.Errorf("group %s: %w", d.app.cfg.ApplicationID, e.Err)
		}
		d.log.Warn("trouble with the group, trying again", "err", e.Err)
		return nil
	}
}

// The pause before what was assigned is looked at again, and before a task that failed is opened again: none after the
// first failure, then ever longer.
const (
	againLeast = 50 * time.Millisecond
	againMost  = 5 * time.Second
)

func pauseAfter(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	return min(againLeast<<min(failures-2, 10), againMost)
}

// adopt gives the tasks to internal/tasks whose inputs are all assigned.
func (d *dispatcher) adopt(ctx context.Context) error {
	if !d.adopting || time.Now().Before(d.adoptAt) {
		return nil
	}
	d.mu.Lock()
	tps := make([]kclient.TopicPartition, 0, len(d.assigned))
	for tp := range d.assigned {
		tps = append(tps, tp)
	}
	d.mu.Unlock()
	err := d.app.adopt(ctx, tps)
	switch {
	case err == nil:
	case kclient.ClassOf(err) == kclient.Fatal:
		return err
	default:
		d.adopts++
		d.adoptAt = time.Now().Add(max(pauseAfter(d.adopts), againLeast))
		d.log.Warn("can't ask what the assigned partitions are: asking again", "err", err)
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.adopting = false
	lay, now := d.app.layout(), d.app.cfg.Clock()
	for _, s := range d.app.topo.Subtopologies() {
		for p := range lay.partitions[s.ID] {
			d.want(s, TaskID{s.ID, p}, lay.inputs(s, p), now)
		}
	}
	return nil
}

func (d *dispatcher) want(s *topology.Subtopology, id TaskID, inputs []kclient.TopicPartition, now time.Time) {
	missing := func(tp kclient.TopicPartition) bool { return !d.assigned[tp] }
	if len(inputs) == 0 || slices.ContainsFunc(inputs, missing) || d.tasks.Wanted(managed(id)) {
		return
	}
	for _, tp := range inputs {
		d.readers[tp] = id
	}
	delete(d.given.tasks, id)
	d.troubles[id] = &taskTrouble{since: now}
	d.tasks.Want(tasks.Task{ID: managed(id), Stateful: len(s.Stores) > 0})
}

// giveOrders tells the workers what to do next.
func (d *dispatcher) giveOrders(now time.Time) {
	d.mu.Lock()
	lease := d.lease
	orders := map[int][]order{}
	for _, o := range d.tasks.Orders(now) {
		if o.Kind == tasks.Open {
			d.app.standbys.claim(taskID(o.ID))
		}
		orders[o.Worker] = append(orders[o.Worker], order{kind: o.Kind, task: taskID(o.ID), lease: lease})
	}
	d.mu.Unlock()
	for i, all := range orders {
		if w := d.workers[i]; w != nil {
			w.inbox.give(all...)
		}
	}
}

// moved says how a task gets from one state to the next.
func (d *dispatcher) moved(id tasks.ID, m tasks.Move) {
	if d.log.Enabled(context.Background(), slog.LevelDebug) {
		d.log.Debug("task moves", "task", taskID(id).String(), "from", m.From.String(), "to", m.To.String())
	}
}

// taskTrouble is why a task that is assigned is not processed.
type taskTrouble struct {
	since    time.Time
	failures int
	err      error // the last one
}

// tryAgain notes that a task was closed, and tells when it may be opened again. It needs the mutex.
func (d *dispatcher) tryAgain(id TaskID, err error) time.Time {
	t := d.troubles[id]
	if t == nil && d.tasks.Wanted(managed(id)) {
		t = &taskTrouble{since: d.app.cfg.Clock()}
		d.troubles[id] = t
	}
	if t == nil || err == nil {
		return time.Time{}
	}
	t.failures++
	t.err = err
	return time.Now().Add(pauseAfter(t.failures))
}

// of are the partitions of a sub-topology's tasks that work in this process, and of those on the way there.
func (d *dispatcher) of(subtopology int) (running, opening []int32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.tasks.All() {
		switch {
		case int(s.ID.Subtopology) != subtopology:
		case s.State == tasks.Running:
			running = append(running, s.ID.Partition)
		case s.Wanted || s.State != tasks.Waiting:
			opening = append(opening, s.ID.Partition)
		}
	}
	return running, opening
}

// here are the tasks that the process has or is to have.
func (d *dispatcher) here() []tasks.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tasks.All()
}

// taskElsewhere tells whether the assignment gives a task to another process, and no worker of this one has it any
// more. A task that is on its way between two owners is not elsewhere, unless this process is closing.
func (d *dispatcher) taskElsewhere(id TaskID) bool {
	if d.app.State() == Closing {
		return true
	}
	inputs := inputsOf(d.app, id)
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.tasks.IsOpen(managed(id)) && slices.ContainsFunc(inputs, d.elsewhere)
}

// known tells that the group has answered.
func (d *dispatcher) known() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.generation != noMember
}

// PendingTask is a task that the group has assigned to this process, and that is not processed.
type PendingTask struct {
	Task   TaskID
	Worker int // that has it, or is to have it; -1: that is not decided
	Since  time.Time
	Reason string
}

// pending are the tasks that are not processed, sorted.
func (d *dispatcher) pending() (all []PendingTask) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.tasks.All() {
		if !s.Wanted || s.State == tasks.Running {
			continue
		}
		p := PendingTask{Task: taskID(s.ID), Worker: s.Worker}
		t := d.troubles[p.Task]
		if t != nil {
			p.Since = t.since
		}
		p.Reason = reasonOf(s, t)
		all = append(all, p)
	}
	return all
}

func reasonOf(s tasks.Status, t *taskTrouble) string {
	failed := ""
	if t != nil && t.err != nil {
		failed = fmt.Sprintf("; it failed %d times, at last: %v", t.failures, t.err)
	}
	switch s.State {
	case tasks.Opening:
		return fmt.Sprintf("worker %d opens or restores it%s", s.Worker, failed)
	case tasks.Suspending, tasks.Suspended:
		return fmt.Sprintf("it has come back, and worker %d has to commit it before it goes on", s.Worker)
	case tasks.Releasing:
		return fmt.Sprintf("it moves, and worker %d has to commit and close it first", s.Worker)
	case tasks.Dropping:
		return fmt.Sprintf("the process had lost it, and worker %d has to close it first", s.Worker)
	default:
		return "it waits for its worker" + failed
	}
}

const (
	// complainAfter is how long a task may be assigned and not processed before the log says so.
	complainAfter = time.Minute
	// complainsMax is how many tasks such a line names.
	complainsMax = 5
)

// complain says which tasks are not processed for long.
func (d *dispatcher) complain(now time.Time) {
	clock := d.app.cfg.Clock()
	var lines []string
	n := 0
	for _, p := range d.pending() {
		if p.Since.IsZero() || clock.Sub(p.Since) < complainAfter {
			continue
		}
		if n++; len(lines) < complainsMax {
			lines = append(lines, p.Task.String()+": "+p.Reason)
		}
	}
	if n == 0 {
		return
	}
	if _, ok := d.sparing.say("pending", now); ok {
		d.log.Warn("tasks of this process are not processed yet", "tasks", n, "first", lines)
	}
}

// order is what a worker is told.
type order struct {
	kind   tasks.Kind
	task   TaskID
	lease  kclient.Lease // for Open
	retire bool          // instead: end, there are no tasks left
}

// errLease says that a worker has tasks of a membership that has ended.
var errLease = &kclient.Error{
	Class: kclient.Fenced, Err: errors.New("runtime: the membership under which the tasks were assigned has ended"),
}
