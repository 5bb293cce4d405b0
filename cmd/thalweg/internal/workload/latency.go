package workload

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"thalweg/runtime"
)

const (
	latencyKeys         = 10_000
	latencyPayloadBytes = 100
	lateMax             = 5 * time.Second // what comes later counts as lost
	unsentMax           = 1_000_000       // records that wait in the client, so that a slow broker delays no other record
)

// latency sends at a fixed rate and measures, from when each record was to be sent, how long its update takes to
// reach a consumer that reads committed.
func (p *place) latency(ctx context.Context, o Options, r *Result) (err error) {
	name := o.Elsewhere
	if name == "" { // elsewhere the application still reads the topics
		name = "latency-" + uuid.NewString()[:8]
		defer func() { err = errors.Join(err, p.removeTopics(ctx, name)) }()
	}
	o.Rate = cmp.Or(o.Rate, 50_000)
	in, out := name+"-in", name+"-out"
	for _, topic := range []string{in, out} {
		if _, err := p.create(ctx, topic, 1); err != nil {
			return err
		}
	}
	between := pipe{in: in, out: out, sentAt: func(value []byte) (int64, error) {
		s, err := sentSerde{}.Decode(value)
		return s.at, err
	}}
	if o.Elsewhere == "" {
		between.run = func(ctx context.Context, g *errgroup.Group) error { return p.runLatency(ctx, g, name, o) }
	}
	return p.sendAndReceive(ctx, between, o, r)
}

// pipe is what lies between a sender and a receiver.
type pipe struct {
	in, out string
	run     func(context.Context, *errgroup.Group) error // starts the application; nil: none, or another process has it
	sentAt  func(value []byte) (micros int64, err error) // when what is received was to be sent
}

// sendAndReceive sends at a fixed rate, receives, and measures the time between.
func (p *place) sendAndReceive(ctx context.Context, between pipe, o Options, r *Result) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	if between.run != nil {
		if err := between.run(ctx, g); err != nil {
			cancel()
			return errors.Join(err, g.Wait())
		}
	}
	at := newSchedule(time.Now(), o)
	g.Go(func() error {
		_, err := p.sendAtRate(ctx, sender{topic: between.in, at: at, addr: randomKeys()})
		return err
	})
	warm := make(chan flow, 1)
	defer time.AfterFunc(o.Warmup, func() { warm <- p.startFlow() }).Stop()
	seen, err := p.receive(ctx, between, at)
	var f flow
	if err == nil {
		f = <-warm
		f.end(len(seen))
	}
	cancel()
	if waitErr := g.Wait(); waitErr != nil && !errors.Is(waitErr, context.Canceled) {
		err = errors.Join(err, waitErr)
	}
	if err != nil {
		return err
	}
	r.LatencyMillis = percentiles(seen)
	r.flow(f, 1)
	r.WallSeconds, r.PerSecond = o.Measure.Seconds(), float64(len(seen))/o.Measure.Seconds()
	r.BrokerRSSMiB = p.server.peakRSSMiB()
	want := at.records(at.until) - at.records(at.from)
	r.Checked = fmt.Sprintf("%d of %d updates arrived", len(seen), want)
	if len(seen) != want {
		return fmt.Errorf("bench: %s, once each, until %s after the last", r.Checked, lateMax)
	}
	return nil
}

// runLatency starts the application in this process and waits until it works.
func (p *place) runLatency(ctx context.Context, g *errgroup.Group, name string, o Options) error {
	topo, err := latency(name+"-in", name+"-out")
	if err != nil {
		return err
	}
	app, err := runtime.New(topo, p.config(name, o))
	if err != nil {
		return err
	}
	g.Go(func() error { return app.Run(ctx) })
	return app.WaitRunning(ctx)
}

// schedule says when each record is due, and which are measured: those due in [from, until). Times are microseconds.
type schedule struct{ started, from, until, rate int64 }

