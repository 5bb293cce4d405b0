package stream_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// mistake is something that Build refuses: once, with the line that made it.
type mistake struct {
	line int
	make func(b *build, s stream.Stream[string, string])
	want string
}

// here is the line that calls it.
func here() int {
	_, _, line, _ := runtime.Caller(1)
	return line
}

type (
	byMap struct{ M map[string]int }
	str   = string
	texts = stream.Stream[str, str]
	build = stream.Builder
)

// Functions and values that are there by mistake.
var (
	noFilter  func(str, str) bool
	noMap     func(str, str) (str, str)
	noValue   func(str) str
	noReduce  func(str, str) str
	noAdd     func(str, str, str) str
	noEach    func(str, str)
	noName    func(str, str) str
	noSerde   serde.Serde[str]
	rowsOf    = state.NewKV[str, str]
	countsOf  = state.NewKV[str, int64]
	perMinute = state.NewWindowed[str, int64]("w")
)

func mapOf(k, _ str) byMap                          { return byMap{map[str]int{k: 1}} }
func byValue(_, v str) str                          { return v }
func swap(k, v str) (str, str)                      { return v, k }
func empty() str                                    { return "" }
func concat(a, b str) str                           { return a + b }
func named(_, v str) (str, bool)                    { return v, true }
func minute() stream.Window                         { return stream.Tumbling(time.Minute, 0) }
func around() stream.Within                         { return stream.Around(time.Minute, 0) }
func nowhere(str, str)                              {}
func add3(_, v, a str) str                          { return a + v }
func gather(_ str, v []str) str                     { return v[0] }
func call(_ context.Context, _, v str) (str, error) { return v, nil }
func every(str, str) bool                           { return true }
func topicOf(name str) stream.Topic[str, str]       { return stream.NewTopic[str, str](name) }

