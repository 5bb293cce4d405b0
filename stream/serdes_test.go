package stream_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// money has a part that only its own JSON keeps.
type money struct {
	Currency string
	cents    int64
}

func (m money) MarshalJSON() ([]byte, error) {
	return json.Marshal(fmt.Sprintf("%d %s", m.cents, m.Currency))
}

func (m *money) UnmarshalJSON(b []byte) error {
	_, err := fmt.Sscanf(strings.Trim(string(b), `"`), "%d %s", &m.cents, &m.Currency)
	return err
}

func addMoney(a, b money) money { return money{a.Currency, a.cents + b.cents} }

var (
	prices     = stream.NewTopic[string, money]("prices").Keys(quoted()).Values(serde.JSON[money]())
	priceTable = state.NewKV[string, money]("price-table")
)

// A store made from a stream or a table has the serdes of what it is made from, and so keeps what they keep.
func TestStoresInheritSerdes(t *testing.T) {
	window := state.NewWindowed[string, money]("windows")
	session := state.NewSession[string, money]("sessions")
	versioned := state.NewVersioned[string, money]("versions", time.Hour)
	global := state.NewKV[string, money]("global")
	b := stream.NewBuilder()
	s := b.Stream(prices)
	table := b.Table(prices, priceTable)
	table.Filter(func(string, money) bool { return true }).Materialize(state.NewKV[string, money]("materialized"))
	table.MaterializeVersioned(state.NewVersioned[string, money]("versions-of-table", time.Hour))
	table.GroupBy("by-currency", func(_ string, m money) (string, money) { return m.Currency, m }).
		Values(serde.JSON[money]()).Keys(quoted()).
		Reduce(state.NewKV[string, money]("sums"), addMoney, addMoney)
	s.ToTable(state.NewKV[string, money]("to-table"))
	s.ToVersionedTable(versioned)
	g := s.GroupByKey()
	g.Reduce(state.NewKV[string, money]("reduced"), addMoney)
	g.Aggregate(state.NewKV[string, money]("aggregated"), func() money { return money{} },
		func(_ string, m, sum money) money { return addMoney(m, sum) })
	g.Windowed(minute()).Reduce(window, addMoney)
	g.Sessions(stream.SessionGap(time.Minute, 0)).Reduce(session, addMoney)
	g.Count(byWord)
	b.GlobalTable(prices, global)
	d := play(b)
	defer d.Close()
	d.Input(prices).Send("water", money{"EUR", 7}, 1000)
	for _, name := range []string{
		"price-table", "materialized", "versions-of-table", "sums", "to-table", "versions", "reduced", "aggregated",
		"windows", "sessions", "by-word",
	} {
		all := d.Written("test-" + name + "-changelog")
		require.Len(t, all, 1, name)
		require.True(t, strings.HasPrefix(string(all[0].Key), `"`), name)
		if name != "by-word" { // whose counts are not the stream's values
			require.Equal(t, `"7 EUR"`, string(all[0].Value), name)
		}
	}
	check := func() {
		got, ok := d.Get(priceTable, "water")
		require.True(t, ok)
		require.Equal(t, money{"EUR", 7}, got)
		got, ok = d.GetWindow(window, "water", 0)
		require.True(t, ok)
		require.Equal(t, money{"EUR", 7}, got)
		got, ok = d.Get(global, "water")
		require.True(t, ok)
		require.Equal(t, money{"EUR", 7}, got)
	}
	check()
	d.Restart(streamtest.LoseState)
	check()
	d.Input(prices).Send("wine", money{"EUR", 5}, 2000)
	got, _ := d.Get(state.NewKV[string, money]("sums"), "EUR")
	require.Equal(t, money{"EUR", 12}, got)
}

// A store has the serdes that the program names. A type whose serde in topics is another does not bring it to a store.
func TestStoresKeepTheirOwnSerdes(t *testing.T) {
	b := stream.NewBuilder()
	own := state.NewKV[string, money]("own").Keys(serde.String{}).Values(serde.Msgpack[money]())
	b.Table(prices, own)
	windows := stream.NewTopic[stream.WindowedKey[string], int64]("window-rows")
	b.Table(windows, state.NewKV[stream.WindowedKey[string], int64]("of-windows"))
	d := play(b)
	defer d.Close()
	d.Input(prices).Send("water", money{"EUR", 7}, 1)
	d.Input(windows).Send(stream.WindowedKey[string]{Key: "a"}, 1, 1)
	require.Equal(t, "water", string(d.Written("test-own-changelog")[0].Key))
	require.Equal(t, "\x81\xa8Currency\xa3EUR", string(d.Written("test-own-changelog")[0].Value))
	require.Equal(t, 0x82, int(d.Written("test-of-windows-changelog")[0].Key[0]), "MessagePack")
}

