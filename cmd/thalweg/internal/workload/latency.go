package workload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"thalweg/runtime"
)

const (
	latencyKeys         = 10_000
	latencyPayloadBytes = 100
)

// latency sends at a fixed rate and measures, from when each record was to be sent, how long its update takes to
// reach a consumer that reads committed.
func (p *place) latency(ctx context.Context, o Options, r *Result) error {
	const in, out = "latency-in", "latency-out"
	r.Partitions = 1
	for _, topic := range []string{in, out} {
		if err := p.create(ctx, topic, 1); err != nil {
			return err
		}
	}
	topo, err := latency(in, out)
	if err != nil {
		return err
	}
	app, err := runtime.New(topo, p.config("latency", o))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return app.Run(ctx) })
	if err := app.WaitRunning(ctx); err != nil {
		cancel()
		return errors.Join(err, g.Wait())
	}
	from := time.Now().Add(o.Warmup)
	until := from.Add(o.Measure)
	sending, stop := context.WithDeadline(ctx, until)
	defer stop()
	g.Go(func() error { return p.sendAtRate(sending, in, o.Rate, r) })
	var since clock
	warm := time.AfterFunc(o.Warmup, func() { since = startClock() })
	defer warm.Stop()
	seen, err := p.receive(ctx, out, from, until)
	r.spent(since.spent())
	r.WallSeconds = o.Measure.Seconds()
	cancel()
	if waitErr := g.Wait(); waitErr != nil && !errors.Is(waitErr, context.Canceled) {
		err = errors.Join(err, waitErr)
	}
	if err != nil {
		return err
	}
	r.LatencyMillis = percentiles(seen)
	r.Records = int64(len(seen))
	r.PerSecond, r.PerCPUSecond = float64(len(seen))/r.WallSeconds, float64(len(seen))/r.CPUSeconds
	want := int(float64(o.Rate) * o.Measure.Seconds())
	r.Checked = fmt.Sprintf("%d of %d updates arrived", len(seen), want)
	if len(seen) < want*99/100 {
		return fmt.Errorf("bench: %s: the rate was not kept", r.Checked)
	}
	return nil
}

// sendAtRate sends at a millisecond's ticks what was due since the last; the value begins with the time at which
// the record was due, in microseconds.
func (p *place) sendAtRate(ctx context.Context, topic string, rate int, r *Result) error {
	client, err := p.connect(kgo.ProducerLinger(0), kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		return err
	}
	defer client.Close()
	random := random{8}
	started := time.Now()
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
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("bench: send: %w", err)
		case now := <-tick.C:
			for due := int(now.Sub(started).Seconds() * float64(rate)); n < due; n++ {
				at := started.Add(time.Duration(float64(n) / float64(rate) * 1e9))
				value := binary.BigEndian.AppendUint64(make([]byte, 0, latencyPayloadBytes), uint64(at.UnixMicro()))
				value = random.payload(value, latencyPayloadBytes-len(value))
				key := strconv.AppendInt(nil, int64(random.below(latencyKeys)), 10)
				client.Produce(ctx, &kgo.Record{Topic: topic, Key: key, Value: value, Timestamp: at}, promise)
			}
		}
	}
}

// receive collects the latencies of the updates that were due within the measured time, in microseconds.
func (p *place) receive(ctx context.Context, topic string, from, until time.Time) ([]int64, error) {
	client, err := p.connect(kgo.FetchMaxWait(time.Second), kgo.FetchMinBytes(1),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(0)}}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var seen []int64
	// What is late by more than this counts as lost.
	ctx, cancel := context.WithDeadline(ctx, until.Add(5*time.Second))
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
			s, err := sentSerde{}.Decode(r.Value)
			if err != nil {
				return nil, fmt.Errorf("bench: receive: %w", err)
			}
			last = s.at
			if s.at >= from.UnixMicro() && s.at < until.UnixMicro() {
				seen = append(seen, now-s.at)
			}
		}
		if last >= until.Add(-time.Millisecond).UnixMicro() {
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
