package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"thalweg/internal/kclient"
	"thalweg/internal/task"
)

// idleMost is how long a worker without work sleeps at most.
const idleMost = time.Second

// skippedAfter is when a commit is due for offsets that moved though nothing was processed: over control records, or
// records that were dropped.
const skippedAfter = time.Second

// errStop ends a worker's loop: the application is to stop.
var errStop = errors.New("runtime: stopping")

// worker runs tasks on one goroutine, with one client and one transaction. Fields without a comment about it belong to
// that goroutine.
type worker struct {
	app   *app
	index int
	log   *slog.Logger
	asks  chan chan error // for checkpoints; answered by the worker
	inbox *inbox          // any goroutine

	gone     chan struct{} // closed when it has ended
	started  bool          // it takes orders; the dispatcher's goroutine
	retired  bool          // it was told to end; the dispatcher's goroutine
	liveness liveness

	client *kclient.Client
	outbox *task.Outbox
	timer  *time.Timer

	lease  kclient.Lease // under which it has its tasks
	orders orders

	jobs     jobs
	restores restores
	inputs   *inputs
	strays   strays
	cuts     *cuts // that its tasks have
	memory   *workerMemory

	turns      turns
	processing *processing
	deadline   *deadline // of the turn
	slow       slowCalls

	commits     *committer
	pace        *pace
	checkpoints checkpoints
	proofs      proofs
	search      search // for a record that the broker refuses
	backOff     backOff

	figures  *publisher
	notices  notices
	warnings *warnings
}

func newWorker(a *app, index int) *worker {
	log := a.cfg.Logger.With("application", a.cfg.ApplicationID, "worker", index)
	w := &worker{
		app:         a,
		index:       index,
		log:         log,
		asks:        make(chan chan error),
		inbox:       newInbox(),
		gone:        make(chan struct{}),
		turns:       turns{maxIdle: a.cfg.MaxIdle},
		deadline:    newDeadline(),
		pace:        newPace(a.cfg.CommitInterval),
		checkpoints: checkpoints{every: a.cfg.State.CheckpointInterval, purger: &a.purger},
		figures:     newPublisher(index),
		notices:     notices{app: a, log: log, worker: index},
		warnings:    newWarnings(log, a.cfg.Clock),
	}
	w.restores.app, w.restores.log, w.restores.inbox = a, log, w.inbox
	w.slow.pace = w.pace
	if a.cfg.Guarantee == ExactlyOnce {
		w.slow.timeout = a.cfg.TransactionTimeout
	}
	w.search = search{app: a, warnings: w.warnings, turns: &w.turns}
	w.commits = newCommitter(w)
	w.proofs = proofs{app: a, log: log, jobs: &w.jobs, touched: &w.commits.touched, checkpoints: &w.checkpoints}
	w.processing = &processing{
		app: a, liveness: &w.liveness, jobs: &w.jobs, turns: &w.turns, search: &w.search, commits: w.commits, pace: w.pace,
		slow: &w.slow, deadline: w.deadline,
	}
	return w
}