// A processor and a global look-up see a store as its operator writes it, whatever their name of it says.
func TestProcessorsSeeStoresAsTheyAreWritten(t *testing.T) {
	b := stream.NewBuilder()
	table := b.Table(prices, priceTable)
	b.GlobalTable(prices, state.NewKV[string, money]("global"))
	table.ToStream().Process(func() *priceReader { return &priceReader{} }, priceTable).To(counts)
	d := play(b)
	defer d.Close()
	d.Input(prices).Send("water", money{"EUR", 7}, 1)
	require.Equal(t, []string{"water=7@1", "water=7@1"}, d.Output(counts).ReadStrings())
}

type priceReader struct {
	c     *topology.Context[string, int64]
	store *state.KVStore[string, money]
}

func (p *priceReader) Init(c *topology.Context[string, int64]) (err error) {
	p.c = c
	p.store, err = priceTable.Open(c)
	return err
}

func (p *priceReader) Process(r topology.Record[string, money]) error {
	one, _, _, err := p.store.Get(r.Key)
	if err != nil {
		return err
	}
	two, _, _, err := state.NewKV[string, money]("global").Read(p.c.Globals()).Get(r.Key)
	if err != nil {
		return err
	}
	for _, m := range []money{one, two} {
		out := topology.Record[string, int64]{Key: r.Key, Value: m.cents, Timestamp: r.Timestamp}
		if err := p.c.Forward(out); err != nil {
			return err
		}
	}
	return nil
}

// unsaid is a serde of the program's own that has no Format.
type unsaid struct{ tag *int }

func (unsaid) Append(dst []byte, v string) ([]byte, error) {
	return append(append(dst, '<'), v...), nil
}
func (unsaid) Decode(src []byte) (string, error) { return string(src[1:]), nil }

// told is unsaid with a Format.
type told struct {
	unsaid
	name string
}

func (t told) Format() string { return t.name }

func byHash(string, string, int) int  { return 1 }
func byLength(k, _ string, _ int) int { return len(k) }

