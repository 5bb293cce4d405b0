package runtime

import (
	"context"
	"maps"
	"sync/atomic"
	"time"

	"thalweg/internal/align"
	"thalweg/internal/kclient"
	"thalweg/internal/task"
)

// How often cuts are taken while a task waits for one: after each commit, and five times a second at most. Where
// nothing has moved since the last cut, the next one says nothing new until something does. A commit in this process,
// and a record that a waiting task takes, show that something does. What another process does without them is looked
// for less often the longer nothing has moved.
const (
	cutLeast = 200 * time.Millisecond
	cutMost  = 2 * time.Second
)

// aligner takes cuts for the tasks of this process, while one of them waits for its time to go on: see package align.
type aligner struct {
	asked  chan struct{} // has a token when a task waits
	news   chan struct{} // has a token when something has moved in this process
	within atomic.Int64  // milliseconds: by when a task needs the next cut at the latest; 0: none does
	taken  atomic.Pointer[cuts]
	stalls stalls // run's
}

// cuts are the last ones.
type cuts struct {
	*align.Taken
	began time.Time
}

// ask asks for a cut for a task that waits for one, and tells whether the task has moved. Any goroutine may.
func (l *aligner) ask(t *task.Aligning, moved bool) {
	if within := t.Within(); within > 0 {
		for old := l.within.Load(); old == 0 || within < old; old = l.within.Load() {
			if l.within.CompareAndSwap(old, within) {
				break
			}
		}
	}
	offer(l.asked)
	if moved {
		offer(l.news)
	}
}

// committed notes that something was. Any goroutine may.
func (l *aligner) committed() { offer(l.news) }

func offer(token chan<- struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}

func (l *aligner) run(ctx context.Context, a *app, client *kclient.Client, finished <-chan struct{}) {
	ctx, cancel := until(ctx, finished)
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	least := max(cutLeast, a.cfg.CommitInterval)
	most := max(least, min(cutMost, a.cfg.Alignment.Timeout/4))
	for wait := least; ; {
		select {
		case <-l.asked:
		case <-finished:
			return
		}
		select {
		case <-l.news: // this cut shows it
		default:
		}
		if wait = min(2*wait, most); l.take(ctx, a, client) {
			wait = least
		}
		atLeast, atMost := least, wait
		if within := time.Duration(l.within.Swap(0)) * time.Millisecond; within > 0 {
			atLeast, atMost = min(atLeast, max(within, cutLeast)), min(atMost, max(within, cutLeast))
		}
		timer.Reset(atLeast)
		select {
		case <-timer.C:
		case <-finished:
			return
		}
		timer.Reset(atMost - atLeast)
		select {
		case <-timer.C:
		case <-l.news:
			wait = least
		case <-finished:
			return
		}
	}
}

// take takes a cut for all tasks, and tells whether anything has moved since the last one.
func (l *aligner) take(ctx context.Context, a *app, client *kclient.Client) (moved bool) {
	plan := a.layout().aligned
	if plan == nil {
		return false
	}
	began := time.Now()
	taken, err := plan.Take(newCutLog(ctx, a.cfg.ApplicationID, client), l.stalls.leftOut)
	if err != nil {
		if ctx.Err() == nil {
			a.cfg.Logger.Warn("can't find out how far the tasks before a repartition are: trying again", "application",
				a.cfg.ApplicationID, "err", err)
			offer(l.asked)
		}
		return false
	}
	last := l.taken.Load()
	moved = last == nil || !maps.Equal(last.Waiting, taken.Waiting) || !sameCuts(last.Taken, taken)
	l.stalls.note(a, taken.Waiting)
	l.taken.Store(&cuts{taken, began})
	a.pokeWorkers()
	return moved
}

func sameCuts(a, b *align.Taken) bool {
	return maps.EqualFunc(a.Cuts, b.Cuts, func(a, b *align.Cut) bool {
		return a.Time == b.Time && a.Exhausted == b.Exhausted && maps.Equal(a.Ends, b.Ends)
	})
}

