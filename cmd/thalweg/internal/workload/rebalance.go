package workload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"thalweg/runtime"
)

const (
	rebalanceTasks     = 200
	rebalanceProcesses = 4
	rebalanceSession   = 10 * time.Second
	keysOfTask         = 50
	roundsPerSecond    = 50 // each task is sent records so often
	quietMax           = time.Second
	resultsMax         = time.Minute // for the last results to arrive
)

// Rebalance are what the rebalance workload measures.
type Rebalance struct {
	Processes     int     `json:"processes,omitempty"`
	Standbys      int     `json:"standbys,omitempty"`
	WarmupsMax    int     `json:"warmups_max,omitempty"`
	SessionMillis float64 `json:"session_ms,omitempty"`
	// Cores are what the application's processes, the broker, and sender and reader took before the first event.
	AppCores    float64      `json:"app_cores,omitempty"`
	BrokerCores float64      `json:"broker_cores,omitempty"`
	OwnCores    float64      `json:"own_cores,omitempty"`
	Standstills []Standstill `json:"standstills,omitempty"`
}

// Standstill says how long results stood still around an event: the time from when a record was due to when the reader
// had its result, the longest of each task.
type Standstill struct {
	Event        string  `json:"event"` // none, join, kill, close, restart
	Seconds      float64 `json:"s"`     // until the process ran, or had ended
	Kind         string  `json:"kind"`  // stayed, moved, or process: the tasks that the process had
	Tasks        int     `json:"tasks"`
	MedianMillis float64 `json:"median_ms"`
	MaxMillis    float64 `json:"max_ms"`
}

// rebalance runs an application in several processes, of which one joins, one is killed, one is closed and one is
// replaced, and measures how long the results of each key stand still meanwhile.
func (p *place) rebalance(ctx context.Context, o Options, r *Result) (err error) {
	o.Rate, o.Partitions = cmp.Or(o.Rate, 50_000), cmp.Or(o.Partitions, rebalanceTasks)
	o.Processes, o.Session = cmp.Or(o.Processes, rebalanceProcesses), cmp.Or(o.Session, rebalanceSession)
	const ending = 2 // one is killed, one is closed; one joins
	if o.Processes < ending {
		return fmt.Errorf("bench: rebalance with %d processes: use --processes %d or more", o.Processes, ending)
	}
	r.Partitions, r.PerSecond = o.Partitions, float64(o.Rate)
	r.Rebalance = Rebalance{
		Processes: o.Processes, Standbys: o.Standbys, WarmupsMax: o.WarmupsMax,
		SessionMillis: float64(o.Session.Microseconds()) / 1000,
	}
	name := "rebalance-" + uuid.NewString()[:8]
	defer func() { err = errors.Join(err, p.removeTopics(ctx, name)) }()
	if err := p.createAll(ctx, o.Partitions, name+"-in", name+"-out"); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	run := &rebalancing{
		p: p, o: o, name: name, g: g, observer: newObserver(int(o.Partitions), o.Guarantee == runtime.ExactlyOnce),
		stopSending: make(chan struct{}), sent: make(chan int, 1),
	}
	err = run.all(ctx, r)
	cancel()
	if waitErr := g.Wait(); waitErr != nil && !errors.Is(waitErr, context.Canceled) {
		err = waitErr // which ended the rest
	}
	return err
}

// rebalancing is a run of the rebalance workload.
type rebalancing struct {
	p        *place
	o        Options
	name     string
	g        *errgroup.Group
	observer *observer

	members     []*member // by their number; nil: it has ended
	stopSending chan struct{}
	sent        chan int // has the number of records once all are acknowledged
}

