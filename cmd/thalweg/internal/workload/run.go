package workload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	goruntime "runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"github.com/google/uuid"

	"thalweg/broker"
	"thalweg/runtime"
	"thalweg/topology"
)

// Options say how a benchmark is run.
type Options struct {
	// Brokers is "embedded", or "process" for a broker in a process of its own, or a cluster's addresses.
	Brokers   string
	Program   string // the thalweg command, which is started as the broker's process
	Sync      broker.Sync
	Records   int    // of the data set; 0 is all
	Input     string // use what this topic holds instead of a data set
	Guarantee runtime.Guarantee
	Commit    time.Duration // 0 adapts
	Workers   int
	Garbage   int           // bytes that a function of the program allocates for each record of a stream
	Call      time.Duration // for which a function of the program sleeps at each record of a stream
	Delay     time.Duration // of each request of the application to a broker in another process
	AsWritten bool          // without the optimizer's rules
	Filled    bool          // the embedded broker's topics hold all before the clock runs, as a cluster's do
	NoLocal   bool          // requests instead of direct calls, also to the embedded broker
	// Partitions of the input, where the workload has a data set of so many; 0 is what the workload names.
	Partitions int32
	// Keys and Passes vary the data sets of state on disk, see Variant; 0 leaves them as defined.
	Keys, Passes int
	// Steps is how many parts of the input are reported; 0 is four for each pass.
	Steps int
	// MemoryBytesMax, CacheBytesMax and BlockCacheBytesMax are the application's; 0 is what the workload sets.
	MemoryBytesMax, CacheBytesMax, BlockCacheBytesMax int64
	// Application and StateDir go on with an application of that ID and its state, for a run after a crash. Empty: an
	// application of its own.
	Application, StateDir string
	// Elsewhere names the topics of the latency workload's application, which runs in another process and reads
	// <Elsewhere>-in and writes <Elsewhere>-out. Empty runs it here.
	Elsewhere string
	Rate      int // of latency, rebalance and broker-e2e, records per second; 0 is what the workload names
	Warmup    time.Duration
	Measure   time.Duration
	Topics    int // of broker-many; 0 is 1,000
	// Processes of the rebalance workload's application before one joins; 0 is what the workload names. Standbys,
	// WarmupsMax and Session are the settings of each.
	Processes, Standbys, WarmupsMax int
	Session                         time.Duration
	// BatchBytes is the size of the application's batches, and limits those of broker-produce, -consume and -many; 0 is
	// the default of either.
	BatchBytes int32
	Profile    io.Writer // of the measured time's CPU; may be nil
	// BrokerProfile is the file for a CPU profile of a broker in a process of its own. Empty: none.
	BrokerProfile string
	Logger        *slog.Logger
	Verbose       bool // processes of the application log as much
}

func (o Options) variant() Variant {
	return Variant{Partitions: o.Partitions, Keys: o.Keys, Passes: o.Passes}
}

// NeedsProcess tells whether a workload's broker is in another process: it is measured alone, or several processes
// share it.
func NeedsProcess(name string) bool { return IsLoad(name) || name == "rebalance" }

// check finds options that a workload does not have.
func (o Options) check(name string) error {
	switch {
	case o.Profile != nil && (NeedsProcess(name) || name == "latency" || name == "restore"):
		return fmt.Errorf("bench: %s has no profile of the application: leave out --cpuprofile", name)
	case o.BrokerProfile != "" && o.Brokers != "process":
		return errors.New("bench: only a broker of --brokers process is profiled: use that, or leave out " +
			"--broker-cpuprofile")
	case o.Filled && name == "latency":
		return errors.New("bench: latency has a feeder at a fixed rate: leave out --filled")
	case (o.Filled || o.Input != "") && (name == "tasks" || name == "rebalance"):
		return fmt.Errorf("bench: %s begins without input: leave out --filled and --input", name)
	case o.Filled && name == "restore":
		return errors.New("bench: restore has no feeder, its topic is full before: leave out --filled")
	}
	if o.Application != "" && (o.StateDir == "" || o.Brokers == "embedded" || o.Brokers == "process") {
		return errors.New("bench: to go on with an application name its state directory and a broker that runs")
	}
	if o.Delay > 0 && (o.Brokers == "embedded" || NeedsProcess(name)) {
		return errors.New("bench: the requests of an application to a broker in another process are delayed: use --brokers " +
			"process or a cluster's addresses, and no workload of several processes or of the broker alone")
	}
	if NeedsProcess(name) && (o.Brokers == "embedded" || o.Filled) {
		return fmt.Errorf("bench: %s needs a broker in another process: use --brokers process or a cluster's "+
			"addresses, and leave out --filled", name)
	}
	return nil
}

