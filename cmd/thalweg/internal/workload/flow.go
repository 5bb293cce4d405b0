package workload

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// flow is how many records went through a broker, in what time.
type flow struct {
	records int
	took    spent         // by this process
	server  time.Duration // CPU time of the broker's
	batches int64         // that were sent; 0: unknown

	since clock
	at    pid
}

func (p *place) startFlow() flow {
	return flow{since: startClock(), at: p.server, server: p.server.cpu()}
}

func (f *flow) end(records int) {
	f.records, f.took, f.server = records, f.since.spent(), f.at.cpu()-f.server
}

func (f flow) perSecond() float64 { return float64(f.records) / f.took.wall }

// nanos is the broker's CPU time for each record.
func (f flow) nanos() float64 { return float64(f.server.Nanoseconds()) / float64(f.records) }

// flow sets what was measured.
func (r *Result) flow(f flow, partitions int32) {
	r.spent(f.took)
	r.Partitions, r.Records = partitions, int64(f.records)
	r.PerSecond, r.PerCPUSecond = f.perSecond(), float64(f.records)/f.took.cpu
	r.BrokerCPU, r.Load.BrokerNanos = f.server.Seconds(), f.nanos()
	if f.batches > 0 {
		r.Load.BatchRecords = float64(f.records) / float64(f.batches)
	}
}

// ceiling sets what the client did against a sink.
func (r *Result) ceiling(f flow) {
	r.Load.CeilingPerSecond = f.perSecond()
	r.Load.OfCeiling = r.PerSecond / f.perSecond()
}

// startSink starts a sink in a process of its own.
func startSink(o Options, partitions int32, keep bool) (*place, error) {
	sink, err := startProcess(o.Program, "bench", "sink", "--partitions", strconv.Itoa(int(partitions)),
		"--keep="+strconv.FormatBool(keep))
	if err != nil {
		return nil, err
	}
	return &place{apart: sink, seeds: []string{sink.addr}, server: pid(sink.cmd.Process.Pid)}, nil
}

// values are payloads to send in turns.
func values(n int) [][]byte {
	random := random{11}
	all := make([][]byte, n)
	for i := range all {
		all[i] = random.payload(nil, loadValueBytes)
	}
	return all
}

// batchCount counts the batches that a client sends.
type batchCount struct{ atomic.Int64 }

var _ kgo.HookProduceBatchWritten = (*batchCount)(nil)

// OnProduceBatchWritten implements kgo.HookProduceBatchWritten.
func (c *batchCount) OnProduceBatchWritten(kgo.BrokerMetadata, string, int32, kgo.ProduceBatchMetrics) {
	c.Add(1)
}

// send sends records to topics in turns, as fast as the client takes them, until all are acknowledged.
func (p *place) send(ctx context.Context, topics []string, records int, o Options, opts ...kgo.Opt) (
	f flow, err error,
) {
	const buffered = 100_000 // the client's default of 10,000 is less than what waits for one fsync
	var batches batchCount
	opts = append([]kgo.Opt{
		kgo.WithHooks(&batches),
		kgo.RecordPartitioner(kgo.UniformBytesPartitioner(64<<10, true, true, nil)), // the client's default
		kgo.MaxBufferedRecords(buffered),
	}, opts...)
	if o.BatchBytes > 0 {
		opts = append(opts, kgo.ProducerBatchMaxBytes(o.BatchBytes))
	}
	client, err := p.connect(opts...)
	if err != nil {
		return f, err
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	promise := func(r *kgo.Record, err error) {
		if err != nil {
			cancel(fmt.Errorf("bench: produce to topic %s partition %d: %w", r.Topic, r.Partition, err))
		}
	}
	payloads := values(1000)
	f = p.startFlow()
	for i := range records {
		client.Produce(ctx, &kgo.Record{Topic: topics[i%len(topics)], Value: payloads[i%len(payloads)]}, promise)
	}
	err = client.Flush(ctx)
	f.end(records)
	f.batches = batches.Load()
	if cause := context.Cause(ctx); cause != nil {
		return f, cause
	}
	return f, err
}

// drain reads a topic from its beginning until so many records have come.
func (p *place) drain(ctx context.Context, topic string, partitions int32, records int) (f flow, err error) {
	start := map[int32]kgo.Offset{}
	for i := range partitions {
		start[i] = kgo.NewOffset().At(0)
	}
	client, err := p.connect(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: start}))
	if err != nil {
		return f, err
	}
	defer client.Close()
	next := make([]int64, partitions)
	f = p.startFlow()
	for n := 0; n < records; {
		some, cancel := context.WithTimeout(ctx, lateMax)
		fetched := client.PollFetches(some)
		cancel()
		if err := fetched.Err(); err != nil {
			return f, fmt.Errorf("bench: read topic %s, %d of %d records came: %w", topic, n, records, err)
		}
		for r := range fetched.RecordsAll() {
			if r.Offset != next[r.Partition] || len(r.Value) != loadValueBytes {
				return f, fmt.Errorf("bench: topic %s partition %d: offset %d with %d bytes came instead of %d with %d",
					topic, r.Partition, r.Offset, len(r.Value), next[r.Partition], loadValueBytes)
			}
			next[r.Partition]++
			n++
		}
	}
	f.end(records)
	return f, nil
}

// createAll creates topics that keep their records, some at a time, and waits until they can be written to.
func (p *place) createAll(ctx context.Context, partitions int32, topics ...string) error {
	forever := "-1"
	const atOnce = 50
	for some := range slices.Chunk(topics, atOnce) {
		last := some[len(some)-1]
		made, err := p.admin.CreateTopics(ctx, partitions, -1, map[string]*string{"retention.ms": &forever}, some...)
		if err == nil {
			err = made.Error()
		}
		for there := int32(0); err == nil && there < partitions; { // a cluster makes them known later
			if _, there, err = p.records(ctx, last); err == nil && there < partitions {
				err = pause(ctx, 10*time.Millisecond)
			}
		}
		if err != nil {
			return fmt.Errorf("bench: create topics %s to %s: %w", some[0], last, err)
		}
	}
	return nil
}

// holds checks that topics have so many records and partitions in all.
func (p *place) holds(ctx context.Context, records int, partitions int32, topics ...string) error {
	sum, parts := int64(0), int32(0)
	for _, topic := range topics {
		n, k, err := p.records(ctx, topic)
		if err != nil {
			return err
		}
		sum, parts = sum+n, parts+k
	}
	if sum != int64(records) || parts != partitions {
		return fmt.Errorf("bench: topics %v end at %d records in %d partitions, %d in %d were acknowledged", topics, sum,
			parts, records, partitions)
	}
	return nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
