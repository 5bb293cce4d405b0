package runtime

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"thalweg/internal/link"
	"thalweg/state/engine"
	"thalweg/topology"
)

// app is what an App is made of.
type app struct {
	topo     *topology.Topology
	cfg      Config
	machine  *machine
	hooks    *hookQueue
	claims   *claims
	stop     chan struct{} // closed: commit and leave
	stopOnce sync.Once
	done     chan struct{} // closed: nothing runs any more
	paused   atomic.Bool

	mu         sync.Mutex
	home       *home // while it runs
	layout     *layout
	control    *link.Link // while it runs
	workers    []*worker
	fills      []*fill
	views      map[*View]engine.Snapshot // open
	viewsEnded bool
	uneven     time.Time                     // since when the tasks are spread unevenly; zero: they are not
	held       map[TaskID]int64              // sum of changelog positions on disk, of tasks that are there
	purge      map[link.TopicPartition]int64 // committed offsets of repartition topics, since the last purge
	err        error
}

func (a *app) stateChanged(from, to State) {
	a.cfg.Logger.Info("application "+to.String(), "application", a.cfg.ApplicationID, "from", from.String())
	if f := a.cfg.Hooks.StateChanged; f != nil {
		a.hooks.add(func() { f(from, to) })
	}
}

func (a *app) Run(ctx context.Context) error {
	if err := a.machine.begin(); err != nil {
		return err
	}
	go a.hooks.run()
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		a.supervise(ctx, cancel)
	}()
	err := a.run(work)
	final := Closed
	if err != nil {
		final = Failed
		a.cfg.Logger.Error("application failed", "application", a.cfg.ApplicationID, "err", err)
	}
	a.mu.Lock()
	a.err = err
	a.mu.Unlock()
	a.shut()
	if moveErr := a.machine.end(final); moveErr != nil {
		err = errors.Join(err, moveErr)
	}
	close(a.done) // Close returns from here on; a hook may be waiting in it
	<-watching
	a.hooks.close()
	<-a.hooks.done
	return err
}

var errCloseTimeout = errors.New("runtime: not everything was committed within Config.CloseTimeout: the rest is " +
	"processed again at the next start")

// supervise turns the end of ctx into a graceful stop with a deadline.
func (a *app) supervise(ctx context.Context, cancel context.CancelCauseFunc) {
	select {
	case <-ctx.Done():
		a.shut()
	case <-a.stop:
	case <-a.done:
		return
	}
	timer := time.NewTimer(a.cfg.CloseTimeout)
	defer timer.Stop()
	select {
	case <-timer.C:
		cancel(errCloseTimeout)
	case <-a.done:
	}
}

// shut asks everything to commit and stop.
func (a *app) shut() {
	a.stopOnce.Do(func() {
		close(a.stop)
		a.machine.closing()
	})
}

func (a *app) Close(ctx context.Context) error {
	a.shut()
	if a.machine.closeUnstarted() {
		close(a.done)
		return nil
	}
	select {
	case <-a.done:
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.err
	case <-ctx.Done():
		return fmt.Errorf("runtime: close: still stopping: %w", context.Cause(ctx))
	}
}

func (a *app) Done() <-chan struct{} { return a.done }

func (a *app) State() State { return a.machine.get() }

func (a *app) WaitRunning(ctx context.Context) error {
	if err := a.machine.wait(ctx, Running); err != nil {
		return a.ended(err)
	}
	return nil
}

func (a *app) Pause() { a.setPaused(true) }

func (a *app) Resume() { a.setPaused(false) }

func (a *app) Paused() bool { return a.paused.Load() }

func (a *app) setPaused(paused bool) {
	a.paused.Store(paused)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.workers {
		w.poke()
	}
}

