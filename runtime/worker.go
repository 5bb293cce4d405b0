package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"thalweg/internal/link"
	"thalweg/internal/task"
)

// stepRecords is how many records a task may process before the worker looks at what else there is to do.
const stepRecords = 4096

// idleMost is how long a worker without work sleeps at most.
const idleMost = time.Second

// skippedAfter is when a commit is due for offsets that moved over control records alone.
const skippedAfter = time.Second

// errStop ends a worker's loop: the application is to stop.
var errStop = errors.New("runtime: stopping")

// worker runs tasks on one goroutine, with one link and one transaction. Fields without a comment about it belong to
// that goroutine.
type worker struct {
	app   *app
	index int
	log   *slog.Logger
	asks  chan chan error // for checkpoints; answered by the worker
	wake  chan struct{}   // has a token when something outside of the link changed

	tasks   atomic.Int32           // how many it has, when it is settled; any goroutine
	settled atomic.Bool            // given its tasks, and all of them run; any goroutine
	beaten  atomic.Int64           // milliseconds: the last turn of the loop; any goroutine
	now     atomic.Pointer[string] // what it does; any goroutine
	stats   statsBox               // what it has published; any goroutine

	link     *link.Link
	restorer *link.Fetcher // nil while nothing is restored
	outbox   *task.Outbox
	joined   bool                         // the group has answered
	assigned map[link.TopicPartition]bool // by the group
	pending  bool                         // there may be tasks to open
	jobs     map[TaskID]*job
	running  []*job // in the order of their ids
	inputs   map[link.TopicPartition]*input
	restores map[link.TopicPartition]*restore
	timer    *time.Timer

	pace       *pace
	open       time.Time                     // of the first uncommitted work; zero: there is none
	skipped    time.Time                     // of the first uncommitted move over control records alone
	rested     time.Time                     // end of the last commit
	waited     time.Duration                 // since then, for something to do
	unchecked  time.Time                     // of the first commit that is not yet checkpointed; zero: there is none
	search     search                        // for a record that the broker refuses
	failures   int                           // in a row, without a commit between
	acked      map[link.TopicPartition]int64 // next offsets of what was produced since the last commit
	produced   []link.Item                   // scratch
	items      []link.Item                   // scratch
	offsets    []link.Offset                 // scratch
	totalNodes map[string]NodeStats          // of tasks that are closed
	counts     WorkerStats
	published  time.Time
	usedAt     time.Time // of the last note of which tasks are kept up
}

func newWorker(a *app, index int) *worker {
	return &worker{
		app:        a,
		index:      index,
		log:        a.cfg.Logger.With("application", a.cfg.ApplicationID, "worker", index),
		asks:       make(chan chan error),
		wake:       make(chan struct{}, 1),
		assigned:   map[link.TopicPartition]bool{},
		jobs:       map[TaskID]*job{},
		inputs:     map[link.TopicPartition]*input{},
		restores:   map[link.TopicPartition]*restore{},
		pace:       newPace(a.cfg.CommitEvery),
		acked:      map[link.TopicPartition]int64{},
		totalNodes: map[string]NodeStats{},
		counts:     WorkerStats{Worker: index},
	}
}

// poke wakes the worker.
func (w *worker) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) doing(what *string) { w.now.Store(what) }

// activity is what the worker does at the moment.
func (w *worker) activity() string {
	if what := w.now.Load(); what != nil {
		return *what
	}
	return "starting"
}

// run works until stop, then commits and leaves the group. ctx ends what can't wait any longer.
func (w *worker) run(ctx context.Context, stop <-chan struct{}) (err error) {
	if err := w.connect(ctx); err != nil {
		return w.app.interrupted(err)
	}
	w.timer = time.NewTimer(idleMost)
	defer w.timer.Stop()
	defer func() { err = errors.Join(err, w.close()) }()
	for {
		err := safely(func() error { return w.turn(ctx, stop) })
		if errors.Is(err, errStop) {
			return safely(func() error { return w.finish(ctx) })
		}
		if err == nil {
			continue
		}
		if err := safely(func() error { return w.heal(ctx, stop, err) }); err != nil {
			return w.app.interrupted(err)
		}
	}
}

