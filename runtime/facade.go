package runtime

import (
	"context"
	"errors"
	"fmt"

	"thalweg/internal/kclient"
	"thalweg/internal/memory"
	"thalweg/state"
	"thalweg/topology"
)

// App is an application in this process. Its methods may be called from any goroutine.
//
// What it is made of is behind an interface: a package that mentions an App would otherwise compile what the machinery
// has of generic types.
type App struct{ in application }

type application interface {
	begin() error
	runBegun(ctx context.Context) error
	Close(ctx context.Context) error
	Suspend(ctx context.Context) error
	Done() <-chan struct{}
	Pause()
	Resume()
	Paused() bool
	State() State
	Stats() Stats
	Processes(ctx context.Context) ([]Process, error)
	View(store state.Store, options ...ViewOption) (*View, error)
	Checkpoint(ctx context.Context) error
	SetWorkers(n int) error
	WaitRunning(ctx context.Context) error
	WaitCaughtUp(ctx context.Context) error
}

// New checks what can be checked without a broker. Nothing is opened before Run.
func New(topo *topology.Topology, cfg Config) (*App, error) {
	if topo == nil {
		return nil, errors.New("runtime: no topology: build it first")
	}
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := cfg.Errors.CheckFor(topo, cfg.ApplicationID); err != nil {
		return nil, fmt.Errorf("runtime: config: %w", err)
	}
	for _, s := range topo.Subtopologies() {
		if len(s.Inputs) == 0 {
			return nil, fmt.Errorf("runtime: sub-topology %d has no source: nothing would ever reach its nodes", s.ID)
		}
	}
	names := reserved(topo, cfg.ApplicationID)
	if err := checkReserved(topo, cfg, names); err != nil {
		return nil, fmt.Errorf("runtime: %w", err)
	}
	if err := memory.Check(memoryRequest(topo, cfg)); err != nil {
		return nil, fmt.Errorf("runtime: config: %w", err)
	}
	if err := checkStateDir(topo, cfg); err != nil {
		return nil, err
	}
	for _, w := range topo.Warnings() {
		cfg.Logger.Warn("the topology may be wrong: "+w, "application", cfg.ApplicationID)
	}
	a := &app{
		topo:     topo,
		cfg:      cfg,
		reserved: names,
		hooks:    newHookQueue(cfg.Logger),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		aligner:  aligner{asked: make(chan struct{}, 1), news: make(chan struct{}, 1)},

		pastNodes: map[string]NodeStats{},
	}
	a.balance = balance{app: a, held: map[TaskID]int64{}}
	a.globals = globals{app: a}
	a.views = views{app: a, open: map[*View]bool{}}
	a.purger = purger{
		app: a, processed: map[kclient.TopicPartition]int64{}, expiries: map[kclient.TopicPartition]expired{},
	}
	linked := a.clientConfig("check")
	linked.Group = cfg.ApplicationID
	if err := linked.Check(); err != nil {
		return nil, fmt.Errorf("runtime: config: %w", err)
	}
	a.restorers, a.retention, a.standbys, a.dispatcher = newRestorers(a), newRetention(a), newStandbys(a), newDispatcher(a)
	a.machine = newMachine(a.stateChanged)
	return &App{a}, nil
}

// Run works until ctx ends or Close is called, then commits, leaves the group and returns nil. It returns an error
// when something failed that a retry cannot cure: of one of the kinds [ErrUnreachable], [ErrTopicMissing],
// [ErrTopicShape], [ErrNoOffset], [ErrOtherTopology], [ErrFenced], [ErrStateInUse], [ErrStateUnusable], and
// [ErrTimeout], a topology.ProcessingError where the program fails for a record, or the cause of another failure. It
// can be called once.
//
// When ctx ends, Run goes on for up to Config.CloseTimeout to commit what is under way. It returns then, whatever the
// program's functions do.
func (a *App) Run(ctx context.Context) error {
	if err := a.in.begin(); err != nil {
		return err
	}
	return a.in.runBegun(ctx)
}

