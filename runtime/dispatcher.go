package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"thalweg/internal/kclient"
	"thalweg/internal/memory"
	"thalweg/internal/tasks"
)

// dispatcher is the process towards the group, of which it is one member, and towards its workers. The group assigns
// tasks to the process. The dispatcher's goroutine tells workers which of them to open and which to give back, as
// internal/tasks decides, and hears what has come of it. Orders and reports are queued: neither side waits for the
// other.
type dispatcher struct {
	app     *app
	log     *slog.Logger
	wake    chan struct{} // has a token when there is something to look at
	leaving atomic.Bool   // the group

	suspends atomic.Bool // it ends without leaving the group

	place *kclient.Member // of the process, joined or not; while it runs

	mu      sync.Mutex
	desired int             // workers
	ended   bool            // there are no workers any more
	reports []report        // not looked at yet
	member  *kclient.Member // place, when it has joined
	tasks   *tasks.Set
	membership
	given    given
	troubles map[TaskID]*taskTrouble

	// The rest belongs to the dispatcher's goroutine.
	workers  map[int]*worker // whose goroutines have not ended
	running  sync.WaitGroup
	returned []returned
	adopting bool      // what was assigned is not given to internal/tasks yet
	adoptAt  time.Time // not before
	adopts   int       // that failed, in a row
	stopping bool
	sparing  sparing
	looked   time.Time // whether there is something to complain of
	err      error
}

// report is what a worker says.
type report struct {
	worker int
	kind   reportKind
	task   TaskID
	err    error
}

type reportKind uint8

const (
	workerReady reportKind = iota // it takes orders
	taskRuns
	taskSuspended
	taskClosed  // err: why, where nobody asked for that
	workerEnded // err: why, where it was not asked to
)

func newDispatcher(a *app) *dispatcher {
	d := &dispatcher{
		app: a, log: a.cfg.Logger.With("application", a.cfg.ApplicationID), wake: make(chan struct{}, 1),
		desired: a.cfg.Workers, tasks: tasks.New(0), membership: newMembership(), given: newGiven(),
		troubles: map[TaskID]*taskTrouble{},
		workers:  map[int]*worker{},
	}
	d.tasks.Moved = d.moved
	return d
}

// poke makes the dispatcher look whether there is something to do.
func (d *dispatcher) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// report queues what a worker says.
func (d *dispatcher) report(r report) {
	d.mu.Lock()
	d.reports = append(d.reports, r)
	d.mu.Unlock()
	d.poke()
}

// run works until the application is to stop and no worker is left, and leaves the group then.
func (d *dispatcher) run(ctx context.Context) error {
	defer d.end()
	if err := d.prepare(); err != nil {
		d.app.shut()
		return err
	}
	timer := time.NewTimer(idleMost)
	defer timer.Stop()
	stop := d.app.stop
	for {
		if d.takeReports() && d.stopping {
			d.running.Wait()
			return d.err
		}
		if err := d.step(ctx); err != nil {
			d.fail(err)
		}
		timer.Reset(d.sleep())
		var events <-chan kclient.Event
		if d.member != nil {
			events = d.member.Events()
		}
		select {
		case <-stop:
			stop = nil
			d.stop()
		case e := <-events:
			if err := d.event(e); err != nil {
				d.fail(err)
			}
		case <-d.wake:
		case <-timer.C:
		}
	}
}

// end leaves the group, or keeps the place in it.
func (d *dispatcher) end() {
	d.mu.Lock()
	d.ended = true
	m := d.member
	d.mu.Unlock()
	if m != nil {
		d.leaving.Store(true)
		endMembership(m, d.suspends.Load())
		d.leaving.Store(false)
	}
}

// rejoin has the group balanced again.
func (d *dispatcher) rejoin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.member != nil && !d.ended {
		d.member.Rejoin()
	}
}

// cutOff leaves the group while workers have not ended.
func (d *dispatcher) cutOff() {
	d.mu.Lock()
	m := d.member
	d.mu.Unlock()
	if m != nil {
		endMembership(m, d.suspends.Load())
	}
}

// fail ends the application with an error. The first one counts.
func (d *dispatcher) fail(err error) {
	if d.err == nil {
		d.err = explained(d.app, err)
	}
	d.app.shut()
	if !d.stopping {
		d.stop()
	}
}

// stop lets the workers close their tasks by themselves: they see that the application is to stop.
func (d *dispatcher) stop() {
	d.stopping = true
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tasks.Stop()
}

// takeReports looks at what the workers have said, and tells whether none of them is left.
func (d *dispatcher) takeReports() (alone bool) {
	d.mu.Lock()
	reports := d.reports
	d.reports = nil
	d.mu.Unlock()
	for _, r := range reports {
		if err := d.take(r); err != nil {
			d.fail(err)
		}
	}
	return len(d.workers) == 0
}

func (d *dispatcher) take(r report) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r.kind {
	case workerReady:
		d.workers[r.worker].started = true
	case taskRuns:
		d.tasks.Ran(r.worker, managed(r.task))
		delete(d.troubles, r.task)
	case taskSuspended:
		d.tasks.Suspended(r.worker, managed(r.task))
	case taskClosed:
		d.app.standbys.release(r.task)
		d.tasks.Closed(r.worker, managed(r.task), d.tryAgain(r.task, r.err))
	case workerEnded:
		w := d.workers[r.worker]
		delete(d.workers, r.worker)
		d.tasks.Ended(r.worker)
		if r.err != nil {
			return fmt.Errorf("worker %d: %w", r.worker, r.err)
		}
		if !w.retired && !d.app.isStopped() {
			return fmt.Errorf("worker %d: has ended, and was not asked to", r.worker)
		}
	}
	return nil
}