func newSchedule(now time.Time, o Options) schedule {
	from := now.Add(o.Warmup)
	return schedule{now.UnixMicro(), from.UnixMicro(), from.Add(o.Measure).UnixMicro(), int64(o.Rate)}
}

// due returns when a record is.
func (s schedule) due(n int) int64 { return s.started + int64(n)*1e6/s.rate }

// records returns how many records are due before t.
func (s schedule) records(t int64) int { return int(((t-s.started)*s.rate + 1e6 - 1) / 1e6) }

// sender sends at a fixed rate.
type sender struct {
	topic  string
	at     schedule
	addr   func(n int) (partition int32, key []byte) // of a record
	closed <-chan struct{}                           // ends it before the schedule does; nil: nothing does
}

// sendAtRate sends at a millisecond's ticks what was due since the last; the value begins with the time at which
// the record was due. It returns how many it has sent.
func (p *place) sendAtRate(ctx context.Context, s sender) (n int, err error) {
	client, err := p.connect(kgo.ProducerLinger(0), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.MaxBufferedRecords(unsentMax))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	random := random{9}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	failed := make(chan error, 1)
	promise := func(_ *kgo.Record, err error) {
		if err != nil && ctx.Err() == nil {
			select {
			case failed <- err:
			default:
			}
		}
	}
	for end := s.at.records(s.at.until); n < end; {
		select {
		case <-ctx.Done():
			return n, nil
		case <-s.closed:
			end = n
		case err := <-failed:
			return n, fmt.Errorf("bench: send: %w", err)
		case now := <-tick.C:
			for due := min(end, s.at.records(now.UnixMicro())); n < due; n++ {
				micros := s.at.due(n)
				value := binary.BigEndian.AppendUint64(make([]byte, 0, latencyPayloadBytes), uint64(micros))
				value = random.payload(value, latencyPayloadBytes-len(value))
				partition, key := s.addr(n)
				client.Produce(ctx, &kgo.Record{
					Topic: s.topic, Partition: partition, Key: key, Value: value, Timestamp: time.UnixMicro(micros),
				}, promise)
			}
		}
	}
	return n, client.Flush(ctx)
}

// randomKeys are those of the latency workload, for a topic of one partition.
func randomKeys() func(int) (int32, []byte) {
	random := random{8}
	return func(int) (int32, []byte) { return 0, strconv.AppendInt(nil, int64(random.below(latencyKeys)), 10) }
}

// receive collects the latencies of the updates that were due within the measured time, in microseconds.
func (p *place) receive(ctx context.Context, from pipe, at schedule) ([]int64, error) {
	client, err := p.connect(kgo.FetchMaxWait(time.Second), kgo.FetchMinBytes(1),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{from.out: {0: kgo.NewOffset().At(0)}}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var seen []int64
	ctx, cancel := context.WithDeadline(ctx, time.UnixMicro(at.until).Add(lateMax))
	defer cancel()
	for {
		fetched := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return seen, nil
		}
		if err := fetched.Err(); err != nil {
			return nil, fmt.Errorf("bench: receive: %w", err)
		}
		now := time.Now().UnixMicro()
		var last int64
		for r := range fetched.RecordsAll() {
			if last, err = from.sentAt(r.Value); err != nil {
				return nil, fmt.Errorf("bench: receive: %w", err)
			}
			if last >= at.from && last < at.until {
				seen = append(seen, now-last)
			}
		}
		if last >= at.due(at.records(at.until)-1) {
			return seen, nil
		}
	}
}

func percentiles(micros []int64) (l Latency) {
	if len(micros) == 0 {
		return l
	}
	slices.Sort(micros)
	at := func(q float64) float64 {
		return float64(micros[min(len(micros)-1, int(q*float64(len(micros))))]) / 1000
	}
	return Latency{P50: at(0.5), P99: at(0.99), P999: at(0.999), Max: at(1)}
}