// RunDuring runs the application while work does, and closes it then: for tests, examples and work in batches. The
// context of work ends when the application fails, whose error is then returned, or when ctx does.
func (a *App) RunDuring(ctx context.Context, work func(context.Context) error) error {
	if err := a.in.begin(); err != nil { // before work, which may be over at once
		return err
	}
	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ran := make(chan error, 1)
	go func() {
		err := a.in.runBegun(ctx)
		if err != nil {
			cancel(err) // there is nothing to wait for
		}
		ran <- err
	}()
	err := work(working)
	err = errors.Join(err, a.Close(context.WithoutCancel(ctx)))
	if failed := <-ran; failed != nil {
		return failed
	}
	return err
}

// Close stops the application as the end of Run's context does, and waits for it, at most until ctx ends. It returns
// the error that Run returns. It may be called from a hook.
func (a *App) Close(ctx context.Context) error { return a.in.Close(ctx) }

// Suspend stops the application like Close, and does not leave the group: it commits, closes its files, and keeps its
// tasks from other processes until Config.SessionTimeout is over. A process that starts by then with the same
// Config.Instance and state directory goes on with them: no task moves, and nothing is restored. So a program can be
// replaced process by process. In the middle of a rebalance that moves tasks from here it leaves all the same. It needs
// Config.Instance: without one it returns an error and stops nothing.
func (a *App) Suspend(ctx context.Context) error { return a.in.Suspend(ctx) }

// Done is closed when nothing of the application runs any more, except for calls that Config.CloseTimeout has cut off.
func (a *App) Done() <-chan struct{} { return a.in.Done() }

// Pause stops processing, punctuation and restore. The process stays in the group and keeps its tasks.
func (a *App) Pause() { a.in.Pause() }

// Resume undoes Pause.
func (a *App) Resume() { a.in.Resume() }

// Paused tells whether the application is paused.
func (a *App) Paused() bool { return a.in.Paused() }

// State is where the application is at the moment.
func (a *App) State() State { return a.in.State() }

// Stats returns the latest figures.
func (a *App) Stats() Stats { return a.in.Stats() }

// Processes says which process of the application has which tasks, as the leader of the group wrote it down when it
// last balanced. It may be behind for a moment, and tasks that move from one process to another are in none.
func (a *App) Processes(ctx context.Context) ([]Process, error) { return a.in.Processes(ctx) }

// View looks at a store's rows on disk, never at a task, so that queries and tasks do not wait for each other. It is
// behind the last commit by Config.State.CheckpointInterval at most, and longer while the next commit waits for a
// broker that does not answer; Checkpoint closes the gap. Rows of an aborted transaction are never seen. What is not
// here yet, or in another process, is an error that wraps [ErrRestoring] or [ErrNotHere]; with [AcceptStandby] the
// view also reads the copies that this process keeps of other processes' state. A store that is in memory alone can't
// be viewed.
func (a *App) View(store state.Store, options ...ViewOption) (*View, error) {
	return a.in.View(store, options...)
}

// Checkpoint makes all workers of this process write what they have committed to the engine, where views see it.
func (a *App) Checkpoint(ctx context.Context) error { return a.in.Checkpoint(ctx) }

// SetWorkers changes how many tasks this process works on at the same time, see Config.Workers, and returns at once:
// WaitRunning waits until it has come about. The process moves tasks between its workers by itself, each at a commit.
// The group does not notice. It takes the new number into account when it assigns tasks the next time. An error says
// that the process can't have so many workers, or has ended ([ErrClosed]).
func (a *App) SetWorkers(n int) error { return a.in.SetWorkers(n) }

// WaitRunning returns nil once every task that this process was given is processed and none moves between its workers
// any more, and an error when the application ends or ctx does: the application's error, where it has one, and
// otherwise [ErrClosed].
func (a *App) WaitRunning(ctx context.Context) error { return a.in.WaitRunning(ctx) }

// WaitCaughtUp waits until everything that the input topics hold now, those of global tables among them, is processed
// and committed, with all that follows from it in the application's own topics, by this process and by others of the
// same application. Records that arrive later are not waited for, unless they get into a topic that the application
// both reads and writes. Written records count even while readers cannot see them yet (acks=0, or acks=1 on a cluster).
// WaitCaughtUp returns early with the application's error when the application ends.
func (a *App) WaitCaughtUp(ctx context.Context) error { return a.in.WaitCaughtUp(ctx) }
