package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"thalweg/internal/kclient"
	"thalweg/internal/task"
)

// stepRecords is how many records a task may process before the worker looks at what else there is to do.
const stepRecords = 4096

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

	gone    chan struct{}            // closed when it has ended
	started bool                     // it takes orders; the dispatcher's goroutine
	retired bool                     // it was told to end; the dispatcher's goroutine
	active  atomic.Bool              // its loop runs; any goroutine
	beaten  atomic.Int64             // milliseconds: the last turn of the loop; any goroutine
	now     atomic.Pointer[activity] // what it does; nil: it has no client yet; any goroutine

	client *kclient.Client
	outbox *task.Outbox
	timer  *time.Timer

	lease       kclient.Lease            // under which it has its tasks
	opens       map[TaskID]kclient.Lease // tasks that it is to open
	drops       []TaskID                 // that are lost, and not closed yet
	releases    []TaskID                 // that are to be given back
	suspensions suspensions
	retiring    bool // it is to end

	jobs     jobs
	restores restores
	inputs   *inputs
	strays   strays
	cuts     *cuts // that its tasks have
	memory   *workerMemory

	turns    turns
	deadline *deadline // of the turn
	slow     slowCalls
	visit    visit
	progress bool // something was processed in the last turn

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
		opens:       map[TaskID]kclient.Lease{},
		turns:       turns{maxIdle: a.cfg.MaxIdle},
		deadline:    newDeadline(),
		pace:        newPace(a.cfg.CommitEvery),
		checkpoints: checkpoints{every: a.cfg.CheckpointEvery, purger: &a.purger},
		figures:     newPublisher(index),
		notices:     notices{app: a, log: log, worker: index},
		warnings:    newWarnings(log, a.cfg.Clock),
	}
	w.restores.app, w.restores.log, w.restores.inbox = a, log, w.inbox
	w.slow.pace = w.pace
	if a.cfg.Guarantee == ExactlyOnce {
		w.slow.timeout = a.cfg.TransactionTimeout
	}
	if len(a.topo.Globals()) > 0 {
		w.visit.gate = &a.globals.gate
	}
	w.search = search{app: a, warnings: w.warnings, turns: &w.turns}
	w.commits = newCommitter(w)
	w.proofs = proofs{app: a, log: log, jobs: &w.jobs, touched: &w.commits.touched, checkpoints: &w.checkpoints}
	w.suspensions.worker = w
	return w
}

func (w *worker) doing(what *activity) { w.now.Store(what) }

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
		BatchBytes:     a.cfg.BatchBytes,
		RecordMaxBytes: a.cfg.RecordBytesMax,
		Compression:    a.cfg.Compression.codec(),
		BytesMax:       a.home.memory.outboxBytes(),
	}
	w.outbox, w.commits.times = task.NewOutbox(out), task.NewOutbox(out)
	w.inputs = newInputs(a.home.memory, l.Fetcher())
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

var (
	doingWait    = activity{what: "waiting for something to do"}
	doingTake    = activity{what: "taking what was fetched"}
	doingCommit  = activity{what: "committing"}
	doingProduce = activity{what: "producing"}
	doingOpen    = activity{what: "opening tasks"}
	doingRewind  = activity{what: "going back to the last commit"}
	doingLeave   = activity{what: "ending"}
)

// turn is one round of the loop: end a commit that is made, take what has arrived, process some of it, send what is
// full, begin a commit when it is due, and sleep when there was nothing of all that.
func (w *worker) turn(ctx context.Context, stop <-chan struct{}) error {
	now := w.app.cfg.Clock()
	if err := w.commits.poll(ctx); err != nil {
		return err
	}
	if !w.commits.underWay { // a commit that does not end is no progress, whatever else is done
		w.beaten.Store(now.UnixMilli())
	}
	took, err := w.take(ctx, stop, now)
	if err != nil {
		return err
	}
	if err := w.takeRestored(); err != nil {
		return err
	}
	w.app.aligner.give(w)
	if len(w.opens) > 0 {
		if err := w.openTasks(ctx, now); err != nil {
			return err
		}
	}
	if err := w.strays.returnAll(ctx, now); err != nil {
		return err
	}
	if w.commits.due(now) {
		return w.commits.next(ctx, now)
	}
	worked, err := w.work(ctx, now)
	if worked || err != nil {
		began := now
		now = w.app.cfg.Clock()
		w.slow.took(now.Sub(began))
	}
	if err != nil {
		return err
	}
	if err := w.commits.sendFull(ctx); err != nil {
		return err
	}
	if w.commits.due(now) {
		return w.commits.next(ctx, now)
	}
	if err := w.checkpoints.due(now); err != nil {
		return err
	}
	if err := w.proofs.renew(ctx, now); err != nil {
		return err
	}
	w.memory.update()
	if err := w.memory.relieve(w.jobs.running); err != nil {
		return err
	}
	if took || worked {
		return nil
	}
	return w.wait(ctx, stop, now)
}

