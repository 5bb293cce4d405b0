package workload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	goruntime "runtime"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

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
	NoLocal   bool // requests instead of direct calls, also to the embedded broker
	Rate      int  // of the latency workload, records per second
	Warmup    time.Duration
	Measure   time.Duration
	Profile   io.Writer // of the measured time's CPU; may be nil
	Logger    *slog.Logger
}

// Result is what a benchmark measured.
type Result struct {
	Workload      string  `json:"workload"`
	Brokers       string  `json:"brokers"`
	Sync          string  `json:"sync,omitempty"`
	Guarantee     string  `json:"guarantee"`
	CommitMillis  float64 `json:"commit_ms"` // 0: adaptive
	Workers       int     `json:"workers"`
	Partitions    int32   `json:"partitions"`
	Records       int64   `json:"records"`
	Words         int64   `json:"words,omitempty"`
	WallSeconds   float64 `json:"wall_s"`
	CPUSeconds    float64 `json:"cpu_s"`
	KernelSeconds float64 `json:"kernel_s"`  // the part of the CPU time that the kernel took: mostly log pages
	PerSecond     float64 `json:"per_s"`     // words where these are counted, else records
	PerCPUSecond  float64 `json:"per_cpu_s"` // the same per CPU-second of this process
	ByHandNanos   float64 `json:"by_hand_ns,omitempty"`
	TimesByHand   float64 `json:"times_by_hand,omitempty"` // this process's CPU to the hand-written loop's
	PeakRSSMiB    float64 `json:"peak_rss_mib"`
	LatencyMillis Latency `json:"latency_ms,omitzero"`
	Checked       string  `json:"checked"` // how the result was found to be right
}

// Latency are percentiles, in milliseconds.
type Latency struct {
	P50, P99, P999, Max float64
}

// Run runs one benchmark.
func Run(ctx context.Context, name string, o Options) (r Result, err error) {
	p, err := openPlace(o.Brokers, o.Sync, o.Logger)
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
	in, err := p.input(ctx, w.Input, o, r)
	if err != nil {
		return err
	}
	out := in.topic + "-" + name + "-out-" + uuid.NewString()[:8]
	if err := p.create(ctx, out, r.Partitions); err != nil {
		return err
	}
	topo, err := w.topology(in.topic, out)
	if err != nil {
		return err
	}
	goruntime.GC()
	app, err := p.start(ctx, topo, p.config(out, o), in.feed, o.Profile)
	if err != nil {
		return err
	}
	r.spent(app.took)
	if in.data != nil {
		r.Words = r.Records * int64(in.data.set.Words)
	}
	units := max(r.Records, r.Words)
	r.PerSecond, r.PerCPUSecond = float64(units)/r.WallSeconds, float64(units)/r.CPUSeconds
	if err := p.check(ctx, name, out, r, app.stats); err != nil {
		return err
	}
	if in.data == nil {
		return nil
	}
	commits := int64(1)
	for _, worker := range app.stats.Workers {
		commits += worker.Commits
	}
	since := startClock()
	if _, err := Handwritten(name, in.data.raw(), int(units/commits)+1); err != nil {
		return err
	}
	byHand := since.spent().cpu
	r.ByHandNanos, r.TimesByHand = byHand*1e9/float64(units), r.CPUSeconds/byHand
	return nil
}

// source is a workload's input topic.
type source struct {
	topic string
	data  *encoded                    // nil where the topic's contents are taken as they are
	feed  func(context.Context) error // fills the topic while the clock runs; nil where it is full
}

