package stream_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

var (
	places    = stream.NewTopic[string, string]("places")
	placeRows = state.NewKV[string, string]("place-rows")
)

// place looks a record's place up: "none" names no key.
func place(_, v string) (string, bool) { return v, v != "none" }

func run(t *testing.T, b *stream.Builder, c streamtest.Config) *streamtest.Driver {
	t.Helper()
	topo, err := b.Build()
	require.NoError(t, err)
	return streamtest.New(t, topo, c)
}

// T-34: the stream's timestamp wins, whatever the row's.
func TestT34GlobalTableJoins(t *testing.T) {
	for _, left := range []bool{false, true} {
		b := stream.NewBuilder()
		g := b.GlobalTable(places, placeRows)
		s := b.Stream(in)
		if left {
			s.LeftJoinGlobal(g, place, func(v string, p *string) string { return opt(&v, p) }).To(out)
		} else {
			s.JoinGlobal(g, place, func(v, p string) string { return v + "-" + p }).To(out)
		}
		d := run(t, b, streamtest.Config{Partitions: 3})
		d.Input(places).Send("a", "A", 1)
		d.Input(places).Send("b", "B", 5)
		input := d.Input(in)
		input.Send("1", "a", 2)
		input.Send("2", "b", 10)
		input.Send("3", "c", 3)
		input.Send("4", "none", 4)
		input.SendKeyless("a", 6)
		input.SendNull("5", 7)
		d.Input(places).SendNull("a", 0) // out of order, and applied at once
		input.Send("1", "a", 8)
		want := []string{"1=a-A@2", "2=b-B@10", "~=a-A@6"}
		if left {
			want = []string{"1=a-A@2", "2=b-B@10", "3=c-null@3", "4=none-null@4", "~=a-A@6", "1=a-null@8"}
		}
		require.Equal(t, want, d.Output(out).ReadStrings())
		require.EqualValues(t, 1, d.Dropped(topology.NullValue))
		require.EqualValues(t, map[bool]int64{true: 0, false: 1}[left], d.Dropped(topology.NullKey))
		require.Equal(t, map[string]streamtest.Row[string]{"b": {Value: "B", Timestamp: 5}}, streamtest.Rows(d, placeRows))
	}
}

// A join that comes after a repartition with a null key: the left one keeps such records, the inner one does not.
func TestT28NullKeysReachALeftJoinWithAGlobalTable(t *testing.T) {
	for _, left := range []bool{false, true} {
		b := stream.NewBuilder()
		g := b.GlobalTable(places, placeRows)
		s := b.Stream(in).Repartition("again")
		if left {
			s.LeftJoinGlobal(g, place, func(v string, p *string) string { return opt(&v, p) }).To(out)
		} else {
			s.JoinGlobal(g, place, func(v, p string) string { return v + "-" + p }).To(out)
		}
		d := run(t, b, streamtest.Config{})
		d.Input(places).Send("a", "A", 1)
		d.Input(in).SendKeyless("a", 2)
		require.Equal(t, map[bool]int{true: 1, false: 0}[left], d.Output(out).Len())
	}
}

func TestGlobalTableIsFilledAgainAfterALoss(t *testing.T) {
	for _, keep := range []streamtest.Keep{streamtest.LoseState, streamtest.KeepState} {
		b := stream.NewBuilder()
		b.Stream(in).JoinGlobal(b.GlobalTable(places, placeRows), place, func(v, p string) string { return p }).To(out)
		d := run(t, b, streamtest.Config{Partitions: 2, CommitEvery: -1})
		d.Input(places).Send("a", "A", 1)
		d.Input(places).SendKeyless("nobody", 1)
		d.Restart(keep)
		d.Input(places).Send("b", "B", 1)
		d.Input(in).Send("1", "a", 2)
		d.Input(in).Send("1", "b", 2)
		d.Commit()
		require.Equal(t, []string{"A", "B"}, d.Output(out).ReadValues())
	}
}

