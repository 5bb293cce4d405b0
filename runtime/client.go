package runtime

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"thalweg/topology"
)

// Client makes topics, writes records to them and reads records from them, with the types, the serdes and the
// partitioner of a [topology.Topic]. It works on the bundled broker in the process as on a cluster, and needs no
// application. Its methods may be called from any goroutine. Close it before the broker.
//
// What is written has been acknowledged by all replicas when a method returns, and a retry never writes it twice. What
// is read is committed: records of transactions that are open or were aborted never show.
type Client struct {
	core core // an interface, so that programs which name the type do not compile what is behind it
}

// core is the client without types.
type core interface {
	ping(ctx context.Context) error
	create(ctx context.Context, partitions int32, topics []string) error
	remove(ctx context.Context, topics []string) error
	internalTopics(ctx context.Context, applicationID string) ([]string, error)
	reset(ctx context.Context, applicationID string) error
	send(ctx context.Context, topic string, records iter.Seq2[outgoing, error]) (last topology.Metadata, err error)
	read(ctx context.Context, topic string, from From, visit visitor) error
	offsets(ctx context.Context, topic string, from From) (map[int32]int64, error)
	close()
}

// NewClient returns a client of the broker or cluster that cfg names by Broker or Seeds. It takes the client options,
// compression, limits, timeouts, topic settings and logger from cfg, too; the same Config can be given to [New].
// Nothing is connected before the first call. The broker stays the caller's. A client has a part of the memory limit
// (Config.Limits.MemoryBytesMax) until Close, but has no say in what the limit is where there is an application or a
// broker.
func NewClient(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validateClient(); err != nil {
		return nil, err
	}
	c, err := newConnection(cfg)
	if err != nil {
		return nil, err
	}
	if err := c.clientConfig().Check(); err != nil {
		c.close()
		return nil, fmt.Errorf("runtime: config: %w", err)
	}
	return &Client{c}, nil
}

// Close ends what is under way: reads return an error, and records that have not been acknowledged may be lost.
func (c *Client) Close() { c.core.close() }

// Ping returns nil when a broker answers, without trying again for long.
func (c *Client) Ping(ctx context.Context) error { return c.core.ping(ctx) }

// Named is what has a name: a [topology.Topic] of any types.
type Named interface{ Name() string }

// Create makes the topics that are missing, with so many partitions; 0 means Config.Topics.Partitions, which is 4. Its
// replication factor and settings are those of Config.Topics. A topic that is there is left as it is. Create fails when
// that has another number of partitions than was asked for, with 0 never.
func (c *Client) Create(ctx context.Context, partitions int32, topics ...Named) error {
	return c.core.create(ctx, partitions, namesOf(topics))
}

// Delete deletes topics and all that is in them. A topic that does not exist is as good as deleted.
func (c *Client) Delete(ctx context.Context, topics ...Named) error {
	return c.core.remove(ctx, namesOf(topics))
}

// Reset makes the broker forget an application: it deletes all changelog and repartition topics whose names begin with
// its id, its progress topic, and the committed offsets. Topics stay that another application has listed, and topics
// that the application has not listed and whose names begin with the longer name of another group: they may belong to
// an application of Kafka Streams. No process of the application may run, and its directory below Config.State.Dir has
// to be deleted, too.
func (c *Client) Reset(ctx context.Context, applicationID string) error {
	return c.core.reset(ctx, applicationID)
}

// InternalTopics returns the names of the topics that [Client.Reset] deletes; none where it would find nothing.
func (c *Client) InternalTopics(ctx context.Context, applicationID string) ([]string, error) {
	topics, err := c.core.internalTopics(ctx, applicationID)
	if err != nil {
		return nil, fmt.Errorf("runtime: internal topics of %s: %w", applicationID, err)
	}
	return topics, nil
}

func namesOf(topics []Named) []string {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name()
	}
	return names
}