// input finds or makes the input topic. The embedded broker is fed while the application runs; a cluster before.
func (p *place) input(ctx context.Context, set string, o Options, r *Result) (source, error) {
	if o.Input != "" {
		n, partitions, err := p.records(ctx, o.Input)
		if err == nil && partitions == 0 {
			err = fmt.Errorf("bench: topic %s does not exist", o.Input)
		}
		r.Records, r.Partitions = n, partitions
		return source{topic: o.Input}, err
	}
	s, ok := SetOf(set)
	if !ok {
		return source{}, fmt.Errorf("bench: no data set %q", set)
	}
	if o.Records <= 0 || o.Records > s.Records {
		o.Records = s.Records
	}
	data, err := s.encode(o.Records)
	if err != nil {
		return source{}, err
	}
	r.Records, r.Partitions = int64(o.Records), s.Partitions
	topic := s.Topic
	if o.Records != s.Records {
		topic = fmt.Sprintf("%s-%d", s.Topic, o.Records)
	}
	src := source{topic: topic, data: data}
	if err := p.create(ctx, topic, s.Partitions); err != nil {
		return src, err
	}
	if p.broker != nil {
		src.feed = func(ctx context.Context) error { return p.feed(ctx, data, topic) }
		return src, nil
	}
	there, _, err := p.records(ctx, topic)
	switch {
	case err != nil:
		return src, err
	case there == 0:
		return src, p.feed(ctx, data, topic)
	case there != r.Records:
		return src, fmt.Errorf("bench: topic %s holds %d records, not the data set's %d: delete it", topic, there, r.Records)
	}
	return src, nil
}

// ran is an application that has caught up and stopped.
type ran struct {
	took  spent
	stats runtime.Stats
}

// start runs the application until it has caught up. The clock runs from the moment that it works.
func (p *place) start(ctx context.Context, topo *topology.Topology, cfg runtime.Config,
	feed func(context.Context) error, profile io.Writer,
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
	if profile != nil {
		err = errors.Join(err, pprof.StartCPUProfile(profile))
	}
	if feed != nil {
		since = startClock()
		if err == nil {
			err = feed(ctx)
		}
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

// check finds out whether the work was done: the counts in the output add up to the input.
func (p *place) check(ctx context.Context, name, out string, r *Result, stats runtime.Stats) error {
	if name == "stateless" {
		for _, n := range stats.Nodes {
			if strings.HasPrefix(n.Node, "source") && n.Processed != r.Records {
				return fmt.Errorf("bench: %d records were processed, not %d", n.Processed, r.Records)
			}
		}
		n := int64(0)
		if err := p.read(ctx, out, func(*kgo.Record) { n++ }); err != nil {
			return err
		}
		r.Checked = fmt.Sprintf("%d records out", n)
		return nil
	}
	last := map[string]int64{}
	err := p.read(ctx, out, func(r *kgo.Record) { last[string(r.Key)] = int64(binary.BigEndian.Uint64(r.Value)) })
	if err != nil {
		return err
	}
	sum := int64(0)
	for _, n := range last {
		sum += n
	}
	if want := max(r.Records, r.Words); sum != want && r.Words+r.Records > 0 && !(name == "wordcount" && r.Words == 0) {
		return fmt.Errorf("bench: the counts add up to %d, not %d", sum, want)
	}
	if r.Words == 0 && name == "wordcount" { // the input is the user's own topic
		r.Words = sum
		r.PerSecond, r.PerCPUSecond = float64(sum)/r.WallSeconds, float64(sum)/r.CPUSeconds
	}
	r.Checked = fmt.Sprintf("%d keys add up to %d", len(last), sum)
	return nil
}

// read reads a topic as far as it is committed.
func (p *place) read(ctx context.Context, topic string, each func(*kgo.Record)) error {
	ends, err := p.admin.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("bench: list offsets of topic %s: %w", topic, err)
	}
	from, left := map[int32]kgo.Offset{}, map[int32]int64{}
	for _, o := range ends[topic] {
		if o.Offset > 0 {
			from[o.Partition], left[o.Partition] = kgo.NewOffset().At(0), o.Offset
		}
	}
	client, err := p.connect(kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return err
	}
	defer client.Close()
	for len(left) > 0 {
		fetched := client.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return fmt.Errorf("bench: read topic %s: %w", topic, err)
		}
		for r := range fetched.RecordsAll() {
			if !r.Attrs.IsControl() {
				each(r)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		}
	}
	return nil
}

func milliseconds(ms int64) time.Time { return time.UnixMilli(ms) }