// step brings about what is wanted now, as far as nobody has to be waited for.
func (d *dispatcher) step(ctx context.Context) error {
	if refusal := d.app.balance.refusal.Load(); refusal != nil && !d.stopping {
		return *refusal
	}
	if !d.stopping {
		if err := d.resize(ctx); err != nil {
			return err
		}
		if err := d.adopt(ctx); err != nil {
			return err
		}
	}
	now := time.Now()
	d.giveOrders(now)
	d.giveBack(now)
	d.repay()
	d.refresh()
	return nil
}

// resize begins and ends workers until there are as many as wanted, and joins the group when all are ready.
func (d *dispatcher) resize(ctx context.Context) error {
	d.mu.Lock()
	n := d.desired
	started := 0
	for started < n && d.workers[started] != nil && d.workers[started].started && !d.workers[started].retired {
		started++
	}
	if started == n || n < d.tasks.Workers() { // those that are added get tasks when all of them are ready
		d.tasks.SetWorkers(n)
	}
	var over []*worker
	for i, w := range d.workers {
		if i >= n && !w.retired && w.started && !d.tasks.Has(i) {
			w.retired = true
			over = append(over, w)
		}
	}
	member := d.member
	d.mu.Unlock()
	for _, w := range over {
		w.inbox.give(order{retire: true})
	}
	for i := range n {
		if d.workers[i] == nil {
			d.startWorker(ctx, i)
		}
	}
	if member != nil || started < n {
		return nil
	}
	return d.join(ctx)
}

// startWorker starts a worker.
func (d *dispatcher) startWorker(ctx context.Context, index int) {
	a := d.app
	w := newWorker(a, index)
	d.workers[index] = w
	a.addWorker(w)
	w.liveness.active.Store(true)
	d.running.Go(func() {
		err := w.run(ctx, a.stop)
		w.liveness.active.Store(false)
		close(w.gone)
		if w.orders.retire && err == nil {
			a.removeWorker(w)
		}
		d.report(report{worker: index, kind: workerEnded, err: err})
	})
}

// prepare makes the membership that the workers' clients name.
func (d *dispatcher) prepare() (err error) {
	a := d.app
	cfg := a.clientConfig("member")
	if cfg.InstanceID = a.cfg.Instance; cfg.InstanceID != "" {
		cfg.ClientID = a.clientID("member-" + thisProcess())
	}
	cfg.Known, cfg.Group, cfg.Topics = a.connection(), a.cfg.ApplicationID, a.layout().topics()
	cfg.Balancer = kclient.NewBalancer(a.balance.config())
	d.place, err = kclient.NewMember(cfg)
	return err
}

// join makes the process a member of the group. Its workers are ready, so that nothing that the group assigns waits.
func (d *dispatcher) join(ctx context.Context) error {
	if err := d.place.Join(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.member = d.place
	return nil
}

// refresh works out the application's state. The group has said what the process gets, and all of that is processed.
func (d *dispatcher) refresh() {
	d.mu.Lock()
	settled := !d.adopting && d.settled() && d.tasks.Settled() && d.tasks.Workers() == d.desired
	if settled {
		d.app.machine.rest(Running)
	} else {
		d.app.machine.rest(Rebalancing)
	}
	d.mu.Unlock()
	if settled {
		return
	}
	if now := time.Now(); now.Sub(d.looked) >= idleMost {
		d.looked = now
		d.complain(now)
	}
}

// sleep is the time to whatever is due next.
func (d *dispatcher) sleep() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	pause := idleMost
	if at, ok := d.tasks.Next(); ok {
		pause = min(pause, max(time.Until(at), 0))
	}
	for _, r := range d.returned {
		pause = min(pause, max(time.Until(r.until), 0))
	}
	if d.adopting && !d.stopping {
		pause = min(pause, max(time.Until(d.adoptAt), 0))
	}
	return pause
}

// errWorkers says what SetWorkers takes.
var errWorkers = fmt.Errorf("runtime: set workers: from 1 to %d", workersMost)

func (a *app) SetWorkers(n int) error {
	if n < 1 || n > workersMost {
		return fmt.Errorf("%w, and not %d", errWorkers, n)
	}
	cfg := a.cfg
	cfg.Workers = n
	if err := memory.Check(memoryRequest(a.topo, cfg)); err != nil {
		return fmt.Errorf("runtime: set workers to %d: %w", n, err)
	}
	d := a.dispatcher
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended || a.State().Terminal() {
		return fmt.Errorf("runtime: set workers: %w", errEnded)
	}
	if d.desired != n {
		d.desired = n
		a.machine.rest(Rebalancing) // before anybody waits for it to run
		d.poke()
	}
	return nil
}

// wanted is how many workers there are to be.
func (d *dispatcher) wanted() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.desired
}

// addWorker makes a worker known to those who look at all of them.
func (a *app) addWorker(w *worker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	workers := append(slices.Clone(a.workers), w) // others look at what they have got
	slices.SortFunc(workers, func(a, b *worker) int { return a.index - b.index })
	a.workers = workers
	a.home.memory.addWorkers(1)
}

// removeWorker keeps what a worker that was taken away has counted.
func (a *app) removeWorker(w *worker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.workers = slices.DeleteFunc(slices.Clone(a.workers), func(o *worker) bool { return o == w })
	if p := w.figures.box.p.Load(); p != nil {
		for _, n := range p.nodes {
			addNode(a.pastNodes, n)
		}
	}
	a.home.memory.addWorkers(-1)
}