// run opens what the application needs and runs its workers.
func (a *app) run(ctx context.Context) (err error) {
	h, err := openHome(a.topo, a.cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	control, err := a.connect(ctx)
	if err != nil {
		return a.interrupted(err)
	}
	defer control.Close()
	starting, cancel := a.untilStop(ctx)
	lay, err := setup(starting, control, a.topo, a.cfg)
	cancel()
	if err != nil {
		return a.interrupted(err)
	}
	a.mu.Lock()
	a.home, a.layout, a.control = h, lay, control
	for i := range a.cfg.Workers {
		a.workers = append(a.workers, newWorker(a, i))
	}
	workers := a.workers
	a.mu.Unlock()
	defer func() { // before the engine is closed
		err = errors.Join(err, a.closeViews())
		a.mu.Lock()
		defer a.mu.Unlock()
		a.home, a.control = nil, nil
	}()
	if err = a.findHeld(); err != nil {
		return err
	}
	starting, cancel = a.untilStop(ctx)
	defer cancel()
	a.removePredecessor(starting, control)
	fills, err := a.openFills(starting, control)
	if err != nil {
		return a.interrupted(err)
	}
	defer func() { // after the workers, before the engine is closed
		for _, f := range fills {
			err = errors.Join(err, f.close())
		}
	}()
	cancel()
	return a.work(ctx, control, workers, fills)
}

// work runs the workers, which begin when the global stores are filled, and what looks after them. The first error
// stops all, each after its last commit.
func (a *app) work(ctx context.Context, control *link.Link, workers []*worker, fills []*fill) error {
	var running sync.WaitGroup
	finished := make(chan struct{})
	running.Go(func() { a.purgeEvery(ctx, control, finished) })
	running.Go(func() { a.watch(workers, finished) })
	var group errgroup.Group
	for _, f := range fills {
		group.Go(func() error {
			err := safely(func() error { return f.run(ctx, a.stop) })
			if err != nil {
				a.shut()
				return fmt.Errorf("global store %s: %w", f.name, err)
			}
			return nil
		})
	}
	for _, w := range workers {
		group.Go(func() error {
			if !a.filled(ctx, fills) {
				return nil
			}
			err := w.run(ctx, a.stop)
			if err != nil {
				a.shut()
				return fmt.Errorf("worker %d: %w", w.index, err)
			}
			return nil
		})
	}
	err := group.Wait()
	close(finished)
	running.Wait()
	return err
}

// connect opens the link for topics and purges. It waits for a broker that is not there yet.
func (a *app) connect(ctx context.Context) (*link.Link, error) {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	ctx, cancelTimeout := context.WithTimeout(ctx, a.cfg.StartTimeout)
	defer cancelTimeout()
	l, err := link.Open(ctx, a.linkConfig("control"))
	if err != nil {
		return nil, fmt.Errorf("runtime: connect (waited %v): %w", a.cfg.StartTimeout, err)
	}
	return l, nil
}

func (a *app) linkConfig(name string) link.Config {
	return link.Config{
		Seeds:              a.cfg.Seeds,
		Broker:             a.cfg.Broker,
		NoLocal:            a.cfg.NoLocal,
		Client:             franzOptions(a.cfg.ClientOptions),
		ClientID:           a.clientID(name),
		SessionTimeout:     a.cfg.SessionTimeout,
		TransactionTimeout: a.cfg.TransactionTimeout,
		RetryTimeout:       a.cfg.RetryTimeout,
		OpenTimeout:        a.cfg.StartTimeout,
		ReadUncommitted:    false,
		Logger:             a.cfg.Logger.With("application", a.cfg.ApplicationID, "link", name),
	}
}

// untilStop ends with ctx or when the application is asked to stop, for what is pointless then.
func (a *app) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	finished := make(chan struct{})
	go func() {
		select {
		case <-a.stop:
			cancel(context.Canceled)
		case <-finished:
		}
	}()
	return ctx, sync.OnceFunc(func() {
		close(finished)
		cancel(nil)
	})
}

// interrupted is nil for errors that come from being asked to stop.
func (a *app) interrupted(err error) error {
	select {
	case <-a.stop:
		if errors.Is(err, context.Canceled) {
			return nil
		}
	default:
	}
	return err
}

// purgeEvery deletes processed records from repartition topics.
func (a *app) purgeEvery(ctx context.Context, control *link.Link, finished <-chan struct{}) {
	ticker := time.NewTicker(a.cfg.PurgeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-finished:
			return
		}
		a.mu.Lock()
		due := a.purge
		a.purge = map[link.TopicPartition]int64{}
		a.mu.Unlock()
		if err := control.DeleteRecords(ctx, due); err != nil && ctx.Err() == nil {
			a.cfg.Logger.Warn("can't purge repartition topics: trying again later", "err", err)
			a.purgeLater(due)
		}
	}
}

// purgeLater notes committed offsets for the next purge.
func (a *app) purgeLater(committed map[link.TopicPartition]int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for tp, offset := range committed {
		a.purge[tp] = max(a.purge[tp], offset)
	}
}

// unevenMost is how long an uneven spread of tasks over the workers counts as a rebalance that is not over.
const unevenMost = 3 * time.Second

// refresh works out the application's state from those of its workers. The assignment is even, so a process whose
// workers have one task more or less than each other, or worse, is in the middle of one: the first worker to join a
// group gets everything, until the others have joined. Running is better said once than taken back.
func (a *app) refresh() {
	a.mu.Lock()
	defer a.mu.Unlock()
	settled, least, most := true, int32(math.MaxInt32), int32(0)
	for _, w := range a.workers {
		settled = settled && w.settled.Load()
		n := w.tasks.Load()
		least, most = min(least, n), max(most, n)
	}
	switch {
	case !settled:
		a.uneven = time.Time{}
	case most-least <= 1:
		a.uneven = time.Time{}
	case a.uneven.IsZero():
		a.uneven = time.Now()
		time.AfterFunc(unevenMost, a.refresh)
		settled = false
	case time.Since(a.uneven) < unevenMost:
		settled = false
	}
	if settled {
		a.machine.rest(Running)
	} else {
		a.machine.rest(Rebalancing)
	}
}
