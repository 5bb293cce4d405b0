package streamtest

import (
	"fmt"
	"maps"

	"thalweg/internal/align"
	"thalweg/internal/task"
	"thalweg/topology"
)

// run is a task and how far its inputs are fed.
type run struct {
	*task.Task
	fed   map[source]int64
	taken *align.Taken // the last cut that it was given
}

// source is a topic's partition.
type source struct {
	topic     string
	partition int32
}

// start makes the tasks, restores and runs them.
func (d *Driver) start() (err error) {
	if d.engine == nil {
		if d.engine, err = d.config.NewEngine(); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
	}
	d.outbox = task.NewOutbox(task.OutboxConfig{
		Partitions: func(topic string) (int32, error) { return int32(len(d.topic(topic).partitions)), nil },
	})
	d.pending = 0
	for _, s := range d.topo.Globals() {
		if err := d.addGlobal(s); err != nil {
			return err
		}
	}
	subs := d.topo.Subtopologies()
	if d.config.Partitions == 1 && len(d.config.TopicPartitions) == 0 {
		return d.add(task.ID{}, 1, subs...)
	}
	d.plan = align.New(subs, d.config.ApplicationID, d.partitionsOf)
	for _, s := range subs {
		n := s.Tasks(d.config.ApplicationID, d.partitionsOf)
		for _, st := range s.Stores {
			d.kept[st.Spec().ChangelogTopic(d.config.ApplicationID)] = n
		}
		for p := range n {
			if err := d.add(task.ID{Subtopology: s.ID, Partition: p}, n, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// add makes and restores the task of one of so many partitions.
func (d *Driver) add(id task.ID, partitions int32, subs ...*topology.Subtopology) error {
	c := task.Config{
		ApplicationID: d.config.ApplicationID, ID: id, Subs: subs, Outbox: d.outbox, Tx: d.tx(id),
		Errors:  d.config.Errors,
		Exists:  func(topic string, partition int32) bool { return partition < d.partitionsOf(topic) },
		Globals: d.globalRows(), MaxIdle: d.config.MaxIdle, WallMillis: d.now,
		EmitUpdates: !d.config.EmitOnCommit, CheckedPartitions: partitions, Times: maps.Clone(d.times[id.Partition]),
	}
	c.Aligned = d.alignedTask(id)
	for _, s := range subs {
		for _, in := range s.Inputs {
			if o, ok := d.offsets[source{in.In(d.config.ApplicationID), id.Partition}]; ok {
				c.Start = append(c.Start, o)
			}
		}
	}
	t, err := task.New(c)
	if err != nil {
		return err
	}
	r := &run{Task: t}
	d.runs = append(d.runs, r)
	if err := r.fromStart(); err != nil {
		return err
	}
	if err := d.restore(t); err != nil {
		return err
	}
	r.rewind()
	return nil
}

// fromStart makes inputs without an offset begin at their topics' starts.
func (r *run) fromStart() error {
	for _, in := range r.Queues.Inputs() {
		if in.Next != topology.Unknown {
			continue
		}
		if err := r.Seek(task.Offset{Topic: in.Topic, Partition: in.Partition}); err != nil {
			return err
		}
	}
	return nil
}

// restore brings the task's stores to where the application left off.
func (d *Driver) restore(t *task.Task) error {
	logs, err := t.Stores.Changelogs()
	if err != nil {
		return err
	}
	for _, c := range logs {
		from := int64(0)
		if c.Known {
			from = c.Position
		}
		for _, b := range d.topic(c.Topic).partitions[c.Partition].from(from) {
			if _, err := t.Stores.Restore(c.Store, from, b); err != nil {
				return err
			}
		}
	}
	return t.Restored(d.position(t))
}

// position gives the ends of a task's changelogs.
func (d *Driver) position(t *task.Task) func(store string) int64 {
	ends := map[string]int64{}
	for _, s := range t.Tx().Stores() {
		if spec := s.Spec(); !spec.Volatile {
			log := d.topic(spec.ChangelogTopic(d.config.ApplicationID))
			ends[s.Name()] = log.partitions[t.ID().Partition].end
		}
	}
	return func(store string) int64 {
		if end, ok := ends[store]; ok {
			return end
		}
		return -1
	}
}

// rewind makes feeding start where the task's inputs stand.
func (r *run) rewind() {
	r.taken = nil
	r.fed = map[source]int64{}
	for _, in := range r.Queues.Inputs() {
		r.fed[source{in.Topic, in.Partition}] = in.Next
	}
}

func (d *Driver) stop() error {
	var errs []error
	for _, r := range d.all() {
		if err := r.Close(); err != nil {
			errs = append(errs, err)
		}
	}
	d.runs, d.globals = nil, nil
	return joined(errs)
}

func joined(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w (and %d more)", errs[0], len(errs)-1)
}

// Keep says what a restart finds.
type Keep uint8

// What a restart finds.
const (
	LoseState Keep = iota // the engine is empty: stores come back from their changelogs
	KeepState             // the engine as it was
)

// Restart stops the application as a crash would, without a commit, and starts it again.
func (d *Driver) Restart(k Keep) {
	d.t.Helper()
	d.must(d.restart(k))
}

func (d *Driver) restart(k Keep) error {
	d.outbox.Discard()
	if err := d.stop(); err != nil {
		return err
	}
	if k == LoseState {
		if err := d.engine.Close(); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
		d.engine = nil
	}
	d.failed = nil
	if err := d.start(); err != nil {
		return err
	}
	return d.process()
}