var mistakes = []mistake{
	{here(), func(_ *build, s texts) { s.Filter(noFilter) }, "Filter: a function is nil"},
	{here(), func(_ *build, s texts) { s.Map(noMap) }, "Map: a function is nil"},
	{here(), func(_ *build, s texts) { s.MapValues(noValue) }, "MapValues: a function is nil"},
	{here(), func(_ *build, s texts) { s.SelectKey(noName) }, "SelectKey: a function is nil"},
	{here(), func(_ *build, s texts) { s.Peek(noEach) }, "Peek: a function is nil"},
	{here(), func(_ *build, s texts) { s.ForEach(noEach) }, "ForEach: a function is nil"},
	{here(), func(_ *build, s texts) { s.Split(every, noFilter) }, "Split: a function is nil"},
	{here(), func(_ *build, s texts) { s.ToDynamic(noName) }, "ToDynamic: a function is nil"},
	{here(), func(_ *build, s texts) { s.GroupBy("g", noName) }, "GroupBy: a function is nil"},
	{here(), func(_ *build, s texts) { s.GroupByKey().Reduce(rowsOf("r"), noReduce) },
		"Reduce: a function is nil"},
	{here(), func(_ *build, s texts) { s.GroupByKey().Aggregate(rowsOf("a"), nil, noAdd) },
		"Aggregate: a function is nil"},
	{here(), func(_ *build, s texts) {
		s.GroupByKey().Cogroup(noAdd).Aggregate(rowsOf("a"), empty)
	},
		"Cogroup: a function is nil"},
	{here(), func(_ *build, s texts) { s.Join(s, around(), "j", noReduce) }, "Join: a function is nil"},
	{here(), func(b *build, _ texts) { b.Table(in, rows).MapValues(noValue) },
		"MapValues: a function is nil"},
	{here(), func(b *build, s texts) { s.JoinTable(b.Table(right, rights), noReduce) },
		"JoinTable: a function is nil"},
	{here(), func(b *build, _ texts) {
		b.Table(left, lefts).JoinForeign(b.Table(right, rights), named, "fk", noReduce) // one line below
	}, "JoinForeign: a function is nil"},
	{here(), func(_ *build, s texts) {
		s.Process((func() topology.Processor[str, str, str, str])(nil)) // one line below
	}, "makes its processors is nil"},

	{here(), func(_ *build, s texts) {
		s.SelectKey(byValue).GroupByKey().Count(countsOf("c"))
	},
		"GroupByKey brings equal keys together, but SelectKey ("},
	{here(), func(_ *build, s texts) { s.SelectKey(byValue).ToTable(rows) },
		"ToTable brings equal keys together"},
	{here(), func(_ *build, s texts) { s.Merge(stream.NewBuilder().Stream(in)) },
		"Merge: the other side was made by another builder"},
	{here(), func(b *build, _ texts) { b.Stream[str, str]() }, "Stream: name a topic"},
	{here(), func(b *build, _ texts) { b.Stream(in, right, in) }, "Stream: topic in is named twice"},

	{here(), func(_ *build, s texts) { s.Repartition("no good") }, `Repartition: name "no good"`},
	{here(), func(_ *build, s texts) { s.Repartition("") }, "Repartition: the name is empty"},
	{here(), func(_ *build, s texts) { s.Repartition("r"); s.Repartition("r") },
		`Repartition: "r" is there already (`},
	{here(), func(_ *build, s texts) { s.GroupBy("no good", byValue) }, `GroupBy: name "no good"`},
	{here(), func(_ *build, s texts) { s.Join(s, around(), "", concat) }, "Join: the name is empty"},
	{here(), func(_ *build, s texts) { s.To(topicOf("ä")) }, `To: topic: name "ä"`},
	{here(), func(b *build, _ texts) { b.Stream(topicOf("")) }, "Stream: topic: the name is empty"},
	{here(), func(b *build, _ texts) { b.Table(in, rowsOf("")) }, "store: the name is empty"},
	{here(), func(_ *build, s texts) { s.Named("no good") }, `Named: name "no good"`},
	{here(), func(_ *build, s texts) { s.Named(strings.Repeat("n", 300)) }, "it has 300 bytes"},
	{here(), func(_ *build, s texts) {
		s.Filter(every).Named("x")
		s.Filter(every).Named("x")
	},
		`is called "x" already (`},
	{here(), func(_ *build, s texts) { s.Named("x").Named("y") }, `is called "x" already (`},

	{here(), func(_ *build, s texts) { s.Partitions(4) }, "Partitions: it is a setting of Repartition"},
	{here(), func(_ *build, s texts) { s.Repartition("r").Partitions(0) },
		"Partitions: 0 partitions: it takes one or more, and 2147483647 at most"},
	{here(), func(_ *build, s texts) { s.Repartition("r").Partitions(1 << 40) },
		"Partitions: 1099511627776 partitions: it takes one or more, and 2147483647 at most"},
	{here(), func(_ *build, s texts) { s.GroupByKey().Partitions(4).Count(countsOf("c")) },
		"Partitions: GroupByKey adds nothing"},
	{here(), func(_ *build, s texts) { s.GroupByKey().Named("g").Count(countsOf("c")) },
		"Named: GroupByKey adds nothing"},
	{here(), func(b *build, _ texts) {
		b.Table(in, rows).MapValues(strings.ToUpper).Emit(stream.OnUpdate)
	},
		"Emit: MapValues ("},
	{here(), func(b *build, _ texts) { b.Table(in, rows).Emit(stream.OnClose) },
		"Emit: OnClose is for windows"},
	{here(), func(_ *build, s texts) {
		s.GroupByKey().Emit(stream.OnClose).Count(countsOf("c"))
	},
		"Count: OnClose is for windows"},
	{here(), func(b *build, _ texts) { b.Emit(stream.OnClose) }, "Builder.Emit: OnClose is for windows"},
	{here(), func(_ *build, s texts) { s.Values(noSerde) }, "Values: the serde is nil"},

	{here(), func(_ *build, s texts) { s.GroupByKey().Windowed(minute()).Late() },
		"Late: nothing is aggregated from this group"},
	{here(), func(_ *build, s texts) {
		s.GroupByKey().Sessions(stream.SessionGap(time.Minute, 0)).Late()
	},
		"Late: nothing is aggregated from this group"},

	{here(), func(_ *build, s texts) {
		s.ToTable(rowsOf("c"))
		s.GroupByKey().Count(countsOf("c"))
	},
		`store "c" is written by another operator already (`},
	{here(), func(b *build, s texts) { b.GlobalTable(right, rights); s.ToTable(rights) },
		"is written by another operator already ("},
	{here(), func(_ *build, s texts) {
		s.ToTable(rowsOf("c"))
		s.Process(pass, countsOf("c"))
	},
		`store "c" is another store already (`},

	{here(), func(b *build, s texts) { b.GlobalTable(right, rights); s.Process(pass, rights) },
		`store "rights" is global (`},
	{here(), func(b *build, _ texts) { b.Table(in, state.KV[str, str]{}) }, "store: the name is empty"},

	{here(), func(_ *build, s texts) { s.GroupByKey().Windowed(stream.Window{}).Count(perMinute) },
		"Windowed: make the window with Tumbling"},
	{here(), func(_ *build, s texts) { s.GroupByKey().Windowed(stream.Weeks(7, time.UTC, 0)).Count(perMinute) },
		"Windowed: weeks that begin on weekday 7: it takes 0 to 6, time.Sunday to time.Saturday"},
	{here(), func(_ *build, s texts) {
		s.GroupByKey().Windowed(stream.Days(1, time.FixedZone("", 3600), 0)).Count(perMinute)
	}, "Windowed: days of a time zone without a name"},
	{here(), func(_ *build, s texts) { s.GroupByKey().Windowed(stream.Tumbling(time.Minute, -1)).Count(perMinute) },
		"Windowed: a grace of -1ns"},
	{here(), func(_ *build, s texts) { s.GroupByKey().Windowed(minute()).CloseWhenIdle(time.Minute).Count(perMinute) },
		"CloseWhenIdle needs Emit(stream.OnClose)"},
	{here(), func(_ *build, s texts) {
		s.GroupByKey().Windowed(stream.Unlimited(time.UnixMilli(0))).Emit(stream.OnClose).Count(perMinute)
	}, "Count: an unlimited window never closes"},
	{here(), func(_ *build, s texts) { s.GroupByKey().Windowed(minute()).Count(perMinute.Retain(time.Second)) },
		`store "w" keeps 1s, but windows are open for 1m0s`},
	{here(), func(_ *build, s texts) {
		s.GroupByKey().Sessions(stream.SessionGap(0, 0)).Count(state.NewSession[str, int64]("s"))
	}, "Sessions: a gap of 0s"},
	{here(), func(_ *build, s texts) { s.Join(s, stream.Around(-1, 0), "j", concat) }, "nothing is in between"},
	{here(), func(_ *build, s texts) { s.Batch(0, 0, "b", gather) }, "Batch: 0 records"},
	{here(), func(_ *build, s texts) { s.MapAsync(0, call) }, "MapAsync: 0 calls at the same time"},
	{here(), func(_ *build, s texts) { s.GroupByKey().Top(state.NewKV[str, []str]("t"), 0, strings.Compare) },
		"Top: the first 0"},
	{here(), func(b *build, _ texts) { b.Table(in, rows).Suppress(stream.UntilWindowCloses("s")) },
		"Suppress: only windows close"},
	{here(), func(b *build, _ texts) { b.Table(in, rows).Suppress(stream.UntilTimeLimit(-1, "s")) },
		"Suppress: a limit of -1ns"},
	{here(), func(b *build, _ texts) { b.Table(in, rows.TTL(-1)) }, `store "rows": rows live for -1ns`},
	{here(), func(b *build, _ texts) { b.VersionedTable(in, state.NewVersioned[str, str]("v", 0)) },
		`store "v" remembers 0s`},

	{here(), func(b *build, _ texts) { b.Stream(stream.NewTopic[str, chan int]("chans")) },
		"Stream: topic chans: value: serde of chan int"},
	{here(), func(_ *build, s texts) {
		s.MapValues(func(string) money { return money{} }).To(stream.NewTopic[str, money]("monies"))
	}, "To: topic monies: value: serde of stream_test.money: the field cents of stream_test.money is not exported"},
	{here(), func(_ *build, s texts) {
		s.GroupByKey().Aggregate(state.NewKV[str, money]("sums"), func() money { return money{} },
			func(_, _ str, m money) money { return m })
	}, `store "sums": value: serde of stream_test.money: the field cents of stream_test.money`},
	{here(), func(_ *build, s texts) {
		s.GroupBy("m", mapOf).Count(state.NewKV[byMap, int64]("c").Keys(serde.JSON[byMap]()))
	},
		"GroupBy m: key: serde of stream_test.byMap: field M: a map is encoded in no fixed order"},
	{here(), func(b *build, _ texts) {
		b.Table(stream.NewTopic[byMap, str]("maps"), state.NewKV[byMap, str]("m"))
	},
		`store "m": key: serde of stream_test.byMap: field M: a map`},
	{here(), func(b *build, _ texts) { b.Stream(stream.Topic[str, str]{}) }, "Stream: topic: the name is empty"},
}