// Put writes one record, with the present time. A nil key or value of a type that has nil (pointer, slice, map,
// interface) is null.
func (c *Client) Put[K, V any](ctx context.Context, t topology.Topic[K, V], key K, value V) error {
	return c.Send(ctx, t, topology.Record[K, V]{Key: key, Value: value})
}

// Send writes records, in order within each partition, and returns when all of them are acknowledged: one call with
// many records is much faster than many calls. A Timestamp of 0 becomes the present time. NullKey and NullValue make
// null what its type can't say. A partition that the topic's Partition function chooses must exist.
//
// An error is of the first record that failed and names its place in the call, counted from 0, and its topic. Records
// before and after it may have been written.
func (c *Client) Send[K, V any](
	ctx context.Context, t topology.Topic[K, V], records ...topology.Record[K, V],
) error {
	return c.SendAll(ctx, t, slices.Values(records))
}

// SendOne is [Client.Send] of one record. It returns where the record lies.
func (c *Client) SendOne[K, V any](
	ctx context.Context, t topology.Topic[K, V], record topology.Record[K, V],
) (topology.Metadata, error) {
	return c.core.send(ctx, t.Name(), encoded(t, slices.Values([]topology.Record[K, V]{record})))
}

// SendAll is [Client.Send] of any number of records, which it takes one by one and sends in batches. It waits before it
// takes the next one while what this client has on its way fills its part of the memory limit, 64 MiB at most. It stops
// at the first error; what was taken until then may have been written.
func (c *Client) SendAll[K, V any](
	ctx context.Context, t topology.Topic[K, V], records iter.Seq[topology.Record[K, V]],
) error {
	_, err := c.core.send(ctx, t.Name(), encoded(t, records))
	return err
}

// Record is a record that was read, and where it lies. A key or value that is a string or bytes may be a view of the
// batch that was fetched, up to 1 MiB, which it keeps in memory: strings.Clone what is kept for long.
type Record[K, V any] struct {
	topology.Record[K, V]
	topology.Metadata // topic, partition, offset
}

// Read yields the committed records of a topic, from where from says up to the present end, or on and on with
// [From.Follow]. Records of one partition come in order; partitions come as they arrive. Timestamps are the records'
// own, whatever the topic's Timestamps function says.
//
//	for r, err := range client.Read(ctx, counts, runtime.Earliest()) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(r.Key, r.Value, r.Partition, r.Offset)
//	}
//
// The present end is where the topic's partitions end when the loop begins: a record that is acknowledged before is in
// it. A record that can't be decoded comes as an error with its place and with null key and value, and so does a batch
// that can't be read, whose error wraps a [DamageError]: the loop may go on after them, or be left to stop there. Any
// other error is the last thing that comes, and so is the end of ctx. Leaving the loop ends reading.
//
// Nothing is fetched far ahead of the loop: at most three answers wait for it, each of a quarter of the loop's part of
// the memory limit, 8 MiB at most.
func (c *Client) Read[K, V any](
	ctx context.Context, t topology.Topic[K, V], from From,
) iter.Seq2[Record[K, V], error] {
	return func(yield func(Record[K, V], error) bool) {
		d, err := decodingOf(t)
		left := false
		if err == nil {
			err = c.core.read(ctx, t.Name(), from, func(r *topology.SourceRecord, damage *DamageError) bool {
				out, err := d.decode(r, damage)
				left = !yield(out, err)
				return !left
			})
		}
		if err != nil && !left {
			yield(Record[K, V]{Metadata: topology.Metadata{Topic: t.Name(), Partition: -1, Offset: -1}}, err)
		}
	}
}

// Offsets returns the offset at which Read would begin in each partition that from names. For Latest that is the offset
// after the last committed record; for a group what it has committed.
func (c *Client) Offsets(ctx context.Context, topic Named, from From) (map[int32]int64, error) {
	return c.core.offsets(ctx, topic.Name(), from)
}
