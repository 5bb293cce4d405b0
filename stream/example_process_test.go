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
		Process(func() topology.Processor[string, string, string, string] { return &lastSeen{} }, seenAt).
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
		ProcessValues(func() topology.Processor[string, string, string, string] { return &lastSeen{} }, seenAt).
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
		Process(func() topology.Processor[string, string, string, string] { return metronome{} }).
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
	b.GlobalStore(others, func() stream.Filler[string, string] { return &sizes{} }, sizeOf)
	b.Stream(in).
		Process(func() topology.Processor[string, string, string, int64] { return &measured{} }).
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
