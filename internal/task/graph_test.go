package task_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/state/memory"
	"thalweg/topology"
)

// text is a record of the test graphs.
type text = topology.Record[string, string]

type port = topology.Port[string, string]

// source is a source node over topics of strings.
func source(name string, topics ...string) *topology.Node {
	c := topology.SourceConfig[string, string]{Keys: serde.For[string](), Values: serde.For[string]()}
	for _, t := range topics {
		c.Topics = append(c.Topics, topology.TopicName{Name: t})
	}
	return topology.NewSource(name, "site", c)
}

func sink(name, topic string) *topology.Node {
	return topology.NewSink(name, "site", topology.SinkConfig[string, string]{
		Topic: topology.TopicName{Name: topic}, Keys: serde.For[string](), Values: serde.For[string](),
	})
}

// processor is user code made of funcs.
type processor struct {
	init    func(c *topology.Context[string, string]) error
	process func(c *topology.Context[string, string], r text) error
	closed  func()
	c       *topology.Context[string, string]
}

func (p *processor) Init(c *topology.Context[string, string]) error {
	p.c = c
	if p.init == nil {
		return nil
	}
	return p.init(c)
}

func (p *processor) Process(r text) error {
	if p.process == nil {
		return p.c.Forward(r)
	}
	return p.process(p.c, r)
}

func (p *processor) Close() error {
	if p.closed != nil {
		p.closed()
	}
	return nil
}

func process(name string, p processor, stores ...state.Store) *topology.Node {
	return topology.NewProcessor(name, "site", stores, func() topology.Processor[string, string, string, string] {
		made := p
		return &made
	})
}

// chain connects nodes one after the other.
func chain(nodes ...*topology.Node) []*topology.Node {
	for i := 1; i < len(nodes); i++ {
		nodes[i-1].Connect(nodes[i])
	}
	return nodes
}

// rig is a task with what it needs around it: topics kept as batches.
type rig struct {
	t      *testing.T
	outbox *task.Outbox
	task   *task.Task
	topics map[string][]byte // concatenated batches, one partition each
	ends   map[string]int64

	ready     task.Ready     // of the commit under way
	sent      []*task.Packet // of the commit under way
	committed []task.Offset
	times     map[string]int64 // committed
}

func newRig(t *testing.T, c task.Config, nodes ...[]*topology.Node) *rig {
	r := &rig{t: t, topics: map[string][]byte{}, ends: map[string]int64{}}
	var all []*topology.Node
	for _, n := range nodes {
		all = append(all, n...)
	}
	r.start(c, all)
	return r
}

// start makes the task over the topics that are there.
func (r *rig) start(c task.Config, nodes []*topology.Node) {
	topo, err := topology.New(nodes)
	require.NoError(r.t, err)
	r.outbox = task.NewOutbox(task.OutboxConfig{Partitions: func(string) (int32, error) { return 1, nil }})
	c.ApplicationID, c.Outbox, c.Subs = "app", r.outbox, topo.Subtopologies()
	c.Tx = state.NewTx(state.Config{Engine: memory.New(), Namespace: state.Namespace(0)})
	r.task, err = task.New(c)
	require.NoError(r.t, err)
	for _, in := range r.task.Queues.Inputs() {
		if in.Next == topology.Unknown {
			require.NoError(r.t, r.task.Seek(task.Offset{Topic: in.Topic}))
		}
	}
	logs, err := r.task.Stores.Changelogs()
	require.NoError(r.t, err)
	for _, l := range logs {
		require.False(r.t, l.Known)
		for b, err := range batch.BatchesOf(r.topics[l.Topic]) {
			require.NoError(r.t, err)
			_, err := r.task.Stores.Restore(l.Store, 0, b)
			require.NoError(r.t, err)
		}
	}
	require.NoError(r.t, r.task.Restored(r.position))
	made := r.task
	r.t.Cleanup(func() { require.NoError(r.t, made.Close()) })
}

func (r *rig) position(store string) int64 { return r.ends["app-"+store+"-changelog"] }

// add queues one batch of records.
func (r *rig) add(topic string, base int64, records ...text) batch.Batch {
	b := encode(r.t, base, records...)
	require.NoError(r.t, r.task.Add(topic, 0, b))
	return b
}

func encode(t testing.TB, base int64, records ...text) batch.Batch {
	builder := batch.NewBuilder(batch.None)
	for _, rec := range records {
		builder.Append(rec.Timestamp, []byte(rec.Key), []byte(rec.Value), rec.Headers)
	}
	raw, err := builder.Finish(batch.NoProducer())
	require.NoError(t, err)
	batch.SetBaseOffset(raw, base, 0)
	b, _, err := batch.Parse(raw)
	require.NoError(t, err)
	return b
}

// commit keeps what the task wrote.
func (r *rig) commit() {
	r.begin()
	r.advance()
}

// begin begins a commit.
func (r *rig) begin() {
	var err error
	r.ready, err = r.task.Ready()
	require.NoError(r.t, err)
	r.sent = r.outbox.Take()
}

// abort drops what is not committed, and the commit under way.
func (r *rig) abort() {
	r.sent = nil
	r.outbox.Discard()
	require.NoError(r.t, r.task.Discard())
}

// advance ends the commit that was begun.
func (r *rig) advance() {
	for _, p := range r.sent {
		raw, err := p.Builder.Finish(batch.NoProducer())
		require.NoError(r.t, err)
		batch.SetBaseOffset(raw, r.ends[p.Topic], 0)
		r.ends[p.Topic] += int64(p.Builder.Len())
		r.topics[p.Topic] = append(r.topics[p.Topic], raw...)
		r.outbox.Recycle(p)
	}
	for _, o := range r.ready.Offsets {
		r.committed = slices.DeleteFunc(r.committed, func(old task.Offset) bool { return old.Topic == o.Topic })
		r.committed = append(r.committed, o)
	}
	if r.times == nil {
		r.times = map[string]int64{}
	}
	for _, at := range r.ready.Times {
		if r.times[at.Name] = at.At; at.At == topology.Unknown {
			delete(r.times, at.Name)
		}
	}
	require.NoError(r.t, r.task.Advance(r.position))
	r.sent = nil
}

// written are the values in a topic, committed.
func (r *rig) written(topic string) (values []string) {
	for b, err := range batch.BatchesOf(r.topics[topic]) {
		require.NoError(r.t, err)
		it, err := b.Records(nil)
		require.NoError(r.t, err)
		for rec := (batch.Record{}); it.Next(&rec); {
			values = append(values, string(rec.Value))
		}
	}
	return values
}

func at(timestamp int64) text { return text{Key: "k", Value: "v", Timestamp: timestamp} }

var errBoom = errors.New("boom")

// bare is a task that is not started.
func (r *rig) bare(topo *topology.Topology) *task.Task {
	outbox := task.NewOutbox(task.OutboxConfig{Partitions: func(string) (int32, error) { return 1, nil }})
	tk, err := task.New(task.Config{
		ApplicationID: "app", Outbox: outbox, Subs: topo.Subtopologies(),
		Tx: state.NewTx(state.Config{Namespace: state.Namespace(0)}),
	})
	require.NoError(r.t, err)
	return tk
}
