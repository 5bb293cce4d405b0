package workload

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// Load is what the workloads of the broker alone measure, beside rates and latencies.
type Load struct {
	BrokerNanos      float64 `json:"broker_ns,omitempty"`       // CPU time of the broker's process for each record
	BrokerRSSMiB     float64 `json:"broker_rss_mib,omitempty"`  // its resident memory when the run ends
	BatchRecords     float64 `json:"batch_records,omitempty"`   // in a batch of the client, on average
	CeilingPerSecond float64 `json:"ceiling_per_s,omitempty"`   // the client's rate against a sink
	OfCeiling        float64 `json:"of_ceiling,omitempty"`      // the rate as a share of that
	IdleCores        float64 `json:"idle_cores,omitempty"`      // share of a core that the broker takes when idle
	IdleRSSMiB       float64 `json:"idle_rss_mib,omitempty"`    // its resident memory then
	CreateSeconds    float64 `json:"create_s,omitempty"`        // how long the idle topics took to create
	AlonePerSecond   float64 `json:"alone_per_s,omitempty"`     // the rate before there were idle partitions
	AloneNanos       float64 `json:"alone_broker_ns,omitempty"` // and the broker's CPU time for each record
}

const (
	loadValueBytes  = 100
	loadPartitions  = 6
	loadRecords     = 3_000_000
	loadConnections = 64
)

// load is a workload of the broker alone. It gets a topic's name, or a prefix of names.
type load struct {
	name, about string
	run         func(p *place, ctx context.Context, topic string, o Options, r *Result) error
}

var loads = []load{
	{"broker-produce", "100-byte records from a client, and to a sink that drops them", (*place).produceLoad},
	{"broker-consume", "such records to a client, and from a sink that has them in memory", (*place).consumeLoad},
	{"broker-small", "64 connections, each with one record at a time", (*place).smallLoad},
	{"broker-e2e", "a fixed rate, time from the intended send to the consumer", (*place).endToEndLoad},
	{"broker-many", "1,000 topics of 10 partitions idle, then 100 partitions active", (*place).manyLoad},
}

// AboutLoads lists the workloads of the broker alone, for a help text.
func AboutLoads() (about string) {
	for _, l := range loads {
		about += fmt.Sprintf("\n  %-18s %s", l.name, l.about)
	}
	return about
}

// IsLoad says whether a workload is one of the broker alone.
func IsLoad(name string) bool {
	_, ok := loadOf(name)
	return ok
}

func loadOf(name string) (load, bool) {
	for _, l := range loads {
		if l.name == name {
			return l, true
		}
	}
	return load{}, false
}

func (p *place) load(ctx context.Context, l load, o Options, r *Result) (err error) {
	topic := l.name + "-" + uuid.NewString()[:8]
	defer func() { err = errors.Join(err, p.removeTopics(ctx, topic)) }()
	r.Guarantee, r.Workers = "", 0 // there is no application
	p.server.forgetPeak()
	if err := l.run(p, ctx, topic, o, r); err != nil {
		return err
	}
	r.BrokerRSSMiB, r.Load.BrokerRSSMiB = p.server.peakRSSMiB(), p.server.rssMiB()
	return nil
}

// produceLoad sends as fast as a client can, with its default batches.
func (p *place) produceLoad(ctx context.Context, topic string, o Options, r *Result) error {
	return p.besideSink(ctx, topic, o, r, false, func(p *place, _ int32, records int) (flow, error) {
		r.Checked = fmt.Sprintf("%d records acknowledged, the offsets end there", records)
		return p.send(ctx, []string{topic}, records, o)
	})
}

// consumeLoad reads a topic that the same client has filled.
func (p *place) consumeLoad(ctx context.Context, topic string, o Options, r *Result) error {
	return p.besideSink(ctx, topic, o, r, true, func(p *place, partitions int32, records int) (flow, error) {
		r.Checked = fmt.Sprintf("%d records read, the offsets of each partition without gaps, and end there", records)
		filled, err := p.send(ctx, []string{topic}, records, o)
		if err != nil {
			return flow{}, err
		}
		f, err := p.drain(ctx, topic, partitions, records)
		f.batches = filled.batches
		return f, err
	})
}

// besideSink measures on the broker and then against a sink, where the rate is the client's ceiling. The sink keeps
// records if they are to be consumed.
func (p *place) besideSink(ctx context.Context, topic string, o Options, r *Result, keep bool,
	measure func(p *place, partitions int32, records int) (flow, error),
) error {
	partitions, records := cmp.Or(o.Partitions, loadPartitions), cmp.Or(o.Records, loadRecords)
	if err := p.createAll(ctx, partitions, topic); err != nil {
		return err
	}
	f, err := measure(p, partitions, records)
	if err != nil {
		return err
	}
	if err := p.holds(ctx, records, partitions, topic); err != nil {
		return err
	}
	sink, err := startSink(o, partitions, keep)
	if err != nil {
		return err
	}
	ceiling, err := measure(sink, partitions, records)
	r.flow(f, partitions)
	r.ceiling(ceiling)
	return errors.Join(err, sink.close())
}