// upper fills a global store with upper case, and knows how many records it has seen.
type upper struct {
	store *state.KVStore[string, string]
}

func (u *upper) Init(c *topology.Context[struct{}, struct{}]) (err error) {
	u.store, err = placeRows.Open(c)
	return err
}

func (u *upper) Process(r topology.Record[string, string]) error {
	old, _, _, err := u.store.Get(r.Key)
	if err != nil {
		return err
	}
	return u.store.Put(r.Key, old+strings.ToUpper(r.Value), r.Timestamp)
}

// lookup reads the global store, to which it is not connected.
type lookup struct {
	c    *topology.Context[string, string]
	rows *state.KVReader[string, string]
}

func (l *lookup) Init(c *topology.Context[string, string]) error {
	l.c, l.rows = c, placeRows.Read(c.Globals())
	return nil
}

func (l *lookup) Process(r topology.Record[string, string]) (err error) {
	if r.Value, _, _, err = l.rows.Get(r.Value); err != nil {
		return err
	}
	return l.c.Forward(r)
}

func TestGlobalStoreHasAProcessorOfItsOwn(t *testing.T) {
	b := stream.NewBuilder()
	b.GlobalStore(places, func() stream.Filler[string, string] { return &upper{} }, placeRows)
	b.Stream(in).ProcessValues(func() topology.Processor[string, string, string, string] { return &lookup{} }).To(out)
	d := run(t, b, streamtest.Config{})
	for range 2 {
		d.Input(places).Send("a", "x", 1)
		d.Input(places).Send("a", "y", 2)
		d.Input(in).Send("1", "a", 3)
		d.Restart(streamtest.LoseState)
	}
	require.Equal(t, []string{"1=XY@3", "1=XYXY@3"}, d.Output(out).ReadStrings())
}

func TestGlobalTablesAreChecked(t *testing.T) {
	b := stream.NewBuilder()
	g := b.GlobalTable(places, placeRows)
	b.Table(places, placeRows)
	_, err := b.Build()
	require.ErrorContains(t, err, `store "place-rows" is written by another operator already`)

	b = stream.NewBuilder()
	b.GlobalTable(places, placeRows.InMemory())
	_, err = b.Build()
	require.ErrorContains(t, err, "it must be a key-value store on disk")

	b = stream.NewBuilder()
	b.GlobalTable(places, placeRows)
	b.Stream(in).Process(func() topology.Processor[string, string, string, string] { return &lookup{} }, placeRows).To(out)
	_, err = b.Build()
	require.ErrorContains(t, err, `store "place-rows" is global`)
	require.ErrorContains(t, err, "global_test.go")

	b = stream.NewBuilder()
	b.Stream(in).JoinGlobal(g, place, func(v, p string) string { return v }).To(out)
	_, err = b.Build()
	require.ErrorContains(t, err, "JoinGlobal: the other side was made by another builder")
}

func TestGlobalTablesStandBesideTheTasks(t *testing.T) {
	b := stream.NewBuilder()
	g := b.GlobalTable(places, placeRows)
	b.Stream(places).To(out) // the same topic as a stream is a task's
	b.Stream(in).JoinGlobal(g, place, func(v, p string) string { return v }).To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	require.Len(t, topo.Subtopologies(), 2)
	require.Len(t, topo.Globals(), 1)
	text := topo.Describe().String()
	require.Contains(t, text, "  Sub-topology: 2 for global-store (will not generate tasks)\n"+
		"    Source: source-places-place-rows (topics: [places])\n      --> global-table-place-rows\n"+
		"    Processor: global-table-place-rows (stores: [place-rows])\n      --> none\n      <-- source-places-place-rows\n")
	require.Contains(t, topo.Fingerprint().String(), "global store place-rows (key-value) is filled from places\n")
	require.Contains(t, topo.Describe().DOT(), `label="global 0"`)
	for _, s := range topo.Subtopologies() {
		require.Empty(t, s.Copartitioned)
		require.Empty(t, s.Stores)
	}
}
