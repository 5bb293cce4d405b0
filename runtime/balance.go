package runtime

import (
	"fmt"

	"thalweg/internal/assign"
	"thalweg/internal/kclient"
	"thalweg/state"
	"thalweg/topology"
)

// stateConfig says where the stores of a task lie.
func (a *app) stateConfig(id TaskID) state.Config {
	return state.Config{
		Engine: a.home.stores(), Namespace: state.Namespace(id.Partition), Budget: a.home.memory.budget,
		CheckpointCommits: -1, // by Config.CheckpointEvery
		CheckpointBytes:   a.home.memory.checkpointBytes(),
	}
}

// balancing is what the group's leader needs to know to spread the tasks.
func (a *app) balancing() kclient.BalancerConfig {
	var c kclient.BalancerConfig
	for _, s := range a.topo.Subtopologies() {
		sub := kclient.Subtopology{ID: int32(s.ID), Stateful: len(s.Stores) > 0}
		for _, t := range s.Inputs {
			sub.Topics = append(sub.Topics, t.In(a.cfg.ApplicationID))
		}
		c.Subtopologies = append(c.Subtopologies, sub)
	}
	c.Report, c.Unread, c.Assigned = a.report, a.unread, a.publish
	c.Topology, c.Differs = a.topo.Fingerprint().String(), a.differs
	return c
}

// differs ends the application: the process that leads the group runs another program under the same application id,
// and would neither hand out the tasks of this one, nor have its own understood here.
func (a *app) differs(leader string) {
	diff := ""
	if leader != "" {
		diff = "; what differs, with - for what the other has and + for what this one has:\n" +
			topology.ParseFingerprint(leader).Diff(a.topo.Fingerprint())
	}
	err := fmt.Errorf("another topology runs under the application id %s: choose another Config.ApplicationID for one of "+
		"the two programs; or, to upgrade, stop all processes of the old program first%s", a.cfg.ApplicationID, diff)
	a.refusal.CompareAndSwap(nil, &err)
	a.dispatcher.poke()
}

// unread warns of a member of the group whose report this process cannot read.
func (a *app) unread(member string, err error) {
	a.cfg.Logger.Warn("can't read what a process of the group has on disk: it gets tasks as if it had nothing",
		"application", a.cfg.ApplicationID, "member", member, "err", err)
}

// report tells the leader what state this process has on disk. Of the tasks that are here it is read again: a restore
// or a checkpoint has moved it since they were opened.
func (a *app) report() assign.Report {
	for _, id := range a.dispatcher.here() {
		if err := a.noteHeld(id); err != nil {
			a.cfg.Logger.Debug("can't read how far the state on disk is", "application", a.cfg.ApplicationID, "err", err)
		}
	}
	r := assign.Report{Process: a.home.process, Weight: a.dispatcher.wanted(), Endpoint: a.cfg.Endpoint}
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, position := range a.held {
		r.Held = append(r.Held, assign.Held{
			ID:       assign.TaskID{Subtopology: int32(id.Subtopology), Partition: id.Partition},
			Position: position,
		})
	}
	return r
}

// findHeld looks at what an earlier run left on disk.
func (a *app) findHeld() error {
	for _, s := range a.topo.Subtopologies() {
		for p := range a.layout().partitions[s.ID] {
			if err := a.noteHeld(TaskID{s.ID, p}); err != nil {
				return err
			}
		}
	}
	return nil
}

// noteHeld remembers how far the state of a task on disk is.
func (a *app) noteHeld(id TaskID) error {
	if a.home.engine == nil {
		return nil
	}
	sum, found := int64(0), false
	for _, st := range a.topo.Subtopologies()[id.Subtopology].Stores {
		position, ok, err := state.SavedPosition(a.home.engine, state.Namespace(id.Partition), st.Name())
		if err != nil {
			return fmt.Errorf("task %s: position of store %s on disk: %w", id, st.Name(), err)
		}
		if ok {
			sum, found = sum+position, true
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if found {
		a.held[id] = sum
	} else {
		delete(a.held, id)
	}
	return nil
}
