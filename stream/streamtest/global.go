package streamtest

import (
	"slices"

	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/topology"
)

// all are the tasks that fill global stores, and all others.
func (d *Driver) all() []*run { return slices.Concat(d.globals, d.runs) }

// globalRows reads the global stores.
func (d *Driver) globalRows() *state.Reader {
	return state.NewReader(d.engine, state.GlobalNamespace()).Of(d.topo.GlobalStores()...)
}

// addGlobal makes the task that fills a global store.
func (d *Driver) addGlobal(s *topology.Subtopology) error {
	t, err := task.New(task.Config{
		ApplicationID: d.config.ApplicationID, Subs: []*topology.Subtopology{s}, Partitions: d.partitionsOf,
		Tx: state.NewTx(state.Config{
			Engine: d.engine, Namespace: state.GlobalNamespace(), CheckpointCommits: 1,
		}),
		Errors: d.config.Errors, MaxIdle: -1, WallMillis: d.now,
	})
	if err != nil {
		return err
	}
	r := &run{Task: t}
	d.globals = append(d.globals, r)
	if err := r.fromStart(); err != nil {
		return err
	}
	if err := t.Restored(nil); err != nil {
		return err
	}
	r.rewind()
	return nil
}

// follow brings the global stores up to date: they do not wait for commits.
func (d *Driver) follow() error {
	for _, r := range d.globals {
		if err := d.feed(r); err != nil {
			return err
		}
		for r.Queues.Records() > 0 {
			if _, err := r.Step(r.Queues.Records(), d.now); err != nil {
				return err
			}
		}
		if !r.Pending() {
			continue
		}
		if _, err := r.Ready(); err != nil {
			return err
		}
		if err := r.Advance(nil); err != nil {
			return err
		}
	}
	return nil
}
