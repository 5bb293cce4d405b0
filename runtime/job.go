package runtime

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"thalweg/internal/kclient"
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/topology"
)

// job is a task at a worker.
type job struct {
	active
	id         TaskID
	task       *task.Task
	tx         *state.Tx
	inputs     []*input
	changelogs []task.Changelog
	logOf      map[string]kclient.TopicPartition // changelog by store; without those that are an input
	positions  map[string]int64                  // of the stores, while they are restored
	asked      time.Time                         // when the ends of its changelogs were
	restoring  *restoring                        // while it is restored; nil: it is not
	suspended  bool
	started    time.Time            // zero: it does not run yet
	expiring   map[string]*expiring // by store
	processing activity             // what the worker is at while the task works,
	flushing   activity             // and while it brings out what a commit needs
	scratch    task.Stats
	counted    []task.NodeStats        // of its nodes, as the worker's sums have them
	heldBack   *HeldBack               // by the last cut that it was given; nil: by nobody
	figures    atomic.Pointer[figures] // as they are published; any goroutine
	dirty      int                     // bytes that are not committed, about
}

// input is a partition that a task reads.
type input struct {
	kclient.TopicPartition
	job           *job
	next          int64 // offset up to which all has been added
	highWatermark int64
	paused        bool                     // not fetched until its task has worked some off
	held          int                      // bytes that the worker knows of
	outOfRange    *kclient.OutOfRangeError // its partition does not hold next; nil: it does
	topicID       kclient.TopicID
	cluster       string
	mark          mark // of the note beside its committed offset
}

// add gives the task what was fetched, which was asked for at a time of the worker's clock.
func (in *input) add(f *kclient.Fetched, asked int64) error {
	for _, b := range f.Batches {
		if err := in.job.task.Add(f.Topic, f.Partition, b); err != nil {
			return err
		}
	}
	in.next, in.highWatermark = f.Next, f.HighWatermark
	if err := in.job.task.Queues.Reached(f.Topic, f.Partition, f.Next, f.LastStable); err != nil || f.Next < f.LastStable {
		return err
	}
	return in.job.task.Queues.AtEnd(f.Topic, f.Partition, asked, asked)
}

func (in *input) buffered() (bytes, records int) {
	return in.job.task.Queues.Buffered(in.Topic, in.Partition)
}

// openJob makes a task.
func (o *opening) openJob(id TaskID) (*job, error) {
	a := o.app
	sub := a.topo.Subtopologies()[id.Subtopology]
	j := &job{
		id:        id,
		logOf:     map[string]kclient.TopicPartition{},
		positions: map[string]int64{},
		asked:     o.now,
		expiring:  map[string]*expiring{},
	}
	j.tx = state.NewTx(a.stateConfig(id))
	cfg := task.Config{
		ApplicationID: a.cfg.ApplicationID,
		ID:            task.ID{Subtopology: id.Subtopology, Partition: id.Partition},
		Subs:          []*topology.Subtopology{sub},
		Tx:            j.tx,
		Outbox:        o.outbox,
		Globals:       a.globals.rows(),
		Errors:        a.cfg.Errors,
		GaveUp:        o.warnings.gaveUp,
		Dropped:       o.warnings.dropped,
		Foreign:       o.warnings.foreign,
		OnLate:        o.warnings.untimely.dropped,
		OnAhead:       o.warnings.untimely.leads,
		MayName:       a.mayName,
		PassedOver:    o.warnings.passedOver,
		Exists:        a.layout().exists,
		MaxIdle:       a.cfg.MaxIdle,
		WallMillis:    o.now.UnixMilli(),
		Cut:           o.cut,
		Times:         o.times[id.Partition],
		Aligned:       a.layout().alignedTask(id),
	}
	for _, tp := range a.layout().inputs(sub, id.Partition) {
		start := o.starts[tp]
		cfg.Start = append(cfg.Start, task.Offset{
			Topic: tp.Topic, Partition: tp.Partition, Next: start.Next, Metadata: start.Metadata,
			Fresh: o.fresh[tp],
		})
		j.inputs = append(j.inputs, &input{
			TopicPartition: tp, job: j, next: start.Next,
			topicID: o.identity.Topics[tp.Topic], cluster: o.identity.Cluster, mark: o.markOf(tp),
		})
	}
	t, err := task.New(cfg)
	if err != nil {
		return nil, errors.Join(err, j.tx.Close())
	}
	j.task = t
	if t.LostTimes() {
		o.log.Warn("the progress topic lacks the times of the task's operators: it was deleted since they were committed. "+
			"They start over, and count no record as late before the next ones have come", "task", id.String(),
			"topic", a.noted.topic)
	}
	j.processing = activity{"processing task " + id.String(), t}
	j.flushing = activity{"committing task " + id.String(), t}
	if err = setOrigins(j.tx, o.origins[id]); err == nil {
		j.changelogs, err = t.Stores.Changelogs()
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	for _, c := range j.changelogs {
		if !c.Source {
			j.logOf[c.Store] = kclient.TopicPartition{Topic: c.Topic, Partition: c.Partition}
		}
	}
	return j, nil
}

// reached is the sum of the offsets up to which the stores are committed; 0 while the task is restored, when they are
// its restorer's.
func (j *job) reached() (sum int64) {
	if j.restoring != nil {
		return 0
	}
	for _, c := range j.changelogs {
		if at, ok, err := j.tx.Position(c.Store); ok && err == nil {
			sum += at
		}
	}
	return sum
}

// position tells how far each changelog has come with a commit: the offset after what was acknowledged, or -1.
func (j *job) position(acked map[kclient.TopicPartition]int64) func(store string) int64 {
	return func(store string) int64 {
		if tp, ok := j.logOf[store]; ok {
			if next, ok := acked[tp]; ok {
				return next
			}
		}
		return -1
	}
}

// restoredTo tells how far each store is.
func (j *job) restoredTo(store string) int64 {
	if position, ok := j.positions[store]; ok {
		return position
	}
	return -1
}

// next is the offset of the input's next record to process: the committed one, right after a commit or discard.
func (j *job) next(tp kclient.TopicPartition) int64 {
	for _, in := range j.task.Queues.Inputs() {
		if in.Topic == tp.Topic && in.Partition == tp.Partition {
			return in.Next
		}
	}
	return topology.Unknown
}

// close drops what is not committed and writes the rest to the engine.
func (j *job) close() error {
	var err error
	done := j.task.State() == task.Running && j.task.Untouched()
	if !done && j.tx.Failed() == nil { // else nothing can be opened again, and nothing is written either
		if err = j.task.Discard(); err != nil {
			err = fmt.Errorf("discard: %w", err)
		}
	}
	return joined(err, j.task.Close())
}
