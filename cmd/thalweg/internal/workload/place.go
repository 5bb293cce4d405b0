package workload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/internal/batch"
	"thalweg/internal/direct"
	"thalweg/runtime"
)

// place is where a benchmark runs: the bundled broker on a temporary directory, or a cluster.
type place struct {
	broker *broker.Broker // nil for a cluster
	apart  *process       // the broker in a process of its own; nil: there is none
	server pid            // the broker's process, or that of a cluster's node on this machine
	seeds  []string
	dir    string
	client *kgo.Client
	admin  *kadm.Client
}

func openPlace(ctx context.Context, o Options) (*place, error) {
	dir, err := os.MkdirTemp("", "thalweg-bench-")
	if err != nil {
		return nil, err
	}
	p := &place{dir: dir}
	switch o.Brokers {
	case "embedded":
		p.broker, err = broker.Open(broker.Config{
			Dir: filepath.Join(dir, "broker"), Sync: o.Sync, MemoryBytesMax: o.MemoryBytesMax, Logger: o.Logger,
			MaxTopicPartitions: tasksPartitionsMax,
		})
	case "process":
		if p.apart, err = startBroker(o, dir); err == nil {
			p.seeds, p.server = []string{p.apart.addr}, pid(p.apart.cmd.Process.Pid)
		}
	default:
		p.seeds = strings.Split(o.Brokers, ",")
		p.server = listener(p.seeds[0])
	}
	if err == nil {
		p.client, err = p.connect()
	}
	if err == nil && p.broker == nil {
		if err = p.client.Ping(ctx); err != nil {
			err = fmt.Errorf("bench: no broker answers at %s: is it running? %w", o.Brokers, err)
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
	if p.apart != nil {
		err = p.apart.stop()
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
	c := runtime.Config{
		ApplicationID: id, Broker: p.broker, Seeds: p.seeds, NoLocal: o.NoLocal,
		State:     runtime.StateConfig{Dir: filepath.Join(p.dir, "state")},
		Guarantee: o.Guarantee, Workers: o.Workers, CommitInterval: o.Commit,
		Limits: runtime.Limits{MemoryBytesMax: o.MemoryBytesMax, BatchBytes: int(o.BatchBytes)},
		Logger: o.Logger,
	}
	if o.StateDir != "" {
		c.State.Dir = o.StateDir
	}
	if o.Delay > 0 {
		c.ClientOptions = delayed(o.Delay)
	}
	return c
}

// create makes a topic that keeps its records for ever; one that is there already is fine.
func (p *place) create(ctx context.Context, topic string, partitions int32) (made bool, err error) {
	forever := "-1"
	resp, err := p.admin.CreateTopic(ctx, partitions, -1, map[string]*string{"retention.ms": &forever}, topic)
	if err == nil {
		err = resp.Err
	}
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("bench: create topic %s: %w", topic, err)
	}
	return true, nil
}

// removeTopics deletes the topics of a cluster whose names begin so: they are a run's own, which may have failed or
// been interrupted. The bundled broker's vanish with its directory.
func (p *place) removeTopics(ctx context.Context, prefix string) error {
	if p.broker != nil || p.apart != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	all, err := p.admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("bench: delete the topics %s*, which are left: list topics: %w", prefix, err)
	}
	var own []string
	for _, topic := range all.Names() {
		if strings.HasPrefix(topic, prefix) {
			own = append(own, topic)
		}
	}
	return p.deleteTopics(ctx, own...)
}

// removeTime is how long a broker may take to delete topics.
const removeTime = 30 * time.Second

// deleteTopics deletes topics by their names, of which there may be none.
func (p *place) deleteTopics(ctx context.Context, topics ...string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	deleted, err := p.admin.DeleteTopics(ctx, topics...)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		return fmt.Errorf("bench: delete the topics %s, which are left: %w", strings.Join(topics, ", "), err)
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
	batches []encodedBatch // nil: they are not in memory
	made    bool           // the topic was not there before
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
func (s Set) encode(topic string, records int) (batches []encodedBatch, err error) {
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
		batches = append(batches, encodedBatch{topic, int32(partition), b.BaseTimestamp(), raw})
		builders[partition].Reset()
		return nil
	}
	err = s.each(records, func(r *Record) error {
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
	return batches, err
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
		acks := direct.AcksNone
		if last[place{b.topic, b.partition}] == i {
			acks = direct.AcksAll // from then on it is known how much there is to do
		}
		results, err := direct.Of(p.broker).Produce(ctx, direct.ProduceRequest{Partitions: []direct.ProducePartition{
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