// work lets tasks process until the turn's time is over, and tells whether they did.
func (w *worker) work(ctx context.Context, now time.Time) (worked bool, err error) {
	w.progress = false
	inside, err := w.visit.enter(func() error { return w.commits.commitRest(ctx, now) })
	if err != nil || !inside {
		return false, err
	}
	w.deadline.set(w.commits.turnTime(now))
	retried, err := w.retry(ctx, now)
	if w.commits.flight.hasEnded() { // maybe before the flag was reset
		w.deadline.passed.Store(true)
	}
	if err == nil && !(retried && w.deadline.passed.Load()) && !w.commits.blocks() {
		w.progress, err = w.process(now)
	}
	return retried || w.progress, err
}

// take handles everything that has arrived, without waiting.
func (w *worker) take(ctx context.Context, stop <-chan struct{}, now time.Time) (took bool, err error) {
	w.doing(&doingTake)
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
		case fetched := <-w.inputs.fetched(w.progress || w.commits.underWay):
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
	w.doing(&doingWait)
	if w.commits.underWay {
		w.doing(&doingCommit)
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
	case fetched := <-w.inputs.fetched(w.progress || w.commits.underWay):
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
	d := min(idleMost, max(w.app.cfg.StallAfter/4, time.Millisecond), w.turns.patience())
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

// process lets tasks work for a while, all of them unless some are suspected of what the broker refuses. It reports
// whether any record was processed.
func (w *worker) process(now time.Time) (processed bool, err error) {
	if w.app.paused.Load() {
		return false, nil
	}
	if !w.search.active() {
		return w.step(now)
	}
	if !w.commits.open.IsZero() { // a commit is due
		return false, nil
	}
	for range len(w.search.suspects) + 1 {
		if p := w.search.next(); p == nil {
			processed, err = w.step(now)
		} else if w.jobs.runs(p.job) {
			processed, err = w.stepSuspect(p, now)
		}
		if processed || err != nil {
			break
		}
	}
	return processed, err
}

// step lets the tasks that are ready have their turns, about one each, until the turn's time is over. Suspects have
// transactions of their own.
func (w *worker) step(now time.Time) (processed bool, err error) {
	w.turns.ring(now, w.jobs.running)
	wall := now.UnixMilli()
	defer w.turns.putBack()
	for range w.turns.schedule.count {
		if processed && w.deadline.passed.Load() {
			break
		}
		most := w.pace.left(w.search.records)
		if most == 0 || w.commits.underWay && w.outbox.Crowded() {
			break // a commit is due
		}
		j, others := w.turns.schedule.next()
		if j == nil {
			break
		}
		if w.search.of(j) != nil {
			w.turns.putAside(j)
			continue
		}
		budget := stepRecords
		if others {
			budget = smallTurn
		}
		worked, left, err := w.stepTask(j, min(budget, most), wall)
		if err != nil {
			return processed, err
		}
		if worked {
			processed = true
			w.commits.workedOn(j, now)
		} else {
			w.commits.noteMoved(j, now) // over records that were dropped
		}
		switch {
		case left && worked:
			w.turns.wake(j)
		case left:
			w.turns.putAside(j)
		}
	}
	return processed, nil
}

// stepTask lets a task process records, and then call what is due by the wall clock. left tells that it has more.
func (w *worker) stepTask(j *job, budget int, wall int64) (worked, left bool, err error) {
	first := w.commits.touched.add(j)
	w.doing(&j.processing)
	if err := w.inputs.atEnd(j); err != nil {
		return false, true, err
	}
	n, err := j.task.Step(budget, wall)
	w.search.processed(j, n, false)
	if err != nil {
		return n > 0, true, err
	}
	fired, err := j.task.Punctuate(wall)
	if err != nil {
		return n > 0, true, err
	}
	w.turns.called(j)
	if j.task.Aligning.WaitsForTime() {
		w.app.aligner.ask()
	}
	if worked = n > 0 || fired || j.task.Aligning.TookTime(); first && !worked && !j.task.Unsealed() {
		w.commits.touched.undo(j)
	}
	return worked, w.inputs.relax(j), nil
}

// stepSuspect lets a suspect work for one transaction. A punctuation has one of its own: it is part of no record.
func (w *worker) stepSuspect(p *suspect, now time.Time) (processed bool, err error) {
	w.commits.touched.add(p.job)
	w.doing(&p.job.processing)
	if processed, err = p.job.task.Punctuate(now.UnixMilli()); err == nil && !processed {
		var n int
		n, err = p.job.task.Step(min(p.most, w.pace.left(0)), now.UnixMilli())
		w.search.processed(p.job, n, false)
		processed = n > 0
	}
	w.turns.called(p.job)
	if processed && err == nil {
		w.commits.workedOn(p.job, now)
	}
	if w.inputs.relax(p.job) {
		w.turns.wake(p.job)
	}
	return processed, err
}