type passing struct {
	topology.Processor[str, str, str, str]
}

func (passing) Init(*topology.Context[str, str]) error { return nil }

func pass() topology.Processor[str, str, str, str] { return passing{} }

func TestBuildReportsEachMistakeOnce(t *testing.T) {
	all := stream.NewBuilder()
	for _, m := range mistakes {
		b := stream.NewBuilder()
		m.make(b, b.Stream(in))
		_, err := b.Build()
		require.Error(t, err, m.want)
		require.Len(t, strings.Split(err.Error(), "\n"), 1, err.Error())
		require.Contains(t, err.Error(), m.want)
		at := slices.ContainsFunc([]int{m.line, m.line + 1, m.line + 2}, func(line int) bool {
			place, _, _ := strings.Cut(err.Error(), " ") // its directory depends on the flags of the build
			return strings.HasSuffix(place, fmt.Sprintf("/stream/mistakes_test.go:%d:", line))
		})
		require.True(t, at, "line %d: %s", m.line, err)
		again, err2 := b.Build()
		require.Nil(t, again)
		require.EqualError(t, err2, err.Error(), "a second Build says the same")
	}
	s := all.Stream(in)
	s.Filter(noFilter)
	s.To(topicOf("ä"))
	s.GroupByKey().Windowed(minute()).Late()
	all.Table(right, rowsOf(""))
	_, err := all.Build()
	require.Len(t, strings.Split(err.Error(), "\n"), 4, err)
}

