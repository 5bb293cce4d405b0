package stream_test

import (
	"fmt"
	"time"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// lastSeen passes on how long ago a key was seen before.
type lastSeen struct {
	c     *topology.Context[string, string]
	store *state.KVStore[string, int64]
}

var seenAt = state.NewKV[string, int64]("seen-at")

func (p *lastSeen) Init(c *topology.Context[string, string]) (err error) {
	p.c = c
	p.store, err = seenAt.Open(c)
	return err
}

func (p *lastSeen) Process(r topology.Record[string, string]) error {
	before, _, ok, err := p.store.Get(r.Key)
	if err != nil {
		return err
	}
	if ok {
		out := topology.Record[string, string]{Key: r.Key, Timestamp: r.Timestamp, Headers: r.Headers}
		out.Value = fmt.Sprintf("seen %d ms ago", r.Timestamp-before)
		if err := p.c.Forward(out); err != nil {
			return err
		}
	}
	return p.store.Put(r.Key, r.Timestamp, r.Timestamp)
}

// A processor of the program's own, with a store.
func ExampleStream_Process() {
	b := stream.NewBuilder()
	b.Stream(in).
		Process(func() *lastSeen { return &lastSeen{} }, seenAt).
		To(out)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 100)
	d.Input(in).Send("b", "x", 120)
	d.Input(in).Send("a", "x", 130)
	show(d, out)
	// Output:
	// a=seen 30 ms ago@130
}

// The same one keeps the key whatever it forwards, so that what follows needs no repartition.
func ExampleStream_ProcessValues() {
	b := stream.NewBuilder()
	b.Stream(in).
		ProcessValues(func() *lastSeen { return &lastSeen{} }, seenAt).
		GroupByKey().Count(byWord).ToStream().To(counts)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 100)
	d.Input(in).Send("a", "x", 130)
	show(d, counts)
	// Output:
	// a=1@130
}

// metronome tells the wall clock each second, whether records come or not.
type metronome struct{}

func (metronome) Init(c *topology.Context[string, string]) error {
	_, err := c.Schedule(time.Second, topology.WallClock, func(now int64) error {
		return c.Forward(topology.Record[string, string]{Key: "tick", Value: fmt.Sprint(now), Timestamp: now})
	})
	return err
}

func (metronome) Process(topology.Record[string, string]) error { return nil }

func ExampleStream_Process_punctuation() {
	b := stream.NewBuilder()
	b.Stream(in).
		Process(func() metronome { return metronome{} }).
		To(out)
	d := play(b)
	defer d.Close()
	d.AdvanceWallClock(time.Second)
	d.AdvanceWallClock(time.Second)
	show(d, out)
	// Output:
	// tick=1000@1000
	// tick=2000@2000
}

// sizes fills a store that every task reads: how long each word is.
type sizes struct {
	store *state.KVStore[string, int64]
}

var sizeOf = state.NewKV[string, int64]("size-of")

func (p *sizes) Init(c *topology.Context[struct{}, struct{}]) (err error) {
	p.store, err = sizeOf.Open(c)
	return err
}

func (p *sizes) Process(r topology.Record[string, string]) error {
	return p.store.Put(r.Value, int64(len(r.Value)), r.Timestamp)
}

// measured reads the store.
type measured struct {
	c *topology.Context[string, int64]
}

func (p *measured) Init(c *topology.Context[string, int64]) error {
	p.c = c
	return nil
}

func (p *measured) Process(r topology.Record[string, string]) error {
	n, _, ok, err := sizeOf.Read(p.c.Globals()).Get(r.Value)
	if err != nil || !ok {
		return err
	}
	return p.c.Forward(topology.Record[string, int64]{Key: r.Value, Value: n, Timestamp: r.Timestamp})
}

func ExampleBuilder_GlobalStore() {
	b := stream.NewBuilder()
	b.GlobalStore(others, func() *sizes { return &sizes{} }, sizeOf)
	b.Stream(in).
		Process(func() *measured { return &measured{} }).
		To(sums)
	d := play(b)
	defer d.Close()
	d.Input(others).Send("1", "water", 0)
	d.Input(in).Send("a", "water", 1)
	d.Input(in).Send("a", "ice", 2)
	show(d, sums)
	// Output:
	// water=5@1
}

// A graph of processors in the middle of a program: StreamOf and HandleOf lead in and out of it.
func ExampleBuilder_Graph() {
	b := stream.NewBuilder()
	lines := b.Stream(in).Filter(func(_, v string) bool { return v != "" })
	seen := b.HandleOf(lines).ProcessValues("last-seen", func() *lastSeen { return &lastSeen{} }, seenAt)
	seen.Sink("seen", out)
	b.StreamOf(seen).GroupByKey().Count(byWord).ToStream().To(counts)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 100)
	d.Input(in).Send("a", "", 110)
	d.Input(in).Send("a", "x", 130)
	show(d, out)
	show(d, counts)
	// Output:
	// a=seen 30 ms ago@130
	// a=1@130
}

// A program that begins with a node of the graph and goes on in the language.
func ExampleBuilder_StreamOf() {
	b := stream.NewBuilder()
	source := b.Graph().Source("texts", in)
	b.StreamOf(source).GroupByKey().Count(byWord).ToStream().To(counts)
	d := play(b)
	defer d.Close()
	d.Input(in).Send("a", "x", 100)
	show(d, counts)
	// Output:
	// a=1@100
}

// A stream behind which a processor stands that is named, so that other nodes can choose it.
func ExampleBuilder_HandleOf() {
	b := stream.NewBuilder()
	words := b.HandleOf(b.Stream(in).FlatMapValues(words))
	words.Process("measure", func() *measured { return &measured{} }).Sink("sizes", sums)
	b.Graph().GlobalStore("sizes-of", others, func() *sizes { return &sizes{} }, sizeOf)
	d := play(b)
	defer d.Close()
	d.Input(others).Send("1", "water", 0)
	d.Input(in).Send("a", "ice water", 1)
	show(d, sums)
	// Output:
	// water=5@1
}

// moments puts each record into a window store and passes on how many it finds there.
type moments struct {
	c     *topology.Context[string, int64]
	store *state.WindowStore[string, string]
}

var lastMoments = state.NewWindowed[string, string]("moments").Retain(10 * time.Second)

func (p *moments) Init(c *topology.Context[string, int64]) (err error) {
	p.c = c
	p.store, err = lastMoments.Open(c)
	return err
}

func (p *moments) Process(r topology.Record[string, string]) error {
	if err := p.store.Put(r.Key, r.Timestamp, r.Value, r.Timestamp); err != nil {
		return err
	}
	n := int64(0)
	for _, err := range p.store.Fetch(r.Key, 0, r.Timestamp) {
		if err != nil {
			return err
		}
		n++
	}
	return p.c.Forward(topology.Record[string, int64]{Key: r.Key, Value: n, Timestamp: r.Timestamp})
}

// A window store that a processor uses itself keeps what is as new as it should retain.
func ExampleStream_Process_retain() {
	b := stream.NewBuilder()
	b.Stream(in).
		Process(func() *moments { return &moments{} }, lastMoments).
		To(counts)
	d := play(b)
	defer d.Close()
	for _, at := range []int64{0, 100_000, 105_000, 200_000} {
		d.Input(in).Send("a", "x", at)
	}
	show(d, counts)
	// Output:
	// a=1@0
	// a=1@100000
	// a=2@105000
	// a=1@200000
}