// smallLoad has requests of one record on many connections. Those that are answered in the measured time count.
func (p *place) smallLoad(ctx context.Context, topic string, o Options, r *Result) error {
	partitions := cmp.Or(o.Partitions, loadPartitions)
	if err := p.createAll(ctx, partitions, topic); err != nil {
		return err
	}
	var conns [loadConnections]oneByOne
	first, connecting := errgroup.WithContext(ctx)
	for i := range conns {
		first.Go(func() error { return conns[i].open(connecting, p, topic, int32(i)%partitions) })
	}
	err := first.Wait()
	defer func() {
		for _, c := range conns {
			c.close()
		}
	}()
	if err != nil {
		return err
	}
	from := time.Now().Add(o.Warmup)
	until := from.Add(o.Measure)
	g, sending := errgroup.WithContext(ctx)
	for i := range conns {
		g.Go(func() error { return conns[i].sendUntil(sending, from, until) })
	}
	err = pause(sending, time.Until(from))
	f := p.startFlow()
	if err = cmp.Or(g.Wait(), err); err != nil {
		return err
	}
	all, latencies := 0, []int64(nil)
	for _, c := range conns {
		all, latencies = all+c.sent, append(latencies, c.latencies...)
	}
	if len(latencies) == 0 {
		return fmt.Errorf("bench: none of %d requests was answered within %s: use a longer --measure", all, o.Measure)
	}
	f.end(len(latencies))
	r.flow(f, partitions)
	r.WallSeconds, r.PerSecond = o.Measure.Seconds(), float64(len(latencies))/o.Measure.Seconds()
	r.LatencyMillis = percentiles(latencies)
	r.Checked = fmt.Sprintf("%d requests acknowledged with the warm-up, the offsets end there", all)
	return p.holds(ctx, all, partitions, topic)
}

// oneByOne is one connection of broker-small.
type oneByOne struct {
	client    *kgo.Client
	record    kgo.Record
	sent      int
	latencies []int64 // in microseconds, of the measured time
}

// open connects, and sends a first record.
func (c *oneByOne) open(ctx context.Context, p *place, topic string, partition int32) (err error) {
	if c.client, err = p.connect(kgo.ProducerLinger(0)); err != nil {
		return err
	}
	c.record = kgo.Record{Topic: topic, Partition: partition, Value: values(1)[0]}
	return c.send(ctx)
}

func (c *oneByOne) close() {
	if c.client != nil {
		c.client.Close()
	}
}

func (c *oneByOne) send(ctx context.Context) error {
	record := c.record // the client fills it in
	if err := c.client.ProduceSync(ctx, &record).FirstErr(); err != nil {
		return fmt.Errorf("bench: produce to topic %s partition %d: %w", record.Topic, record.Partition, err)
	}
	c.sent++
	return nil
}

// sendUntil sends one record after the other. Those that are answered from a moment on are measured.
func (c *oneByOne) sendUntil(ctx context.Context, from, until time.Time) error {
	for since := time.Now(); since.Before(until); {
		if err := c.send(ctx); err != nil {
			return err
		}
		now := time.Now()
		if !now.Before(from) && now.Before(until) {
			c.latencies = append(c.latencies, now.Sub(since).Microseconds())
		}
		since = now
	}
	return nil
}

// endToEndLoad sends at a fixed rate to a topic that is read at the same time.
func (p *place) endToEndLoad(ctx context.Context, topic string, o Options, r *Result) error {
	o.Rate = cmp.Or(o.Rate, 10_000)
	if err := p.createAll(ctx, 1, topic); err != nil {
		return err
	}
	sentAt := func(value []byte) (int64, error) { return int64(binary.BigEndian.Uint64(value)), nil }
	return p.sendAndReceive(ctx, pipe{in: topic, out: topic, sentAt: sentAt}, o, r)
}

const (
	manyTopics     = 1000
	manyActive     = 10 // of these
	manyPartitions = 10 // of each
	manyRecords    = 1_000_000
)

// manyLoad sends to a few topics, creates many more and lets them be idle, and sends to the few once more.
func (p *place) manyLoad(ctx context.Context, prefix string, o Options, r *Result) error {
	topics := make([]string, max(cmp.Or(o.Topics, manyTopics), manyActive))
	for i := range topics {
		topics[i] = prefix + "-" + strconv.Itoa(i)
	}
	active, records := topics[:manyActive], cmp.Or(o.Records, manyRecords)
	if err := p.createAll(ctx, manyPartitions, active...); err != nil {
		return err
	}
	evenly := kgo.RecordPartitioner(kgo.RoundRobinPartitioner())
	if _, err := p.send(ctx, active, records, o, evenly); err != nil { // warms both up
		return err
	}
	alone, err := p.send(ctx, active, records, o, evenly)
	if err != nil {
		return err
	}
	since := time.Now()
	if err := p.createAll(ctx, manyPartitions, topics[manyActive:]...); err != nil {
		return err
	}
	r.Load.CreateSeconds = time.Since(since).Seconds()
	if err := pause(ctx, o.Warmup); err != nil {
		return err
	}
	idle := p.startFlow()
	if err := pause(ctx, o.Measure); err != nil {
		return err
	}
	idle.end(0)
	r.Load.IdleCores, r.Load.IdleRSSMiB = idle.server.Seconds()/idle.took.wall, p.server.rssMiB()
	among, err := p.send(ctx, active, records, o, evenly)
	if err != nil {
		return err
	}
	r.flow(among, manyActive*manyPartitions)
	r.Load.AlonePerSecond, r.Load.AloneNanos = alone.perSecond(), alone.nanos()
	r.Checked = fmt.Sprintf("%d records acknowledged, the offsets end there; %d partitions", 3*records,
		len(topics)*manyPartitions)
	return p.holds(ctx, 3*records, manyActive*manyPartitions, active...)
}
