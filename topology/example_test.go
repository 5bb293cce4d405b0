package topology_test

import (
	"fmt"
	"log"
	"strings"
	"time"

	"thalweg/state"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// What outlives the program: two topics and a store.
var (
	Lines  = topology.NewTopic[string, string]("source-topic")
	Totals = topology.NewTopic[string, int64]("sink-topic")
	Counts = state.NewKV[string, int64]("Counts")
)

// wordCount counts words in a store, and forwards all counts each second of stream time.
type wordCount struct{ counts *state.KVStore[string, int64] }

func (p *wordCount) Init(c *topology.Context[string, int64]) (err error) {
	if p.counts, err = Counts.Open(c); err != nil {
		return err
	}
	_, err = c.Schedule(time.Second, topology.StreamTime, func(now int64) error {
		for e, err := range p.counts.All() {
			if err != nil {
				return err
			}
			if err := c.Forward(topology.Record[string, int64]{Key: e.Key, Value: e.Value, Timestamp: now}); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func (p *wordCount) Process(r topology.Record[string, string]) error {
	for word := range strings.FieldsSeq(strings.ToLower(r.Value)) {
		n, _, _, err := p.counts.Get(word)
		if err != nil {
			return err
		}
		if err := p.counts.Put(word, n+1, r.Timestamp); err != nil {
			return err
		}
	}
	return nil
}

// The word count of Kafka's documentation: a processor with a store, which a clock makes forward.
func Example() {
	b := topology.NewBuilder()
	b.Source("Source", Lines).
		Process("Process", func() *wordCount { return &wordCount{} }, Counts).
		Sink("Sink", Totals)
	topo, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(topo.Describe())

	d := streamtest.Open(topo, streamtest.Config{})
	defer d.Close()
	d.Input(Lines).Send("", "To be or not to be", 100)
	d.Input(Lines).Send("", "That is", 900) // the same second
	d.Input(Lines).Send("", "the question", 1_100)
	for _, r := range d.Output(Totals).ReadStrings() {
		fmt.Println(r)
	}
	// Output:
	// Topologies:
	//    Sub-topology: 0
	//     Source: Source (topics: [source-topic])
	//       --> Process
	//     Processor: Process (stores: [Counts])
	//       --> Sink
	//       <-- Source
	//     Sink: Sink (topic: sink-topic)
	//       <-- Process
	//
	// be=2@100
	// not=1@100
	// or=1@100
	// to=2@100
	// be=2@1100
	// is=1@1100
	// not=1@1100
	// or=1@1100
	// question=1@1100
	// that=1@1100
	// the=1@1100
	// to=2@1100
}

// play builds a program and starts it, in memory.
func play(b *topology.Builder) *streamtest.Driver {
	topo, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	return streamtest.Open(topo, streamtest.Config{})
}

// show prints what a topic holds, a line for each record: key=value@timestamp.
func show[K, V any](d *streamtest.Driver, t topology.Topic[K, V]) {
	for _, r := range d.Output(t).ReadStrings() {
		fmt.Println(r)
	}
}

var (
	Orders   = topology.NewTopic[string, string]("orders")
	Payments = topology.NewTopic[string, string]("payments")
	Paid     = topology.NewTopic[string, string]("paid")
	Unpaid   = topology.NewTopic[string, string]("unpaid")
	Open     = state.NewKV[string, string]("open-orders")
)

// ordered remembers orders.
type ordered struct {
	open *state.KVStore[string, string]
}

func (p *ordered) Init(c *topology.Context[struct{}, struct{}]) (err error) {
	p.open, err = Open.Open(c)
	return err
}

func (p *ordered) Process(r topology.Record[string, string]) error {
	return p.open.Put(r.Key, r.Value, r.Timestamp)
}

// paid forwards what was ordered to one child, and payments for nothing to the other.
type paid struct {
	c    *topology.Context[string, string]
	open *state.KVStore[string, string]
}

func (p *paid) Init(c *topology.Context[string, string]) (err error) {
	p.c = c
	p.open, err = Open.Open(c)
	return err
}

func (p *paid) Process(r topology.Record[string, string]) error {
	item, _, ok, err := p.open.Get(r.Key)
	if err != nil {
		return err
	}
	if !ok {
		return p.c.ForwardTo("unknown", r)
	}
	r.Value = item + " for " + r.Value
	return p.c.ForwardTo("paid", r)
}

// Two processors that share a store, and children that are chosen by name.
func ExampleHandle_Process() {
	b := topology.NewBuilder()
	b.Source("orders", Orders).
		Process("remember", func() *ordered { return &ordered{} }, Open)
	match := b.Source("payments", Payments).
		Process("match", func() *paid { return &paid{} }, Open)
	match.Sink("paid", Paid)
	match.Sink("unknown", Unpaid)
	d := play(b)
	defer d.Close()
	d.Input(Orders).Send("17", "tea", 1)
	d.Input(Payments).Send("17", "3.50", 2)
	d.Input(Payments).Send("18", "9.90", 3)
	show(d, Paid)
	show(d, Unpaid)
	// Output:
	// 17=tea for 3.50@2
	// 18=9.90@3
}

// shout makes values louder. It tries to change keys, too.
type shout struct {
	c *topology.Context[string, string]
}

func (p *shout) Init(c *topology.Context[string, string]) error { p.c = c; return nil }

func (p *shout) Process(r topology.Record[string, string]) error {
	r.Key, r.Value = "another", strings.ToUpper(r.Value)
	return p.c.Forward(r)
}

func ExampleHandle_ProcessValues() {
	b := topology.NewBuilder()
	b.Source("orders", Orders).
		ProcessValues("shout", func() *shout { return &shout{} }).
		Sink("paid", Paid)
	d := play(b)
	defer d.Close()
	d.Input(Orders).Send("17", "tea", 1)
	show(d, Paid)
	// Output:
	// 17=TEA@1
}

// A processor behind several nodes.
func ExampleHandle_Merge() {
	b := topology.NewBuilder()
	orders, payments := b.Source("orders", Orders), b.Source("payments", Payments)
	orders.Merge(payments).
		Process("shout", func() *shout { return &shout{} }).
		Sink("paid", Paid)
	d := play(b)
	defer d.Close()
	d.Input(Orders).Send("17", "tea", 1)
	d.Input(Payments).Send("17", "paid", 2)
	show(d, Paid)
	// Output:
	// another=TEA@1
	// another=PAID@2
}

// Behind a changed key a repartition brings equal keys together.
func ExampleHandle_Repartition() {
	b := topology.NewBuilder()
	b.Source("orders", Orders).
		Process("shout", func() *shout { return &shout{} }).
		Repartition("by-name").Partitions(2).
		Process("count", func() *wordCount { return &wordCount{} }, Counts).
		Sink("totals", Totals)
	topo, err := b.Build()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(topo.Fingerprint())
	d := streamtest.Open(topo, streamtest.Config{Partitions: 2})
	defer d.Close()
	d.Input(Orders).Send("17", "tea", 1)
	d.Input(Orders).Send("18", "tea", 2_000)
	show(d, Totals)
	// Output:
	// sub-topology 0 reads orders
	// sub-topology 0 writes by-name-repartition
	// sub-topology 1 keeps Counts (key-value, changelogged)
	// sub-topology 1 reads by-name-repartition
	// tea=1@1
	// tea=2@2000
}

// A sink whose records choose their topics.
func ExampleSink_TopicOf() {
	b := topology.NewBuilder()
	choose := func(r *topology.Record[string, string]) string {
		if r.Value == "" {
			return Unpaid.Name()
		}
		return "" // the sink's own
	}
	b.Source("orders", Orders).Sink("sorted", Paid).TopicOf(choose)
	d := play(b)
	defer d.Close()
	d.Input(Orders).Send("17", "tea", 1)
	d.Input(Orders).Send("18", "", 2)
	show(d, Paid)
	show(d, Unpaid)
	// Output:
	// 17=tea@1
	// 18=@2
}

var Menu = state.NewKV[string, string]("menu")

// priced keeps prices in a global store.
type priced struct {
	menu *state.KVStore[string, string]
}

func (p *priced) Init(c *topology.Context[struct{}, struct{}]) (err error) {
	p.menu, err = Menu.Open(c)
	return err
}

func (p *priced) Process(r topology.Record[string, string]) error {
	return p.menu.Put(r.Key, r.Value, r.Timestamp)
}

// bill looks prices up there.
type bill struct {
	c *topology.Context[string, string]
}

func (p *bill) Init(c *topology.Context[string, string]) error { p.c = c; return nil }

func (p *bill) Process(r topology.Record[string, string]) error {
	price, _, ok, err := Menu.Read(p.c.Globals()).Get(r.Value)
	if err != nil || !ok {
		return err
	}
	r.Value += " for " + price
	return p.c.Forward(r)
}

// A store that each process has all of, and every task may read.
func ExampleBuilder_GlobalStore() {
	prices := topology.NewTopic[string, string]("prices")
	b := topology.NewBuilder()
	b.GlobalStore("menu", prices, func() *priced { return &priced{} }, Menu)
	b.Source("orders", Orders).
		Process("bill", func() *bill { return &bill{} }).
		Sink("paid", Paid)
	d := play(b)
	defer d.Close()
	d.Input(prices).Send("tea", "3.50", 0)
	d.Input(Orders).Send("17", "tea", 1)
	show(d, Paid)
	// Output:
	// 17=tea for 3.50@1
}