// A value that no operator returned is a mistake that Build may never see: its methods panic with the caller's line.
func TestZeroValuesPanicWithTheCallersLine(t *testing.T) {
	b := stream.NewBuilder()
	real := b.Stream(in)
	for i, use := range []func(){
		func() { stream.Stream[str, str]{}.Filter(every) },
		func() { stream.Stream[str, str]{}.Named("x") },
		func() { stream.Stream[str, str]{}.GroupByKey() },
		func() { stream.Stream[str, str]{}.GroupBy("g", byValue) },
		func() { stream.Stream[str, str]{}.To(out) },
		func() { stream.Stream[str, str]{}.ForEach(nowhere) },
		func() { stream.Stream[str, str]{}.Merge(real) },
		func() { real.Merge(stream.Stream[str, str]{}) },
		func() { stream.Stream[str, str]{}.ToTable(rows) },
		func() { real.Join(stream.Stream[str, str]{}, around(), "j", concat) },
		func() { real.JoinTable(stream.Table[str, str]{}, concat) },
		func() { stream.Stream[str, str]{}.Repartition("r") },
		func() { stream.Stream[str, str]{}.Process(pass) },
		func() { stream.Stream[str, str]{}.Deduplicate(stream.DuplicatesWithin(time.Second), "d", byValue) },
		func() { stream.Stream[str, str]{}.KeepsPartition() },
		func() { real.JoinAsOf(stream.Table[str, str]{}, stream.AtOrBefore(0), "as-of", concat) },
		func() { stream.WindowTable[str, str]{}.KeyStream() },
		func() { stream.GroupedTable[str, str]{}.Top(state.NewKV[str, []str]("top"), 1, strings.Compare) },
		func() { stream.Table[str, str]{}.Filter(every) },
		func() { stream.Table[str, str]{}.MapValues(strings.ToUpper) },
		func() { stream.Table[str, str]{}.Materialize(rows) },
		func() { stream.Table[str, str]{}.GroupBy("g", swap) },
		func() { stream.Table[str, str]{}.ToStream() },
		func() { stream.Table[str, str]{}.Join(b.Table(right, rights), concat) },
		func() { b.Table(left, lefts).Join(stream.Table[str, str]{}, concat) },
		func() { stream.Grouped[str, str]{}.Count(countsOf("c")) },
		func() { stream.Grouped[str, str]{}.Windowed(minute()) },
		func() { stream.Grouped[str, str]{}.Cogroup(add3) },
		func() { stream.WindowedGroup[str, str]{}.Count(state.NewWindowed[str, int64]("w")) },
		func() { stream.WindowedGroup[str, str]{}.Late() },
		func() { stream.SessionGroup[str, str]{}.Count(state.NewSession[str, int64]("s")) },
		func() { stream.GroupedTable[str, str]{}.Count(countsOf("c")) },
		func() { stream.WindowTable[str, str]{}.MapValues(strings.ToUpper) },
		func() { stream.Cogrouped[str, str]{}.Aggregate(rowsOf("c"), empty) },
		func() { stream.Sink{}.Named("x") },
		func() { new(stream.Builder).Stream(in) },
		func() { (*stream.Builder)(nil).Table(in, rows) },
		func() { new(stream.Builder).GlobalTable(in, rows) },
		func() { _, _ = new(stream.Builder).Build() },
		func() { real.JoinGlobal(stream.GlobalTable[str, str]{}, named, concat) },
	} {
		func() {
			defer func() {
				text := fmt.Sprint(recover())
				require.Regexp(t, `^\S*/stream/mistakes_test\.go:\d+: .* zero value`, text, "case %d", i)
			}()
			use()
		}()
	}
}
