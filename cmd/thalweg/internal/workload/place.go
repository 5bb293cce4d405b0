package workload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/internal/batch"
	"thalweg/runtime"
)

// place is where a benchmark runs: the bundled broker on a temporary directory, or a cluster.
type place struct {
	broker *broker.Broker // nil for a cluster
	seeds  []string
	dir    string
	client *kgo.Client
	admin  *kadm.Client
}

func openPlace(ctx context.Context, brokers string, sync broker.Sync, logger *slog.Logger) (*place, error) {
	dir, err := os.MkdirTemp("", "thalweg-bench-")
	if err != nil {
		return nil, err
	}
	p := &place{dir: dir}
	if brokers == "embedded" {
		p.broker, err = broker.Open(broker.Config{Dir: filepath.Join(dir, "broker"), Sync: sync, Logger: logger})
	} else {
		p.seeds = strings.Split(brokers, ",")
	}
	if err == nil {
		p.client, err = p.connect()
	}
	if err == nil && p.broker == nil {
		if err = p.client.Ping(ctx); err != nil {
			err = fmt.Errorf("bench: no broker answers at %s: is it running? %w", brokers, err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.admin = kadm.NewClient(p.client)
	return p, nil
}

func (p *place) close() error {
	var err error
	if p.client != nil {
		p.client.Close()
	}
	if p.broker != nil {
		err = p.broker.Close()
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

func (p *place) connect(opts ...kgo.Opt) (*kgo.Client, error) {
	opts = append([]kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DisableClientMetrics(),
	}, opts...)
	if p.broker != nil {
		opts = append(opts, kgo.SeedBrokers(p.broker.Addr()), kgo.Dialer(p.broker.Dial))
	} else {
		opts = append(opts, kgo.SeedBrokers(p.seeds...))
	}
	return kgo.NewClient(opts...)
}

// config says where an application finds the place's broker and keeps its state.
func (p *place) config(id string, o Options) runtime.Config {
	return runtime.Config{
		ApplicationID: id, Broker: p.broker, Seeds: p.seeds, NoLocal: o.NoLocal,
		StateDir: filepath.Join(p.dir, "state"), Guarantee: o.Guarantee, Workers: o.Workers, CommitEvery: o.Commit,
		Logger: o.Logger,
	}
}

// create makes a topic that keeps its records for ever; one that is there already is fine.
func (p *place) create(ctx context.Context, topic string, partitions int32) error {
	forever := "-1"
	made, err := p.admin.CreateTopic(ctx, partitions, -1, map[string]*string{"retention.ms": &forever}, topic)
	if err == nil {
		err = made.Err
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("bench: create topic %s: %w", topic, err)
	}
	return nil
}

// removeTopics deletes the topics of a cluster whose names begin so: they are a run's own. The bundled broker's vanish
// with its directory.
func (p *place) removeTopics(ctx context.Context, prefix string) error {
	if p.broker != nil {
		return nil
	}
	all, err := p.admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("bench: list topics: %w", err)
	}
	var own []string
	for _, topic := range all.Names() {
		if strings.HasPrefix(topic, prefix) {
			own = append(own, topic)
		}
	}
	if _, err := p.admin.DeleteTopics(ctx, own...); err != nil {
		return fmt.Errorf("bench: delete topics %s: %w", strings.Join(own, ", "), err)
	}
	return nil
}

// records is how many offsets a topic's partitions have in all, and how many partitions there are; none at all for
// a topic that does not exist.
func (p *place) records(ctx context.Context, topic string) (n int64, partitions int32, err error) {
	ends, err := p.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, 0, fmt.Errorf("bench: list offsets of topic %s: %w", topic, err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err != nil {
			if !errors.Is(o.Err, kerr.UnknownTopicOrPartition) {
				err = fmt.Errorf("bench: list offsets of topic %s: %w", topic, o.Err)
			}
			return
		}
		n += o.Offset
		partitions++
	})
	return n, partitions, err
}

// encoded is a data set as record batches.
type encoded struct {
	set     Set
	topic   string
	records int
	batches []encodedBatch
}

type encodedBatch struct {
	topic     string
	partition int32
	timestamp int64 // of its first record
	raw       []byte
}

// inputBatchBytes is the size of the batches of a data set.
const inputBatchBytes = 256 << 10

// encode generates a data set, or its beginning.
func (s Set) encode(topic string, records int) (*encoded, error) {
	e := &encoded{set: s, topic: topic, records: records}
	var outside region
	builders := make([]*batch.Builder, s.Partitions)
	for i := range builders {
		builders[i] = batch.NewBuilder(batch.None)
	}
	finish := func(partition int) error {
		raw, err := builders[partition].Finish(batch.NoProducer())
		if err != nil {
			return err
		}
		b, _, err := batch.Parse(raw)
		if err != nil {
			return err
		}
		if raw, err = outside.clone(raw); err != nil {
			return err
		}
		e.batches = append(e.batches, encodedBatch{topic, int32(partition), b.BaseTimestamp(), raw})
		builders[partition].Reset()
		return nil
	}
	err := s.Generate(records, func(r *Record) error {
		b := builders[r.Partition]
		b.Append(r.Timestamp, r.Key, r.Value, nil)
		if b.Size() >= inputBatchBytes {
			return finish(int(r.Partition))
		}
		return nil
	})
	for i, b := range builders {
		if err == nil && b.Len() > 0 {
			err = finish(i)
		}
	}
	return e, err
}

// raw are the batches of all partitions, by set.
func raw(sets []*encoded) (all [][][]byte) {
	for _, e := range sets {
		var batches [][]byte
		for _, b := range e.batches {
			batches = append(batches, b.raw)
		}
		all = append(all, batches)
	}
	return all
}

// feed writes data sets to the bundled broker as they are, batch by batch in the order of their timestamps.
func (p *place) feed(ctx context.Context, sets ...*encoded) error {
	var batches []encodedBatch
	for _, e := range sets {
		batches = append(batches, e.batches...)
	}
	if len(sets) > 1 {
		slices.SortStableFunc(batches, func(a, b encodedBatch) int { return cmp.Compare(a.timestamp, b.timestamp) })
	}
	type place struct {
		topic     string
		partition int32
	}
	last := map[place]int{}
	for i, b := range batches {
		last[place{b.topic, b.partition}] = i
	}
	for i, b := range batches {
		acks := broker.AcksLeader
		if last[place{b.topic, b.partition}] == i {
			acks = broker.AcksAll // from then on it is known how much there is to do
		}
		results, err := p.broker.Produce(ctx, broker.ProduceRequest{Partitions: []broker.ProducePartition{
			{Topic: b.topic, Partition: b.partition, Batches: b.raw},
		}, Acks: acks, Summed: true}) // by encode, as a producer in this process does it
		if err == nil {
			err = results[0].Err
		}
		if err != nil {
			return fmt.Errorf("bench: feed topic %s partition %d: %w", b.topic, b.partition, err)
		}
	}
	return nil
}

// feedRecords writes a data set to a cluster, record by record.
func (p *place) feedRecords(ctx context.Context, e *encoded) error {
	var d batch.Decoder
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, encoded := range e.batches {
		b, _, err := batch.Parse(encoded.raw)
		if err != nil {
			return err
		}
		it, err := b.Records(&d)
		if err != nil {
			return err
		}
		for r := (batch.Record{}); it.Next(&r); {
			record := &kgo.Record{Topic: e.topic, Partition: encoded.partition, Key: r.Key, Value: r.Value}
			record.Timestamp = milliseconds(r.Timestamp)
			p.client.Produce(ctx, record, func(_ *kgo.Record, err error) {
				if err != nil {
					cancel(fmt.Errorf("bench: feed topic %s: %w", e.topic, err))
				}
			})
		}
	}
	if err := p.client.Flush(ctx); err != nil {
		return context.Cause(ctx)
	}
	return context.Cause(ctx)
}