func (b *rebalancing) all(ctx context.Context, r *Result) error {
	starting, starts := errgroup.WithContext(ctx)
	b.members = make([]*member, b.o.Processes)
	for n := range b.members {
		starting.Go(func() (err error) {
			b.members[n], err = b.start(ctx, starts, n)
			return err
		})
	}
	if err := starting.Wait(); err != nil {
		return err
	}
	at := newSchedule(time.Now(), b.o)
	at.until = at.started + (100 * time.Hour).Microseconds() // it is stopped
	b.g.Go(func() error {
		n, err := b.p.sendAtRate(ctx, sender{
			topic: b.name + "-in", at: at, addr: evenly(int(b.o.Partitions), b.o.Rate), closed: b.stopSending,
		})
		b.sent <- n
		return err
	})
	b.g.Go(func() error { return b.p.follow(ctx, b.name+"-out", b.o.Partitions, b.observer) })
	err := pause(ctx, b.o.Warmup)
	for _, happens := range []func(context.Context, *Result) error{b.nothing, b.joins, b.killed, b.closed, b.replaced} {
		if err == nil {
			err = happens(ctx, r)
		}
	}
	if err != nil {
		return err
	}
	return b.finish(ctx, r)
}

// nothing measures what comes without an event.
func (b *rebalancing) nothing(ctx context.Context, r *Result) error {
	apps := func() (cpu time.Duration) {
		for _, m := range b.members {
			cpu += m.pid().cpu()
		}
		return cpu
	}
	since, app, broker := startClock(), apps(), b.p.server.cpu()
	err := b.event(ctx, "none", nobody, 0, func() error { return nil })
	took := since.spent()
	r.Rebalance.OwnCores = took.cpu / took.wall
	r.Rebalance.AppCores = (apps() - app).Seconds() / took.wall
	r.Rebalance.BrokerCores = (b.p.server.cpu() - broker).Seconds() / took.wall
	return err
}

func (b *rebalancing) joins(ctx context.Context, _ *Result) error {
	return b.event(ctx, "join", nobody, 0, func() error {
		m, err := b.start(ctx, ctx, len(b.members))
		b.members = append(b.members, m)
		return err
	})
}

func (b *rebalancing) killed(ctx context.Context, _ *Result) error {
	const number = 1
	return b.event(ctx, "kill", number, b.o.Session, b.members[number].kill)
}

func (b *rebalancing) closed(ctx context.Context, _ *Result) error {
	const number = 2
	return b.event(ctx, "close", number, 0, func() error { return b.members[number].end(ctx, leaveGroup) })
}

func (b *rebalancing) replaced(ctx context.Context, _ *Result) error {
	const number = 0
	return b.event(ctx, "restart", number, 0, func() (err error) {
		if err = b.members[number].end(ctx, keepMembership); err == nil {
			b.members[number], err = b.start(ctx, ctx, number)
		}
		return err
	})
}

// event lets something happen and waits: for what is noticed first, and then for the measured time.
func (b *rebalancing) event(ctx context.Context, name string, of int, noticed time.Duration, do func() error) error {
	e := b.observer.begin(name, of)
	if err := pause(ctx, min(quietMax, b.o.Measure/4)); err != nil { // what is due before is not held up
		return err
	}
	began := time.Now()
	if err := do(); err != nil {
		return err
	}
	e.took = time.Since(began)
	return pause(ctx, noticed+b.o.Measure)
}

// finish waits for the last results and compares them with what was sent.
func (b *rebalancing) finish(ctx context.Context, r *Result) error {
	b.observer.end()
	close(b.stopSending)
	var sent int
	select {
	case sent = <-b.sent:
	case <-ctx.Done():
		return ctx.Err()
	}
	waiting, cancel := context.WithTimeout(ctx, resultsMax)
	defer cancel()
	err := b.observer.await(waiting, sent)
	if err != nil && ctx.Err() != nil {
		return err
	}
	for _, m := range b.members {
		err = errors.Join(err, m.end(ctx, leaveGroup))
	}
	if err != nil {
		return err
	}
	r.Records = int64(sent)
	r.Rebalance.Standstills, err = b.observer.standstills()
	if err != nil {
		return err
	}
	r.Checked, err = b.observer.check(sent)
	return err
}

// evenly sends each task some records in turns, so that each key gets one at a steady rate.
func evenly(tasks, rate int) func(n int) (int32, []byte) {
	run := min(max(rate/roundsPerSecond/tasks, 1), keysOfTask)
	return func(n int) (int32, []byte) {
		task, round := n/run%tasks, n/run/tasks
		key := task*keysOfTask + (round*run+n%run)%keysOfTask
		return int32(task), strconv.AppendInt(nil, int64(key), 10)
	}
}