func (w *worker) connect(ctx context.Context) error {
	a := w.app
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	cfg := a.linkConfig(fmt.Sprintf("worker-%d", w.index))
	cfg.Group, cfg.Topics = a.cfg.ApplicationID, a.layout.topics()
	cfg.Balancer = link.NewBalancer(a.balancing())
	if a.cfg.Guarantee == ExactlyOnce {
		cfg.TransactionalID = fmt.Sprintf("%s-%s-%d", a.cfg.ApplicationID, a.home.process, w.index)
	}
	cfg.FetchBytesMax = int(min(8<<20, max(a.cfg.BufferedBytesMax/int64(2*a.cfg.Workers), 1<<16)))
	cfg.FetchPartitionBytesMax = min(fetchPartitionBytes, cfg.FetchBytesMax)
	opening, cancelOpening := context.WithTimeout(ctx, a.cfg.StartTimeout)
	defer cancelOpening()
	l, err := link.Open(opening, cfg)
	if err != nil {
		return err
	}
	w.link = l
	w.outbox = task.NewOutbox(task.OutboxConfig{
		Partitions:     w.partitionsOf,
		BatchBytes:     a.cfg.BatchBytes,
		RecordMaxBytes: a.cfg.RecordBytesMax,
		Compression:    a.cfg.Compression.codec(),
	})
	if err := l.InitProducer(ctx); err != nil {
		l.Close()
		return err
	}
	return nil
}

// partitionsOf looks a topic up for a sink, which can't wait long.
func (w *worker) partitionsOf(topic string) (int32, error) {
	ctx, cancel := context.WithTimeout(context.Background(), w.app.cfg.StartTimeout)
	defer cancel()
	return w.link.Partitions(ctx, topic)
}

var (
	doingWait    = "waiting for something to do"
	doingTake    = "taking what was fetched"
	doingCommit  = "committing"
	doingProduce = "producing"
	doingOpen    = "opening tasks"
	doingRewind  = "going back to the last commit"
)

// turn is one round of the loop: take what has arrived, process some of it, send what is full, commit when it is due,
// and sleep when there was nothing of all that.
func (w *worker) turn(ctx context.Context, stop <-chan struct{}) error {
	now := w.app.cfg.Clock()
	w.beaten.Store(now.UnixMilli())
	took, err := w.take(ctx, stop, now)
	if err != nil {
		return err
	}
	if w.pending {
		if err := w.openTasks(ctx, now); err != nil {
			return err
		}
	}
	retried, err := w.retry(ctx, now)
	if err != nil {
		return err
	}
	processed, err := w.process(now)
	if err != nil {
		return err
	}
	if err := w.send(ctx, w.outbox.Full()); err != nil {
		return err
	}
	if w.due(now) {
		return w.commit(ctx, now)
	}
	if err := w.checkpoint(now); err != nil {
		return err
	}
	if took || processed || retried {
		return nil
	}
	return w.wait(ctx, stop, now)
}

// take handles everything that has arrived, without waiting.
func (w *worker) take(ctx context.Context, stop <-chan struct{}, now time.Time) (took bool, err error) {
	w.doing(&doingTake)
	for ; ; took = true {
		select {
		case <-stop: // goes before what has arrived
			return took, errStop
		default:
		}
		select {
		case e := <-w.link.Events():
			err = w.event(ctx, stop, e)
		case fetched := <-w.link.Fetcher().Fetched():
			err = w.add(fetched, now)
		case fetched := <-w.restored():
			err = w.restore(fetched, now)
		case <-w.link.Produced():
			w.recycle()
		case done := <-w.asks:
			err = w.answer(done, now)
		default:
			return took, nil
		}
		if err != nil {
			return took, err
		}
	}
}