// Result is what a benchmark measured.
type Result struct {
	Workload      string    `json:"workload"`
	Brokers       string    `json:"brokers"`
	Sync          string    `json:"sync,omitempty"`
	Filled        bool      `json:"filled,omitempty"`   // the input was there before; its feeder is not counted
	Guarantee     string    `json:"guarantee"`          // empty where the broker alone is measured
	CommitMillis  float64   `json:"commit_ms"`          // 0: adaptive
	DelayMillis   float64   `json:"delay_ms,omitempty"` // of each request of the application
	Workers       int       `json:"workers"`
	Partitions    int32     `json:"partitions"`
	Topics        []string  `json:"topics,omitempty"` // what is read, tables first
	Records       int64     `json:"records"`
	Words         int64     `json:"words"`
	WallSeconds   float64   `json:"wall_s"`
	CPUSeconds    float64   `json:"cpu_s"`
	KernelSeconds float64   `json:"kernel_s"`  // the part of the CPU time that the kernel took: mostly log pages
	PerSecond     float64   `json:"per_s"`     // words where these are counted, else records
	PerCPUSecond  float64   `json:"per_cpu_s"` // the same per CPU-second of this process
	ByHandNanos   float64   `json:"by_hand_ns,omitempty"`
	TimesByHand   float64   `json:"times_by_hand,omitempty"` // this process's CPU to the hand-written loop's
	PeakRSSMiB    float64   `json:"peak_rss_mib"`
	BrokerCPU     float64   `json:"broker_cpu_s,omitempty"`        // of a broker in another process of this machine
	BrokerRSSMiB  float64   `json:"broker_peak_rss_mib,omitempty"` // its peak, with the feeding
	Steps         []Step    `json:"steps,omitempty"`
	Results       int64     `json:"results,omitempty"` // what came out: keys where these count, else records
	LatencyMillis Latency   `json:"latency_ms,omitzero"`
	Load          Load      `json:"load,omitzero"`  // of the workloads of the broker alone
	Tasks         Tasks     `json:"tasks,omitzero"` // of the tasks workload
	Rebalance     Rebalance `json:"rebalance,omitzero"`
	Checked       string    `json:"checked"` // how the result was found to be right
}

// Latency are percentiles, in milliseconds.
type Latency struct {
	P50, P99, P999, Max float64
}

// Run runs one benchmark.
func Run(ctx context.Context, name string, o Options) (r Result, err error) {
	if err := o.check(name); err != nil {
		return r, err
	}
	p, err := openPlace(ctx, o)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	r = Result{
		Workload: name, Brokers: o.Brokers, Guarantee: o.Guarantee.String(), Workers: o.Workers,
		CommitMillis: float64(o.Commit.Microseconds()) / 1000, DelayMillis: float64(o.Delay.Microseconds()) / 1000,
	}
	if p.broker != nil || p.apart != nil {
		r.Sync = o.Sync.String()
	}
	load, ofBroker := loadOf(name)
	switch {
	case ofBroker:
		err = p.load(ctx, load, o, &r)
	case name == "rebalance":
		err = p.rebalance(ctx, o, &r)
	case name == "latency":
		err = p.latency(ctx, o, &r)
	case name == "restore":
		err = p.restore(ctx, o, &r)
	case name == "tasks":
		err = p.tasks(ctx, o, &r)
	default:
		err = p.workload(ctx, name, o, &r)
	}
	if r.PeakRSSMiB == 0 {
		r.PeakRSSMiB = peakRSSMiB()
	}
	return r, err
}

