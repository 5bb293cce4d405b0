package workload

import (
	"context"
	"errors"
	"runtime/pprof"
	"time"

	"github.com/google/uuid"

	"thalweg/runtime"
	"thalweg/stream"
)

// tasksSet is the data set of the tasks workload: all keys go through a repartition topic.
const tasksSet = "many-1"

// tasksPartitionsMax is how many partitions the embedded broker takes: four topics have as many as the input.
const tasksPartitionsMax = 100_000

// tasksStartMax is how long a cluster may take to make thousands of partitions.
const tasksStartMax = 5 * time.Minute

// Tasks are what the tasks workload measures, beside rates.
type Tasks struct {
	StartSeconds    float64 `json:"start_s,omitempty"`     // until the application runs
	StartCPUSeconds float64 `json:"start_cpu_s,omitempty"` // of this process meanwhile
	IdleCores       float64 `json:"idle_cores,omitempty"`  // share of a core when there is nothing to do
	IdleRSSMiB      float64 `json:"idle_rss_mib,omitempty"`
	CloseSeconds    float64 `json:"close_s,omitempty"`
}

// throughRepartition counts per key behind a repartition topic.
func throughRepartition(p program) {
	p.stream[string, []byte](0).
		SelectKey(func(key string, _ []byte) string { return key }).
		Repartition("again").
		GroupByKey().
		Count(counted).
		ToStream().
		To(stream.NewTopic[string, int64](p.out))
}

// tasks runs an application with two tasks for each partition of its input: it starts, is idle, works and closes.
func (p *place) tasks(ctx context.Context, o Options, r *Result) (err error) {
	set, err := p.encode(ctx, tasksSet, o.Records, o.variant())
	if err != nil {
		return err
	}
	r.Partitions, r.Records, r.Topics = set.set.Partitions, int64(set.records), []string{set.topic}
	id := set.topic + "-tasks-" + uuid.NewString()[:8]
	defer func() { err = errors.Join(err, p.deleteOwn(ctx, set), p.removeTopics(ctx, id)) }()
	if _, err := p.create(ctx, id+"-out", r.Partitions); err != nil {
		return err
	}
	w := Workload{Name: "tasks", build: throughRepartition}
	topo, err := w.topology([]string{set.topic}, id+"-out", o)
	if err != nil {
		return err
	}
	cfg := p.config(id, o)
	w.set(&cfg, o)
	cfg.StartTimeout = tasksStartMax
	p.forgetFeeding()
	app, err := runtime.New(topo, cfg)
	if err != nil {
		return err
	}
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	since := startClock()
	go func() {
		err := app.Run(run)
		cancel(err)
		done <- err
	}()
	if err = app.WaitRunning(run); err == nil {
		took := since.spent()
		r.Tasks.StartSeconds, r.Tasks.StartCPUSeconds = took.wall, took.cpu
		err = p.workTasks(run, app, set, o, r)
	}
	closing := time.Now()
	err = errors.Join(err, app.Close(context.WithoutCancel(ctx)))
	if runErr := <-done; runErr != nil {
		return runErr
	}
	r.Tasks.CloseSeconds = time.Since(closing).Seconds()
	if err != nil {
		return err
	}
	return p.checkCounts(ctx, "tasks", id+"-out", r)
}

// workTasks measures a running application, first without input. On a cluster it stands still while it is fed: the
// feeder is a client in this process.
func (p *place) workTasks(ctx context.Context, app *runtime.App, set *encoded, o Options, r *Result) error {
	if err := pause(ctx, o.Warmup); err != nil {
		return err
	}
	idle := startClock()
	if err := pause(ctx, o.Measure); err != nil {
		return err
	}
	took := idle.spent()
	r.Tasks.IdleCores, r.Tasks.IdleRSSMiB = took.cpu/took.wall, status("self", "VmRSS:")
	since, feed := startClock(), p.feed
	if p.broker == nil {
		app.Pause()
		if err := p.feedRecords(ctx, set); err != nil {
			return err
		}
		feed = func(context.Context, ...*encoded) error { return nil }
		app.Resume()
		since = startClock()
	}
	brokerCPU := p.server.cpu()
	if o.Profile != nil {
		if err := pprof.StartCPUProfile(o.Profile); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if err := feed(ctx, set); err != nil {
		return err
	}
	if err := app.WaitCaughtUp(ctx); err != nil {
		return err
	}
	r.spent(since.spent())
	r.BrokerCPU, r.BrokerRSSMiB = (p.server.cpu() - brokerCPU).Seconds(), p.server.peakRSSMiB()
	r.PerSecond, r.PerCPUSecond = float64(r.Records)/r.WallSeconds, float64(r.Records)/r.CPUSeconds
	r.PeakRSSMiB = peakRSSMiB()
	return nil
}

// deleteOwn deletes the topic of a data set if this run has made it.
func (p *place) deleteOwn(ctx context.Context, set *encoded) error {
	if p.broker != nil || !set.made {
		return nil
	}
	return p.deleteTopics(ctx, set.topic)
}
