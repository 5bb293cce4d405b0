package workload

import (
	"context"
	"errors"
	"io"
	"log/slog"
	goruntime "runtime"
	"runtime/pprof"
	"time"

	"github.com/google/uuid"

	"thalweg/broker"
	"thalweg/runtime"
	"thalweg/topology"
)

// Options say how a benchmark is run.
type Options struct {
	Brokers   string // "embedded", or a cluster's addresses
	Sync      broker.Sync
	Records   int    // of the data set; 0 is all
	Input     string // use what this topic holds instead of a data set
	Guarantee runtime.Guarantee
	Commit    time.Duration // 0 adapts
	Workers   int
	AsWritten bool // without the optimizer's rules
	Filled    bool // the embedded broker's topics hold all before the clock runs, as a cluster's do
	NoLocal   bool // requests instead of direct calls, also to the embedded broker
	// Partitions of the input, where the workload has a data set of so many; 0 is what the workload names.
	Partitions int32
	// Elsewhere names the topics of the latency workload's application, which runs in another process and reads
	// <Elsewhere>-in and writes <Elsewhere>-out. Empty runs it here.
	Elsewhere string
	Rate      int // of the latency workload, records per second
	Warmup    time.Duration
	Measure   time.Duration
	Profile   io.Writer // of the measured time's CPU; may be nil
	Logger    *slog.Logger
}

// Result is what a benchmark measured.
type Result struct {
	Workload      string   `json:"workload"`
	Brokers       string   `json:"brokers"`
	Sync          string   `json:"sync,omitempty"`
	Filled        bool     `json:"filled,omitempty"` // the input was there before; its feeder is not counted
	Guarantee     string   `json:"guarantee"`
	CommitMillis  float64  `json:"commit_ms"` // 0: adaptive
	Workers       int      `json:"workers"`
	Partitions    int32    `json:"partitions"`
	Topics        []string `json:"topics,omitempty"` // what is read, tables first
	Records       int64    `json:"records"`
	Words         int64    `json:"words"`
	WallSeconds   float64  `json:"wall_s"`
	CPUSeconds    float64  `json:"cpu_s"`
	KernelSeconds float64  `json:"kernel_s"`  // the part of the CPU time that the kernel took: mostly log pages
	PerSecond     float64  `json:"per_s"`     // words where these are counted, else records
	PerCPUSecond  float64  `json:"per_cpu_s"` // the same per CPU-second of this process
	ByHandNanos   float64  `json:"by_hand_ns,omitempty"`
	TimesByHand   float64  `json:"times_by_hand,omitempty"` // this process's CPU to the hand-written loop's
	PeakRSSMiB    float64  `json:"peak_rss_mib"`
	Results       int64    `json:"results,omitempty"` // what came out: keys where these count, else records
	LatencyMillis Latency  `json:"latency_ms,omitzero"`
	Checked       string   `json:"checked"` // how the result was found to be right
}

// Latency are percentiles, in milliseconds.
type Latency struct {
	P50, P99, P999, Max float64
}

// Run runs one benchmark.
func Run(ctx context.Context, name string, o Options) (r Result, err error) {
	switch {
	case o.Filled && name == "latency":
		return r, errors.New("bench: latency has a feeder at a fixed rate: leave out --filled")
	case o.Filled && name == "restore":
		return r, errors.New("bench: restore has no feeder, its topic is full before: leave out --filled")
	}
	p, err := openPlace(ctx, o.Brokers, o.Sync, o.Logger)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	r = Result{
		Workload: name, Brokers: o.Brokers, Guarantee: o.Guarantee.String(), Workers: o.Workers,
		CommitMillis: float64(o.Commit.Microseconds()) / 1000,
	}
	if p.broker != nil {
		r.Sync = o.Sync.String()
	}
	switch name {
	case "latency":
		err = p.latency(ctx, o, &r)
	case "restore":
		err = p.restore(ctx, o, &r)
	default:
		err = p.workload(ctx, name, o, &r)
	}
	r.PeakRSSMiB = peakRSSMiB()
	return r, err
}

// workload runs a topology over a data set until all is committed.
func (p *place) workload(ctx context.Context, name string, o Options, r *Result) error {
	w, err := WorkloadOf(name)
	if err != nil {
		return err
	}
	r.Filled = o.Filled || o.Input != "" || p.broker == nil
	inputs, err := ofPartitions(w.Inputs, o.Partitions)
	if err != nil {
		return err
	}
	in, err := p.source(ctx, w.Tables, inputs, o, r)
	if err != nil {
		return err
	}
	out := in.topics[len(in.topics)-1] + "-" + name + "-out-" + uuid.NewString()[:8]
	if err := p.create(ctx, out, r.Partitions); err != nil {
		return err
	}
	topo, err := w.topology(in.topics, out, o.AsWritten)
	if err != nil {
		return err
	}
	cfg := p.config(out, o)
	if w.configure != nil {
		w.configure(&cfg)
	}
	goruntime.GC()
	app, err := p.start(ctx, topo, cfg, in, o.Profile)
	if err != nil {
		return err
	}
	r.spent(app.took)
	if len(in.inputs) > 0 {
		r.Words = r.Records * int64(in.inputs[0].set.Words)
	}
	units := max(r.Records, r.Words)
	r.PerSecond, r.PerCPUSecond = float64(units)/r.WallSeconds, float64(units)/r.CPUSeconds
	if err := p.check(ctx, w, in, out, r); err != nil {
		return err
	}
	if err := p.removeTopics(ctx, out); err != nil {
		return err
	}
	if len(in.inputs) == 0 {
		return nil
	}
	commits := int64(1)
	for _, worker := range app.stats.Workers {
		commits += worker.Commits
	}
	byHand, err := Handwritten(name, in.data(), int(units/commits)+1, nil)
	if err != nil {
		return err
	}
	r.ByHandNanos, r.TimesByHand = byHand.cpu*1e9/float64(units), r.CPUSeconds/byHand.cpu
	return nil
}

// ran is an application that has caught up and stopped.
type ran struct {
	took  spent
	stats runtime.Stats
}

// start runs the application until it has caught up. The clock runs from the moment that it works, which on the bundled
// broker is at once.
func (p *place) start(ctx context.Context, topo *topology.Topology, cfg runtime.Config,
	in source, profile io.Writer,
) (r ran, err error) {
	app, err := runtime.New(topo, cfg)
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	since := startClock()
	go func() {
		err := app.Run(ctx)
		cancel(err)
		done <- err
	}()
	err = app.WaitRunning(ctx)
	if err == nil && in.load != nil {
		if err = in.load(ctx); err == nil {
			err = app.WaitCaughtUp(ctx)
		}
	}
	if profile != nil {
		err = errors.Join(err, pprof.StartCPUProfile(profile))
	}
	if in.feed != nil || p.broker == nil { // a cluster takes its time to let a group join
		since = startClock()
	}
	if err == nil && in.feed != nil {
		err = in.feed(ctx)
	}
	if err == nil {
		err = app.WaitCaughtUp(ctx)
	}
	r.took = since.spent()
	pprof.StopCPUProfile()
	r.stats = app.Stats()
	err = errors.Join(err, app.Close(context.WithoutCancel(ctx)))
	if runErr := <-done; runErr != nil {
		return r, runErr
	}
	return r, err
}