// workload runs a topology over a data set until all is committed.
func (p *place) workload(ctx context.Context, name string, o Options, r *Result) (err error) {
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
	out := cmp.Or(o.Application, in.topics[len(in.topics)-1]+"-"+name+"-out-"+uuid.NewString()[:8])
	if o.Application == "" {
		defer func() { err = errors.Join(err, p.removeTopics(ctx, out)) }()
	}
	if _, err := p.create(ctx, out, r.Partitions); err != nil {
		return err
	}
	topo, err := w.topology(in.topics, out, o)
	if err != nil {
		return err
	}
	cfg := p.config(out, o)
	w.set(&cfg, o)
	if w.onDisk {
		in.parts = cmp.Or(o.Steps, 4*max(o.Passes, 1))
	}
	p.forgetFeeding()
	brokerCPU := p.server.cpu()
	app, err := p.start(ctx, topo, cfg, in, o.Profile)
	if err != nil {
		return err
	}
	r.spent(app.took)
	if o.Application != "" {
		app.samples = begun(app.samples)
	}
	r.Steps, r.PeakRSSMiB = curve(app.samples, in.parts, r.Records), peakRSSMiB()
	r.BrokerCPU, r.BrokerRSSMiB = (p.server.cpu() - brokerCPU).Seconds(), p.server.peakRSSMiB()
	if err := in.encode(); err != nil {
		return err
	}
	if len(in.inputs) > 0 {
		r.Words = r.Records * int64(in.inputs[0].set.Words)
	}
	units := max(r.Records, r.Words)
	r.PerSecond, r.PerCPUSecond = float64(units)/r.WallSeconds, float64(units)/r.CPUSeconds
	if err := p.check(ctx, w, in, out, r); err != nil {
		return err
	}
	if len(in.inputs) == 0 || in.inputs[0].batches == nil {
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

// forgetFeeding keeps what made the data out of what is measured. On a cluster that includes the peak of the memory.
// The embedded broker's is this process's own anyway, and pages that are given back would cost time to get.
func (p *place) forgetFeeding() {
	if p.broker != nil {
		goruntime.GC()
		return
	}
	debug.FreeOSMemory()
	forgetPeak()
}

// set sets what the workload needs, and what the options say instead.
func (w Workload) set(cfg *runtime.Config, o Options) {
	if w.configure != nil {
		w.configure(cfg)
	}
	cfg.Limits.CacheBytesMax = cmp.Or(o.CacheBytesMax, cfg.Limits.CacheBytesMax)
	cfg.Limits.BlockCacheBytesMax = cmp.Or(o.BlockCacheBytesMax, cfg.Limits.BlockCacheBytesMax)
}

// ran is an application that has caught up and stopped.
type ran struct {
	took    spent
	stats   runtime.Stats
	samples []sample // when the source is to be divided
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
	stop := func() []sample { return nil }
	if in.parts > 0 {
		stop = watch(app, since)
	}
	if err == nil && in.feed != nil {
		err = in.feed(ctx)
	}
	if err == nil {
		err = app.WaitCaughtUp(ctx)
	}
	r.samples = stop()
	r.took = since.spent()
	if in.parts > 0 {
		r.samples = append(r.samples, sample{float64(in.records()), r.took.wall, r.took.cpu, status("self", "VmRSS:")})
	}
	pprof.StopCPUProfile()
	r.stats = app.Stats()
	err = errors.Join(err, app.Close(context.WithoutCancel(ctx)))
	if runErr := <-done; runErr != nil {
		return r, runErr
	}
	return r, err
}
