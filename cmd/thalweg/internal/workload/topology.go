package workload

import (
	"encoding/binary"
	"fmt"
	"iter"
	goruntime "runtime"
	"time"

	"thalweg/runtime"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// Workload is one benchmark: what it reads and what it does with it.
type Workload struct {
	Name   string
	About  string
	Tables []string // data sets that are there before the clock runs
	Inputs []string // data sets that are processed
	Units  string   // what is counted: records or words
	build  func(p program)

	compared bool // the results are compared with the hand-written loop's
	table    bool // they are rows: the last of each key counts
	onDisk   bool // its speed depends on how many rows there are: a curve is reported

	configure func(*runtime.Config) // may be nil
}

// Workloads are the benchmarks that run a topology over a data set until it is all processed.
func Workloads() []Workload {
	return []Workload{
		{Name: "stateless", About: "upper-case, then filter", Inputs: []string{"events-1"}, Units: "records",
			build: stateless, compared: true},
		{Name: "wordcount", About: "split, repartition by word, count", Inputs: []string{"lines-1"}, Units: "words",
			build: wordcount},
		{Name: "count", About: "count per key, no repartition", Inputs: []string{"words-1"}, Units: "records",
			build: countPerKey},
		{Name: "window", About: "count per key and 10 s", Inputs: []string{"events-1"}, Units: "records",
			build: countPerWindow},
		{Name: "session", About: "count per key and session, gap 5 s", Inputs: []string{"events-1"}, Units: "records",
			build: countPerSession},
		{Name: "table-join", About: "records with rows of their keys", Tables: []string{"table-1"},
			Inputs: []string{"events-1"}, Units: "records", build: tableJoin, compared: true},
		{Name: "stream-join", About: "two streams within 5 s", Inputs: []string{"left-1", "right-1"}, Units: "records",
			build: streamJoin, compared: true},
		{Name: "fk-join", About: "rows with rows that their values name", Tables: []string{"table-1"},
			Inputs: []string{"left-1"}, Units: "records", build: foreignJoin, compared: true, table: true},
		{Name: "large", About: "last value per key, most rows on disk", Inputs: []string{"big-1"}, Units: "records",
			build: lastPerKey, compared: true, table: true, configure: smallCaches, onDisk: true},
		{Name: "huge", About: "as large, with more keys and partitions", Inputs: []string{"huge-1"}, Units: "records",
			build: lastPerKey, compared: true, table: true, configure: smallCaches, onDisk: true},
		{Name: "huge-z", About: "as huge, keys by Zipf's law", Inputs: []string{"huge-z"}, Units: "records",
			build: lastPerKey, compared: true, table: true, configure: smallCaches, onDisk: true},
		{Name: "window-repartition", About: "as window, through a topic of 4 partitions", Inputs: []string{"events-1"},
			Units: "records", build: countPerWindowApart},
	}
}

// WorkloadOf is the benchmark of that name.
func WorkloadOf(name string) (Workload, error) {
	for _, w := range Workloads() {
		if w.Name == name {
			return w, nil
		}
	}
	return Workload{}, fmt.Errorf("bench: no workload %q", name)
}

// topology builds the workload between its topics: in are those of the tables and then of the inputs.
func (w Workload) topology(in []string, out string, o Options) (*topology.Topology, error) {
	b := stream.NewBuilder()
	w.build(program{b, in, out, o.Garbage, o.Call})
	if !o.AsWritten {
		b.Optimize()
	}
	return b.Build()
}

// program is what a workload's topology is built from.
type program struct {
	*stream.Builder
	in      []string // topics of the tables, then of the inputs
	out     string
	garbage int           // bytes that a function of the program allocates for each record
	call    time.Duration // for which a function of the program sleeps at each record
}

// stream reads one of the topics.
func (p program) stream[K, V any](topic int) stream.Stream[K, V] {
	s := p.Builder.Stream(stream.NewTopic[K, V](p.in[topic]))
	if p.garbage > 0 {
		s = s.Peek(func(K, V) { goruntime.KeepAlive(make([]byte, p.garbage)) })
	}
	if p.call > 0 {
		s = s.Peek(func(K, V) { time.Sleep(p.call) })
	}
	return s
}

func stateless(p program) {
	p.stream[[]byte, []byte](0).
		MapValues(upperCase).
		Filter(func(_, v []byte) bool { return v[0] != '0' }).
		To(stream.NewTopic[[]byte, []byte](p.out))
}

func upperCase(v []byte) []byte {
	dst := make([]byte, len(v))
	upper(dst, v)
	return dst
}

func wordcount(p program) {
	p.stream[[]byte, string](0).
		FlatMapValues(splitAtSpaces).
		GroupBy("words", func(_ []byte, word string) string { return word }).
		Count(counted).
		ToStream().
		To(stream.NewTopic[string, int64](p.out))
}

func splitAtSpaces(line string) iter.Seq[string] {
	return func(yield func(string) bool) {
		from := 0
		for i := range len(line) {
			if line[i] != ' ' {
				continue
			}
			if i > from && !yield(line[from:i]) {
				return
			}
			from = i + 1
		}
		if from < len(line) {
			yield(line[from:])
		}
	}
}

func countPerKey(p program) {
	p.stream[string, []byte](0).
		GroupByKey().
		Count(counted).
		ToStream().
		To(stream.NewTopic[string, int64](p.out))
}

func lastPerKey(p program) {
	p.stream[string, []byte](0).
		GroupByKey().
		Reduce(rows, func(_, last []byte) []byte { return last }).
		ToStream().
		To(stream.NewTopic[string, []byte](p.out))
}

// smallCaches leave most rows of the large workload on disk.
func smallCaches(c *runtime.Config) {
	c.Limits.CacheBytesMax, c.Limits.BlockCacheBytesMax = 64<<20, 64<<20
}

// counted is the store of every workload that counts.
var counted = state.NewKV[string, int64]("counts")

// rows is the store of tables.
var rows = state.NewKV[string, []byte]("rows")

// restored is a table over a topic, materialised with a changelog of its own.
func restored(in string, garbage int) (*topology.Topology, error) {
	p := program{Builder: stream.NewBuilder(), in: []string{in}, garbage: garbage}
	p.stream[string, []byte](0).ToTable(rows)
	return p.Build()
}

// sent is what the latency workload keeps per key: how many, and when the last one was to be sent.
type sent struct{ count, at int64 }

type sentSerde struct{}

func (sentSerde) Append(dst []byte, v sent) ([]byte, error) {
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.count))
	return binary.BigEndian.AppendUint64(dst, uint64(v.at)), nil
}

func (sentSerde) Decode(src []byte) (sent, error) {
	if len(src) != 16 {
		return sent{}, fmt.Errorf("sent: want 16 bytes, got %d", len(src))
	}
	return sent{int64(binary.BigEndian.Uint64(src)), int64(binary.BigEndian.Uint64(src[8:]))}, nil
}

// latency counts per key and tells each update at once. A record's value begins with its send time.
func latency(in, out string) (*topology.Topology, error) {
	b := stream.NewBuilder()
	b.Stream(stream.NewTopic[string, []byte](in)).
		GroupByKey().
		Emit(stream.OnUpdate).
		Aggregate(state.NewKV[string, sent]("sent").Values(serde.Serde[sent](sentSerde{})),
			func() sent { return sent{} },
			func(_ string, v []byte, s sent) sent {
				return sent{s.count + 1, int64(binary.BigEndian.Uint64(v))}
			}).
		ToStream().
		To(stream.NewTopic[string, sent](out).Values(sentSerde{}))
	return b.Build()
}