// run works until stop, then commits and leaves the group. ctx ends what can't wait any longer.
func (w *worker) run(ctx context.Context, stop <-chan struct{}) (err error) {
	if err := w.connect(ctx); err != nil {
		return w.app.interrupted(err)
	}
	w.timer = time.NewTimer(idleMost)
	defer w.timer.Stop()
	defer func() { err = joined(err, w.close()) }()
	w.notices.report(workerReady, TaskID{}, nil)
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

// turn is one round of the loop: end a commit that is made, take what has arrived, process some of it, send what is
// full, begin a commit when it is due, and sleep when there was nothing of all that.
func (w *worker) turn(ctx context.Context, stop <-chan struct{}) error {
	now := w.app.cfg.Clock()
	if err := w.commits.poll(ctx); err != nil {
		return err
	}
	if !w.commits.underWay { // a commit that does not end is no progress, whatever else is done
		w.liveness.beat(now)
	}
	took, err := w.take(ctx, stop, now)
	if err != nil {
		return err
	}
	if err := w.ready(ctx, now); err != nil {
		return err
	}
	if w.commits.due(now) {
		return w.commits.next(ctx, now)
	}
	worked, now, err := w.processing.work(ctx, now)
	if err != nil {
		return err
	}
	if err := w.commits.sendFull(ctx); err != nil {
		return err
	}
	if w.commits.due(now) {
		return w.commits.next(ctx, now)
	}
	if err := w.tidy(ctx, now); err != nil {
		return err
	}
	if took || worked {
		return nil
	}
	return w.wait(ctx, stop, now)
}

// ready makes tasks ready that can go on: those that are restored, wait for a time, are to be opened, or miss their
// next record.
func (w *worker) ready(ctx context.Context, now time.Time) error {
	if err := w.takeRestored(); err != nil {
		return err
	}
	w.app.aligner.give(w)
	if len(w.orders.opens) > 0 {
		if err := w.openTasks(ctx, now); err != nil {
			return err
		}
	}
	return w.strays.returnAll(ctx, now)
}

// tidy keeps what is committed from waiting in memory, and the memory within its limit.
func (w *worker) tidy(ctx context.Context, now time.Time) error {
	if err := w.checkpoints.due(now); err != nil {
		return err
	}
	if err := w.proofs.renew(ctx, now); err != nil {
		return err
	}
	w.memory.update()
	return w.memory.relieve(w.jobs.running)
}

// take handles everything that has arrived, without waiting.
func (w *worker) take(ctx context.Context, stop <-chan struct{}, now time.Time) (took bool, err error) {
	w.liveness.doing(&doingTake)
	select {
	case <-stop:
		return false, errStop
	default:
	}
	if took, err = w.obey(ctx, stop); err != nil {
		return took, err
	}
	for ; ; took = true {
		select {
		case <-stop: // goes before what has arrived
			return took, errStop
		default:
		}
		select {
		case fetched := <-w.inputs.fetched(w.processing.progress || w.commits.underWay):
			err = w.add(fetched, now)
		case <-w.client.Produced():
			w.commits.recycle()
		case done := <-w.commits.asks():
			err = w.answer(done)
		default:
			return took, nil
		}
		if err != nil {
			return took, err
		}
	}
}

// add gives what was fetched to the tasks.
func (w *worker) add(fetched []kclient.Fetched, now time.Time) error {
	for i := range fetched {
		j, ready, err := w.inputs.add(&fetched[i])
		if err != nil {
			return err
		}
		if j == nil {
			continue
		}
		w.commits.noteMoved(j, now)
		w.figures.note(j)
		if ready {
			w.turns.wake(j)
		}
	}
	return nil
}

// wait sleeps until something arrives or is due.
func (w *worker) wait(ctx context.Context, stop <-chan struct{}, now time.Time) error {
	w.liveness.doing(&doingWait)
	if w.commits.underWay {
		w.liveness.doing(&doingCommit)
	}
	w.publish(now, false)
	w.timer.Reset(w.sleep(now))
	if !w.commits.blocks() {
		defer func() { w.commits.waited += w.app.cfg.Clock().Sub(now) }()
	}
	select {
	case <-w.timer.C:
		return nil
	case <-w.commits.flight.done:
		return nil
	case <-w.inbox.wake:
		return nil
	case <-stop:
		return errStop
	case <-ctx.Done():
		return context.Cause(ctx)
	case fetched := <-w.inputs.fetched(w.processing.progress || w.commits.underWay):
		return w.add(fetched, w.app.cfg.Clock())
	case <-w.client.Produced():
		w.commits.recycle()
		return nil
	case done := <-w.commits.asks():
		return w.answer(done)
	}
}

// publish makes the figures available, and says what has come together that is out of time.
func (w *worker) publish(now time.Time, force bool) {
	if w.figures.publish(now, force, &w.jobs, w.pace.interval()) {
		w.warnings.untimely.say(now)
	}
}

// answer writes what is committed to the engine for somebody who waits for it.
func (w *worker) answer(done chan<- error) error {
	err := w.checkpoints.write()
	done <- err
	return err
}

// sleep is the time to whatever is due next.
func (w *worker) sleep(now time.Time) time.Duration {
	d := min(idleMost, max(w.app.cfg.StallTimeout/4, time.Millisecond), w.turns.patience())
	until := func(t time.Time) { d = min(d, max(t.Sub(now), 0)) }
	if at, ok := w.commits.dueAt(); ok {
		until(at)
	}
	if at, ok := w.checkpoints.dueAt(); ok {
		until(at)
	}
	if !w.app.paused.Load() && !w.commits.blocks() {
		if at, ok := w.turns.dueAt(); ok {
			until(at)
		}
	}
	return d
}

func (w *worker) connect(ctx context.Context) error {
	a := w.app
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	cfg := a.clientConfig(fmt.Sprintf("worker-%d", w.index))
	cfg.Known, cfg.Member = a.connection(), a.dispatcher.place
	if a.cfg.Guarantee == ExactlyOnce {
		cfg.TransactionalID = fmt.Sprintf("%s-%s-%d", a.cfg.ApplicationID, a.home.process, w.index)
	}
	cfg.FetchBytesMax, cfg.ProduceBytesMax = a.home.memory.fetchBytes(), a.home.memory.produceBytes()
	cfg.FetchPartitionBytesMax = fetchPartitionBytes
	opening, cancelOpening := context.WithTimeout(ctx, a.cfg.StartTimeout)
	defer cancelOpening()
	l, err := kclient.Open(opening, cfg)
	if err != nil {
		return err
	}
	w.client, w.proofs.client = l, l
	out := task.OutboxConfig{
		Partitions:     w.partitionsOf,
		BatchBytes:     a.cfg.Limits.BatchBytes,
		RecordMaxBytes: a.cfg.Limits.RecordBytesMax,
		Compression:    a.cfg.Compression.codec(),
		BytesMax:       a.home.memory.outboxBytes(),
		Last:           a.layout().changelogsLast(a.cfg.Guarantee),
	}
	w.outbox, w.commits.times = task.NewOutbox(out), task.NewOutbox(out)
	w.inputs = newInputs(a.home.memory, l.Fetcher())
	w.processing.outbox, w.processing.inputs = w.outbox, w.inputs
	if len(a.topo.Globals()) > 0 {
		w.processing.visit.gate = &a.globals.gate
	}
	w.memory = &workerMemory{limits: a.home.memory, client: l, outbox: w.outbox}
	w.strays = strays{app: a, client: l, log: w.log, jobs: &w.jobs, inputs: w.inputs, commits: w.commits}
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
	return w.client.Partitions(ctx, topic)
}
