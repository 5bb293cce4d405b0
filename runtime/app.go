package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"thalweg/internal/kclient"
	"thalweg/topology"
)

// app is what an App is made of.
type app struct {
	topo       *topology.Topology
	cfg        Config
	reserved   map[string]string // topics that are its own, by durable name
	machine    *machine
	hooks      *hookQueue
	dispatcher *dispatcher
	stop       chan struct{} // closed: commit and leave
	stopOnce   sync.Once
	done       chan struct{} // closed: nothing runs any more
	paused     atomic.Bool
	restorers  *restorers
	retention  *retention
	standbys   *standbys
	shape      atomic.Pointer[layout] // while it runs
	growing    sync.Mutex             // what replaces shape
	times      keptTimes
	views      views
	balance    balance
	globals    globals
	purger     purger
	aligner    aligner

	mu        sync.Mutex
	home      *home                // while it runs
	noted     *progressTopic       // what the application has listed; while it runs
	control   *kclient.Client      // while it runs
	workers   []*worker            // by index
	pastNodes map[string]NodeStats // of workers that were taken away
	err       error
}

func (a *app) stateChanged(from, to State) {
	a.cfg.Logger.Info("application "+to.String(), "application", a.cfg.ApplicationID, "from", from.String())
	if f := a.cfg.Hooks.StateChanged; f != nil {
		a.hooks.add(func() { f(from, to) })
	}
}

func (a *app) begin() error { return a.machine.begin() }

// runBegun is Run after begin.
func (a *app) runBegun(ctx context.Context) error {
	go a.hooks.run()
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	e := ending{app: a, late: make(chan struct{}), over: make(chan struct{})}
	var supervising sync.WaitGroup
	supervising.Go(func() { e.supervise(ctx, cancel) })
	err := e.runInTime(work)
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
	if hookErr := e.endHooks(); hookErr != nil {
		err = errors.Join(err, hookErr)
	}
	close(e.over)
	supervising.Wait()
	return err
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

func (a *app) Suspend(ctx context.Context) error {
	if a.cfg.Instance == "" {
		return errors.New("runtime: suspend: the group can keep the tasks only of a process that it would know again: set " +
			"Config.Instance, or use Close")
	}
	a.dispatcher.suspends.Store(true)
	return a.Close(ctx)
}

func (a *app) Done() <-chan struct{} { return a.done }

func (a *app) State() State { return a.machine.get() }

func (a *app) WaitRunning(ctx context.Context) error {
	if err := a.machine.wait(ctx, Running); err != nil {
		return a.ended(ctx, err)
	}
	return nil
}

func (a *app) Pause() { a.setPaused(true) }

func (a *app) Resume() { a.setPaused(false) }

func (a *app) Paused() bool { return a.paused.Load() }

func (a *app) setPaused(paused bool) {
	a.paused.Store(paused)
	a.restorers.toggle()
	a.pokeWorkers()
}

// run opens what the application needs and runs its workers.
func (a *app) run(ctx context.Context) (err error) {
	portions, err := newPortions(a.topo, a.cfg)
	if err != nil {
		return err
	}
	defer portions.leave()
	h, err := openHome(a.topo, a.cfg, portions)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, h.stopWaiting)()
	defer func() { err = joined(err, h.close()) }()
	control, err := a.connect(ctx)
	if err != nil {
		return a.interrupted(err)
	}
	defer control.Close()
	starting, cancel := a.untilStop(ctx)
	lay, noted, err := setup(starting, control, a.topo, h, a.cfg)
	cancel()
	if err != nil {
		return a.interrupted(err)
	}
	a.mu.Lock()
	a.home, a.noted, a.control = h, noted, control
	a.shape.Store(lay)
	a.mu.Unlock()
	defer func() { // before the engine is closed
		err = joined(err, a.views.closeAll())
		a.mu.Lock()
		defer a.mu.Unlock()
		a.home, a.control = nil, nil
	}()
	if err = a.balance.findHeld(); err != nil {
		return err
	}
	starting, cancel = a.untilStop(ctx)
	defer cancel()
	h.removePredecessor(starting, control, &a.cfg)
	fills, err := a.globals.open(starting, control)
	if err != nil {
		return a.interrupted(err)
	}
	defer func() { // after the workers, before the engine is closed
		for _, f := range fills {
			err = joined(err, f.close())
		}
	}()
	cancel()
	return a.work(ctx, control, fills)
}

// work runs the workers, which begin when the global stores are filled, and what looks after them. The first error
// stops all, each after its last commit.
func (a *app) work(ctx context.Context, control *kclient.Client, fills []*fill) error {
	var running sync.WaitGroup
	finished := make(chan struct{})
	running.Go(func() { a.purger.run(ctx, control, finished) })
	running.Go(func() { a.aligner.run(ctx, a, control, finished) })
	running.Go(func() { a.retention.run(finished) })
	running.Go(func() { a.standbys.run(ctx, a.stop) })
	running.Go(func() { a.watch(finished) })
	running.Go(func() {
		if a.globals.wait(ctx, fills) {
			a.dispatcher.tellWait(ctx, control, finished)
		}
	})
	var group errgroup.Group
	for _, f := range fills {
		group.Go(func() error {
			f.active.Store(true)
			defer f.active.Store(false)
			err := safely(func() error { return f.run(ctx, a.stop) })
			if err != nil {
				a.shut()
				return fmt.Errorf("global store %s: %w", f.name, err)
			}
			return nil
		})
	}
	group.Go(func() error {
		if !a.globals.wait(ctx, fills) {
			return nil
		}
		err := safely(func() error { return a.dispatcher.run(ctx) })
		if err != nil {
			a.shut()
		}
		return err
	})
	err := group.Wait()
	a.restorers.done.Wait()
	close(finished)
	running.Wait()
	return err
}

// connect opens the client for topics and purges. It waits for a broker that is not there yet.
func (a *app) connect(ctx context.Context) (*kclient.Client, error) {
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	ctx, cancelTimeout := context.WithTimeout(ctx, a.cfg.StartTimeout)
	defer cancelTimeout()
	l, err := kclient.Open(ctx, a.clientConfig("control"))
	if err != nil {
		return nil, unreachable(fmt.Errorf("runtime: connect (waited %v): %w", a.cfg.StartTimeout, err))
	}
	return l, nil
}

func (a *app) clientConfig(name string) kclient.Config {
	return kclient.Config{
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
		Logger:             a.cfg.Logger.With("application", a.cfg.ApplicationID, "client", name),
	}
}

// untilStop ends with ctx or when the application is asked to stop, for what is pointless then.
func (a *app) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	return until(ctx, a.stop)
}

// until returns a context that ends with ctx or when end is closed.
func until(ctx context.Context, end <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-end:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// interrupted is nil for errors that come from being asked to stop.
func (a *app) interrupted(err error) error {
	if a.isStopped() && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// isStopped tells whether the application was asked to stop.
func (a *app) isStopped() bool {
	select {
	case <-a.stop:
		return true
	default:
		return false
	}
}