// Streams and tables meet by key only where equal keys lie in equal partitions. Build refuses what certainly is not so,
// and warns of what may not be so.
func TestKeysThatMeetAreWrittenAlike(t *testing.T) {
	plain, asJSON := topicOf("plain"), topicOf("as-json").Keys(quoted())
	one, other := unsaid{new(int)}, unsaid{new(int)}
	join := func(a, b stream.Topic[string, string]) func(*stream.Builder) {
		return func(to *stream.Builder) { to.Stream(a).Join(to.Stream(b), around(), "j", concat) }
	}
	const bytes = "the keys of one are written as string and those of the other as json string: equal keys have " +
		"different bytes and lie in different partitions: give both topics the same serde of keys, or read one " +
		`of them through Repartition("a name").Keys(the other's serde)`
	for _, c := range []struct {
		what          string
		build         func(*stream.Builder)
		refused, told string
	}{
		{"two alike", join(plain, topicOf("other")), "", ""},
		{"two of JSON", join(asJSON, topicOf("other").Keys(quoted())), "", ""},
		{"string and JSON", join(plain, asJSON), bytes, ""},
		{"stream and table", func(b *stream.Builder) {
			b.Stream(plain).JoinTable(b.Table(asJSON, rowsOf("t")), concat)
		}, bytes, ""},
		{"a table whose store is written as the other", func(b *stream.Builder) {
			b.Stream(plain).JoinTable(b.Table(asJSON, rowsOf("t").Keys(serde.String{})), concat)
		}, bytes, ""},
		{"tables", func(b *stream.Builder) {
			b.Table(plain, rowsOf("l")).OuterJoin(b.Table(asJSON, rowsOf("r")), func(*string, *string) string { return "" })
		}, bytes, ""},
		{"what is merged", func(b *stream.Builder) {
			b.Stream(plain).Merge(b.Stream(asJSON)).GroupByKey().Count(countsOf("c"))
		}, bytes, ""},
		{"a cogroup", func(b *stream.Builder) {
			b.Stream(plain).GroupByKey().Cogroup(add3).With(b.Stream(asJSON).GroupByKey(), add3).
				Aggregate(rowsOf("a"), empty)
		}, bytes, ""},
		{"a foreign key", func(b *stream.Builder) {
			b.Table(plain, rowsOf("l")).JoinForeign(b.Table(asJSON, rowsOf("r").Keys(serde.String{})), named, "fk", concat)
		}, "topic as-json", ""},
		{"a foreign key, written as the other table's topic", func(b *stream.Builder) {
			b.Table(plain, rowsOf("l")).JoinForeign(b.Table(asJSON, rowsOf("r")), named, "fk", concat)
		}, "", ""},
		{"merged, and written", func(b *stream.Builder) { b.Stream(plain).Merge(b.Stream(asJSON)).To(out) }, "", ""},
		{"through a repartition", func(b *stream.Builder) {
			b.Stream(asJSON).Repartition("r").Keys(serde.String{}).Join(b.Stream(plain), around(), "j", concat)
		}, "", ""},
		{"through a repartition that is written as before", func(b *stream.Builder) {
			b.Stream(asJSON).Repartition("r").Join(b.Stream(plain), around(), "j", concat)
		}, "topic r-repartition", ""},
		{"grouped again", func(b *stream.Builder) {
			b.Stream(asJSON).GroupBy("g", byValue).Reduce(rowsOf("x"), concat).Join(b.Table(plain, rowsOf("y")), concat)
		}, "", ""},
		{"where the program says how they lie", func(b *stream.Builder) {
			b.Stream(asJSON).Map(swap).KeepsPartition().Join(b.Stream(plain), around(), "j", concat)
		}, "", ""},
		{"windows of equal keys", func(b *stream.Builder) {
			w := stream.NewTopic[stream.WindowedKey[string], string]("w")
			x := stream.NewTopic[stream.WindowedKey[string], string]("x")
			x = x.Keys(stream.TimeWindowKeys(serde.For[string](), time.Minute))
			b.Stream(w).Join(b.Stream(x), around(), "j", func(a, b string) string { return a + b })
		}, "", ""},
		{"one unnamed", join(plain, topicOf("other").Keys(one)), "", "their keys have different serdes, string and " +
			"stream_test.unsaid: if these write equal keys in different bytes"},
		{"two unnamed", join(topicOf("a").Keys(one), topicOf("b").Keys(other)), "", "their keys have different serdes"},
		{"one value", join(topicOf("a").Keys(one), topicOf("b").Keys(one)), "", ""},
		{"one name", join(topicOf("a").Keys(told{one, "x"}), topicOf("b").Keys(told{other, "x"})), "", ""},
		{"two names", join(topicOf("a").Keys(told{one, "x"}), topicOf("b").Keys(told{one, "y"})), "written as x and", ""},
		{"a name of a built-in", join(topicOf("a").Keys(told{one, "string"}), plain), "", ""},
		{"one partitioner", join(plain.Partition(byHash), asJSON.Partition(byHash)), "", ""},
		{"two partitioners", join(plain.Partition(byHash), topicOf("b").Partition(byLength)), "",
			"the topics have different partitioners"},
		{"a partitioner and none", join(plain.Partition(byHash), topicOf("b")), "", "the topics have different partitioners"},
		{"a partitioner, through a repartition", func(b *stream.Builder) {
			b.Stream(plain.Partition(byHash)).Repartition("r").Join(b.Stream(topicOf("b")), around(), "j", concat)
		}, "", ""},
	} {
		b := stream.NewBuilder()
		c.build(b)
		topo, err := b.Build()
		if c.refused != "" {
			require.ErrorContains(t, err, c.refused, c.what)
			require.Contains(t, err.Error(), "stream/serdes_test.go:", c.what)
			require.Len(t, strings.Split(err.Error(), "\n"), 1, c.what)
			continue
		}
		require.NoError(t, err, c.what)
		if c.told == "" {
			require.Empty(t, topo.Warnings(), c.what)
			continue
		}
		require.Len(t, topo.Warnings(), 1, c.what)
		require.Contains(t, topo.Warnings()[0], c.told, c.what)
		require.Contains(t, topo.Warnings()[0], "stream/serdes_test.go:", c.what)
	}
}

// Two names of one store with serdes that certainly differ are a mistake.
func TestAStoreHasOnePairOfSerdes(t *testing.T) {
	b := stream.NewBuilder()
	b.Table(prices, priceTable).ToStream().
		Process(func() *priceReader { return &priceReader{} }, priceTable.Values(serde.Msgpack[money]()))
	_, err := b.Build()
	require.ErrorContains(t, err, `store "price-table" has other serdes already (`)
	require.ErrorContains(t, err, "its values are msgpack stream_test.money in one place and json stream_test.money in")
}
