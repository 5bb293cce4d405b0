package topology_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/serde"
	"thalweg/topology"
)

// outlet keeps what a sink wrote.
type outlet struct {
	partitions int32
	keep       bool
	records    []written
}

type written struct {
	partition  int32
	key, value string
	null       bool
	ts         int64
}

func (o *outlet) Partitions() int32 { return o.partitions }

func (o *outlet) Append(p int32, ts int64, key, value []byte, _ []topology.Header) error {
	if o.keep {
		o.records = append(o.records, written{p, string(key), string(value), value == nil, ts})
	}
	return nil
}

func text(name string, topics ...string) topology.SourceConfig[string, string] {
	c := topology.SourceConfig[string, string]{Keys: serde.String{}, Values: serde.String{}}
	for _, t := range topics {
		c.Topics = append(c.Topics, topology.TopicName{Name: t})
	}
	return c
}

func source(name string, topics ...string) *topology.Node {
	return topology.NewSource(name, "app.go:1", text(name, topics...))
}

func sink(name, topic string) *topology.Node {
	return topology.NewSink(name, "app.go:2", topology.SinkConfig[string, string]{
		Topic: topology.TopicName{Name: topic}, Keys: serde.String{}, Values: serde.String{},
	})
}

func middle(name string, f func(*topology.Record[string, string]) error) *topology.Node {
	return &topology.Node{Name: name, Kind: topology.KindProcessor, Site: "app.go:3", Make: topology.Between(
		func(in *topology.Instance, next topology.Port[string, string]) (topology.Port[string, string], error) {
			return func(r *topology.Record[string, string]) error {
				in.Enter()
				if err := f(r); err != nil {
					return err
				}
				return next(r)
			}, nil
		})}
}

func pass(*topology.Record[string, string]) error { return nil }

func chain(nodes ...*topology.Node) []*topology.Node {
	for i := range nodes[:len(nodes)-1] {
		nodes[i].Connect(nodes[i+1])
	}
	return nodes
}

func record(topic, key, value string) *topology.SourceRecord {
	return &topology.SourceRecord{Topic: topic, Record: batch.Record{Key: []byte(key), Value: []byte(value), Timestamp: 7}}
}

func build(t *testing.T, env *topology.Env, out *outlet, nodes ...*topology.Node) *topology.Graph {
	t.Helper()
	topo, err := topology.New(nodes)
	require.NoError(t, err)
	env.Outlet = func(string) (topology.Outlet, error) { return out, nil }
	g, err := topology.Build(env, topo.Subtopologies()...)
	require.NoError(t, err)
	return g
}

func TestRecordsGoDepthFirstInOrderOfChildren(t *testing.T) {
	var seen []string
	see := func(name string) *topology.Node {
		return middle(name, func(*topology.Record[string, string]) error { seen = append(seen, name); return nil })
	}
	src, a, b, c, d := source("s", "in"), see("a"), see("b"), see("c"), see("d")
	src.Connect(a)
	src.Connect(b)
	a.Connect(c)
	a.Connect(d)
	g := build(t, &topology.Env{}, &outlet{partitions: 1}, src, d, c, b, a)
	require.NoError(t, g.Sources["in"][0].Receive(record("in", "k", "v")))
	require.Equal(t, []string{"a", "c", "d", "b"}, seen)
	require.Equal(t, int64(1), g.Instances[0].Processed)
}

func TestNullPassesFromSourceToSink(t *testing.T) {
	out := &outlet{partitions: 1, keep: true}
	g := build(t, &topology.Env{}, out, chain(source("s", "in"), sink("o", "out"))...)
	r := record("in", "k", "")
	require.NoError(t, g.Sources["in"][0].Receive(r))
	r.Value = nil
	require.NoError(t, g.Sources["in"][0].Receive(r))
	require.Equal(t, []written{{key: "k", ts: 7}, {key: "k", null: true, ts: 7}}, out.records)
}

func TestRepartitionSinkDropsNullKeys(t *testing.T) {
	out := &outlet{partitions: 1, keep: true}
	o := sink("o", "out")
	o.DropNullKeys = true
	g := build(t, &topology.Env{}, out, chain(source("s", "in"), o)...)
	r := record("in", "", "v")
	r.Key = nil
	require.NoError(t, g.Sources["in"][0].Receive(r))
	require.Empty(t, out.records)
	require.Equal(t, int64(1), g.Instances[1].Dropped[topology.NullKey])
}

// The vectors are Kafka's own (its UtilsTest): the hash must be the same for everyone who partitions by it.
func TestPartitionForIsKafkas(t *testing.T) {
	for key, hash := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		require.Equal(t, (hash&0x7fffffff)%1000, topology.PartitionFor([]byte(key), 1000), key)
		require.Equal(t, (hash&0x7fffffff)%7, topology.PartitionFor([]byte(key), 7), key)
	}
}