// wait sleeps until something arrives or is due.
func (w *worker) wait(ctx context.Context, stop <-chan struct{}, now time.Time) error {
	w.doing(&doingWait)
	w.publish(now, false)
	w.timer.Reset(w.sleep(now))
	defer func() { w.waited += w.app.cfg.Clock().Sub(now) }()
	select {
	case <-w.timer.C:
		return nil
	case <-w.wake:
		return nil
	case <-stop:
		return errStop
	case <-ctx.Done():
		return context.Cause(ctx)
	case e := <-w.link.Events():
		return w.event(ctx, stop, e)
	case fetched := <-w.link.Fetcher().Fetched():
		return w.add(fetched, w.app.cfg.Clock())
	case fetched := <-w.restored():
		return w.restore(fetched, w.app.cfg.Clock())
	case <-w.link.Produced():
		w.recycle()
		return nil
	case done := <-w.asks:
		return w.answer(done, now)
	}
}

// answer writes what is committed to the engine for somebody who waits for it.
func (w *worker) answer(done chan<- error, now time.Time) error {
	err := w.checkpointAll(now)
	done <- err
	return err
}

// sleep is the time to whatever is due next.
func (w *worker) sleep(now time.Time) time.Duration {
	d := min(idleMost, max(w.app.cfg.StallAfter/4, time.Millisecond))
	until := func(t time.Time) { d = min(d, max(t.Sub(now), 0)) }
	if !w.open.IsZero() {
		until(w.open.Add(w.pace.interval()))
	}
	if !w.skipped.IsZero() {
		until(w.skipped.Add(skippedAfter))
	}
	if !w.unchecked.IsZero() {
		until(w.unchecked.Add(w.app.cfg.CheckpointEvery))
	}
	if !w.app.paused.Load() {
		for _, j := range w.running {
			if next, ok := j.task.NextWallPunctuation(); ok {
				until(time.UnixMilli(next))
			}
			if next, ok := j.task.NextRetry(); ok {
				until(time.UnixMilli(next))
			}
		}
	}
	return d
}

// process lets each task work for a while. It reports whether any record was processed.
func (w *worker) process(now time.Time) (processed bool, err error) {
	if w.app.paused.Load() {
		return false, nil
	}
	wall := now.UnixMilli()
	for _, j := range w.running {
		budget := w.search.budget()
		if budget == 0 {
			break // a commit is due
		}
		w.doing(&j.doing)
		n, err := j.task.Step(budget, wall)
		w.search.processed(j, n)
		if err != nil {
			return processed, err
		}
		fired := false
		if budget > 1 { // of a single record a punctuation is no part
			if fired, err = j.task.Punctuate(wall); err != nil {
				return processed, err
			}
		}
		if n > 0 || fired {
			processed = true
			w.worked(now)
		}
		w.relax(j)
	}
	return processed, nil
}

// worked notes that there is something to commit.
func (w *worker) worked(now time.Time) {
	if w.open.IsZero() {
		w.open = now
	}
}

// send produces batches: in the open transaction under exactly-once.
func (w *worker) send(ctx context.Context, packets []*task.Packet) error {
	if len(packets) == 0 {
		return nil
	}
	w.doing(&doingProduce)
	items := w.items[:0]
	for _, p := range packets {
		tp := link.TopicPartition{Topic: p.Topic, Partition: p.Partition}
		items = append(items, link.Item{TopicPartition: tp, Builder: p.Builder})
	}
	w.items = items
	return w.link.Produce(ctx, items) // what it does not take is left to the collector
}

// recycle takes back what was produced and remembers how far each partition has come.
func (w *worker) recycle() {
	w.produced = w.link.TakeProduced(w.produced[:0])
	for i := range w.produced {
		it := &w.produced[i]
		if it.Err == nil && it.Next >= 0 { // without an offset the store keeps its older position: more to restore
			w.acked[it.TopicPartition] = it.Next
		}
		w.outbox.Recycle(&task.Packet{Builder: it.Builder})
	}
	clear(w.produced)
}
