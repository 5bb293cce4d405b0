package runtime

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"thalweg/internal/assign"
	"thalweg/internal/kclient"
	"thalweg/internal/tasks"
	"thalweg/state"
	"thalweg/topology"
)

// stateConfig says where the stores of a task lie.
func (a *app) stateConfig(id TaskID) state.Config {
	return state.Config{
		Engine: a.home.stores(), Namespace: state.Namespace(id.Partition), Budget: a.home.memory.budget,
		CheckpointCommits: -1, // by Config.State.CheckpointInterval
		CheckpointBytes:   a.home.memory.checkpointBytes(),
	}
}

// balance is what the process tells the leader of its group, and hears from it.
type balance struct {
	app     *app
	refusal atomic.Pointer[error] // why the application can't take part in its group

	mu   sync.Mutex
	held map[TaskID]int64 // sum of changelog positions on disk, of tasks that are there
}

// config is what the group's leader needs to know to spread the tasks.
func (b *balance) config() kclient.BalancerConfig {
	c := kclient.BalancerConfig{Options: b.app.cfg.copies(), ProbeInterval: b.app.cfg.Standbys.ProbeInterval}
	for _, s := range b.app.topo.Subtopologies() {
		sub := kclient.Subtopology{
			ID: int32(s.ID), Stateful: len(s.Stores) > 0, Logged: hasCopies(b.app.layout().fillings, s.ID),
		}
		for _, t := range s.Inputs {
			sub.Topics = append(sub.Topics, t.In(b.app.cfg.ApplicationID))
		}
		c.Subtopologies = append(c.Subtopologies, sub)
	}
	c.Report, c.Unread, c.Assigned = b.report, b.unread, b.publish
	c.Claims = b.app.dispatcher.claims
	c.Topology, c.Differs = b.app.topo.Fingerprint().String(), b.differs
	return c
}

// differs ends the application: the process that leads the group runs another program under the same application id,
// and would neither hand out the tasks of this one, nor have its own understood here.
func (b *balance) differs(leader string) {
	diff := ""
	if leader != "" {
		diff = "; what differs, with - for what the other has and + for what this one has:\n" +
			topology.ParseFingerprint(leader).Diff(b.app.topo.Fingerprint())
	}
	err := ofKind(ErrOtherTopology,
		fmt.Errorf("another topology runs under the application id %s: choose another Config.ApplicationID for one of "+
			"the two programs; or, to upgrade, stop all processes of the old program first%s", b.app.cfg.ApplicationID, diff))
	b.refusal.CompareAndSwap(nil, &err)
	b.app.dispatcher.poke()
}

// unread warns of a member of the group whose report this process cannot read.
func (b *balance) unread(member string, err error) {
	b.app.cfg.Logger.Warn("can't read what a process of the group has on disk: it gets tasks as if it had nothing",
		"application", b.app.cfg.ApplicationID, "member", member, "err", err)
}

// report tells the leader what state this process has on disk. Of the tasks that are here, or are followed, it is read
// again: it has moved since they were opened. Those that run, or are followed, are further in memory, and the disk has
// that when another gets them.
func (b *balance) report() assign.Report {
	here, ids := b.app.dispatcher.here(), b.app.standbys.here()
	for _, s := range here {
		ids = append(ids, taskID(s.ID))
	}
	for _, id := range ids {
		if err := b.noteHeld(id); err != nil {
			b.app.cfg.Logger.Debug("can't read how far the state on disk is", "application", b.app.cfg.ApplicationID, "err", err)
		}
	}
	r := assign.Report{
		Process: b.app.home.process, Weight: b.app.dispatcher.wanted(), Endpoint: b.app.cfg.Endpoint,
		Tags: b.app.cfg.Standbys.Tags,
	}
	copies, further := b.app.standbys.reached(), map[TaskID]reach{}
	b.app.mu.Lock()
	workers := b.app.workers
	b.app.mu.Unlock()
	for _, w := range workers {
		w.figures.box.reached(further)
	}
	for _, s := range here {
		now, ok := further[taskID(s.ID)]
		now.known = ok && s.Wanted && s.State == tasks.Running // it lacks nothing: nobody else writes its changelogs
		further[taskID(s.ID)] = now
	}
	maps.Copy(further, copies)
	b.mu.Lock()
	held := maps.Clone(b.held)
	b.mu.Unlock()
	for id, now := range copies { // also one that has written nothing yet
		held[id] = max(held[id], now.position)
	}
	for id, position := range held {
		now := further[id]
		r.Held = append(r.Held, assign.Held{
			ID:       assign.TaskID{Subtopology: int32(id.Subtopology), Partition: id.Partition},
			Position: max(position, now.position), Lag: now.lag, Known: now.known,
		})
	}
	return r
}

// findHeld looks at what an earlier run left on disk.
func (b *balance) findHeld() error {
	for _, s := range b.app.topo.Subtopologies() {
		for p := range b.app.layout().partitions[s.ID] {
			if err := b.noteHeld(TaskID{s.ID, p}); err != nil {
				return err
			}
		}
	}
	return nil
}

// noteHeld remembers how far the state of a task on disk is.
func (b *balance) noteHeld(id TaskID) error {
	if b.app.home.engine == nil {
		return nil
	}
	sum, found := int64(0), false
	for _, st := range b.app.topo.Subtopologies()[id.Subtopology].Stores {
		position, ok, err := state.SavedPosition(b.app.home.engine, state.Namespace(id.Partition), st.Name())
		if err != nil {
			return fmt.Errorf("task %s: position of store %s on disk: %w", id, st.Name(), err)
		}
		if ok {
			sum, found = sum+position, true
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if found {
		b.held[id] = sum
	} else {
		delete(b.held, id)
	}
	return nil
}