func TestSubtopologiesEndAtTopics(t *testing.T) {
	inner := topology.TopicName{Name: "x", Repartition: true, Partitions: 3}
	w := topology.NewSink("w", "app.go:5", topology.SinkConfig[string, string]{
		Topic: inner, Keys: serde.String{}, Values: serde.String{},
	})
	r := topology.NewSource("r", "app.go:5", topology.SourceConfig[string, string]{
		Topics: []topology.TopicName{inner}, Keys: serde.String{}, Values: serde.String{},
	})
	src, other, meet := source("s", "in"), source("other", "too"), middle("meet", pass)
	meet.ByKey = true
	src.Connect(w)
	r.Connect(meet)
	other.Connect(meet)
	topo, err := topology.New([]*topology.Node{src, w, r, other, meet})
	require.NoError(t, err)
	subs := topo.Subtopologies()
	require.Len(t, subs, 2)
	require.Equal(t, []topology.TopicName{{Name: "in"}}, subs[0].Inputs)
	require.Equal(t, []topology.TopicName{inner}, subs[0].Outputs)
	require.Equal(t, [][]topology.TopicName{{inner, {Name: "too"}}}, subs[1].Copartitioned)
	require.Equal(t, "app-x-repartition", inner.In("app"))

	d := topo.Describe()
	require.Contains(t, d.Mermaid(), `["meet"]`)
	require.Contains(t, d.DOT(), `[label="meet"]`)
	sum := topo.Fingerprint().Sum()
	require.Equal(t, sum, topology.ParseFingerprint(topo.Fingerprint().String()).Sum())
}

func TestNewReportsAllMistakes(t *testing.T) {
	lost, twice := middle("lost", pass), middle("lost", pass)
	src := source("s", "in", "bad name")
	o := sink("o", "")
	o.Sink.Name = "also/bad"
	src.Connect(o)
	_, err := topology.New([]*topology.Node{src, o, lost, twice})
	for _, want := range []string{
		`node "lost" is there already`, `node "lost": nothing forwards to it`, `name "bad name"`, `name "also/bad"`,
	} {
		require.ErrorContains(t, err, want)
	}
	a, b := middle("a", pass), middle("b", pass)
	a.Connect(b)
	b.Connect(a)
	_, err = topology.New([]*topology.Node{a, b})
	require.ErrorContains(t, err, "cycle")
}

func TestPortsOfOtherTypesAreRefused(t *testing.T) {
	src := topology.NewSource("s", "app.go:9", topology.SourceConfig[string, int64]{
		Topics: []topology.TopicName{{Name: "in"}}, Keys: serde.String{}, Values: serde.Int64{},
	})
	topo, err := topology.New(chain(src, middle("m", pass)))
	require.NoError(t, err)
	_, err = topology.Build(&topology.Env{}, topo.Subtopologies()...)
	require.ErrorContains(t, err, "node s (app.go:9): port: child 0 takes")
}

func TestGuardDropsTheRecordAtTheNodeThatFailed(t *testing.T) {
	boom := errors.New("boom")
	for _, panics := range []bool{false, true} {
		fails := middle("fails", func(*topology.Record[string, string]) error {
			if panics {
				panic(boom)
			}
			return boom
		})
		src, before, after := source("s", "in"), sink("before", "out"), sink("after", "out")
		src.Connect(before)
		src.Connect(fails)
		src.Connect(after)
		var got *topology.ProcessingError
		env := &topology.Env{Guarded: true, OnError: func(e *topology.ProcessingError) topology.Decision {
			got = e
			return topology.Skip
		}}
		out := &outlet{partitions: 1, keep: true}
		g := build(t, env, out, src, before, fails, after)
		env.Source = record("in", "k", "v")
		require.NoError(t, g.Sources["in"][0].Receive(env.Source))
		require.Len(t, out.records, 2, "what was forwarded before and after stays")
		require.ErrorIs(t, got, boom)
		require.Equal(t, "fails", got.Node)
		require.Equal(t, "in", got.Metadata.Topic)
		require.Equal(t, int64(1), g.Instances[2].Dropped[topology.Skipped])

		env.OnError = nil
		asked := g.Sources["in"][0].Receive(env.Source)
		require.ErrorIs(t, asked, boom)
		require.ErrorContains(t, asked, "node fails (app.go:3)")
	}
}

func TestFailIsNoPolicysToPassOver(t *testing.T) {
	var in *topology.Instance
	n := &topology.Node{Name: "store", Kind: topology.KindProcessor, Make: topology.Between(
		func(i *topology.Instance, next topology.Port[string, string]) (topology.Port[string, string], error) {
			in = i
			return func(r *topology.Record[string, string]) error { return in.Fail(r.Timestamp, errors.New("disk")) }, nil
		})}
	skip := func(*topology.ProcessingError) topology.Decision { return topology.Skip }
	env := &topology.Env{Guarded: true, OnError: skip}
	g := build(t, env, &outlet{partitions: 1}, chain(source("s", "in"), n)...)
	require.ErrorContains(t, g.Sources["in"][0].Receive(record("in", "k", "v")), "disk")
}

func TestTheSinkOfAChainAllocatesNothing(t *testing.T) {
	out := &outlet{partitions: 4}
	nodes := chain(source("s", "in"), middle("a", pass), middle("b", pass), sink("o", "out"))
	g := build(t, &topology.Env{}, out, nodes...)
	r := record("in", "some key", "some value")
	src := g.Sources["in"][0]
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if err := src.Receive(r); err != nil {
			t.Fatal(err)
		}
	}))
}