// alignedTask is how a task aligns; nil: it does not.
func (l *layout) alignedTask(id TaskID) *task.Aligned {
	r := l.aligned.Reader(id.Subtopology)
	if r == nil {
		return nil
	}
	return &task.Aligned{Repartitions: r.Repartitions, Held: r.Held}
}

// give gives the last cuts to a worker's tasks that wait for one. The worker calls it.
func (l *aligner) give(w *worker) {
	taken := l.taken.Load()
	if taken == w.cuts {
		return
	}
	w.cuts = taken
	plan := w.app.layout().aligned
	for _, j := range w.jobs.running {
		cut := taken.Cuts[j.id.Subtopology]
		j.heldBack = nil
		if cut == nil || !j.task.Aligning.WaitsForTime() {
			continue
		}
		if !cut.Exhausted {
			j.heldBack = heldBackBy(w.app, cut)
		}
		if r := plan.Reader(j.id.Subtopology); r != nil {
			g := r.Goal(cut, j.id.Partition)
			g.At = w.inputs.millis(taken.began)
			j.task.Aligning.Align(g)
			w.turns.wake(j)
		}
	}
}

// heldBackBy says who holds the time of a cut back.
func heldBackBy(a *app, c *align.Cut) *HeldBack {
	h := &HeldBack{Task: a.taskOf(c.By), Topic: c.By.Topic, Partition: c.By.Number}
	if c.Time != align.Unknown {
		h.Time = time.UnixMilli(c.Time)
	}
	return h
}

// cutLog is what cuts are made of.
type cutLog struct {
	list  func(tps []kclient.TopicPartition, at int64, committed bool) (map[kclient.TopicPartition]int64, error)
	fetch func(tps []kclient.TopicPartition) (map[kclient.TopicPartition]kclient.Offset, error)
}

func newCutLog(ctx context.Context, application string, c *kclient.Client) cutLog {
	return cutLog{
		func(tps []kclient.TopicPartition, at int64, committed bool) (map[kclient.TopicPartition]int64, error) {
			return c.ListOffsets(ctx, tps, at, committed)
		},
		func(tps []kclient.TopicPartition) (map[kclient.TopicPartition]kclient.Offset, error) {
			return c.OffsetsOf(ctx, application, tps, false)
		},
	}
}

func (l cutLog) Ends(tps []align.Partition) (map[align.Partition]int64, error) {
	return l.offsets(tps, kclient.Latest, true)
}

func (l cutLog) Begins(tps []align.Partition) (map[align.Partition]int64, error) {
	return l.offsets(tps, kclient.Earliest, false)
}

func (l cutLog) HighWatermarks(tps []align.Partition) (map[align.Partition]int64, error) {
	return l.offsets(tps, kclient.Latest, false)
}

func (l cutLog) offsets(tps []align.Partition, at int64, committed bool) (map[align.Partition]int64, error) {
	if len(tps) == 0 {
		return map[align.Partition]int64{}, nil
	}
	found, err := l.list(topicPartitions(tps), at, committed)
	offsets := make(map[align.Partition]int64, len(found))
	for tp, offset := range found {
		offsets[align.Partition{Topic: tp.Topic, Number: tp.Partition}] = offset
	}
	return offsets, err
}

func (l cutLog) Committed(tps []align.Partition) (map[align.Partition]align.Committed, error) {
	found, err := l.fetch(topicPartitions(tps))
	all := make(map[align.Partition]align.Committed, len(found))
	for tp, o := range found {
		all[align.Partition{Topic: tp.Topic, Number: tp.Partition}] = task.Committed(task.Offset{
			Topic: tp.Topic, Partition: tp.Partition, Next: o.Next, Metadata: o.Metadata,
		})
	}
	return all, err
}

func topicPartitions(tps []align.Partition) []kclient.TopicPartition {
	all := make([]kclient.TopicPartition, len(tps))
	for i, tp := range tps {
		all[i] = kclient.TopicPartition{Topic: tp.Topic, Partition: tp.Number}
	}
	return all
}
