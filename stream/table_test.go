package stream_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

var rows = state.NewKV[string, string]("rows")

// A table emits each key once per commit, and not what came and went; OnUpdate emits each step.
func TestTablesTellWithTheCommit(t *testing.T) {
	for _, c := range []struct {
		emit stream.Emit
		want []string
	}{
		{stream.Emit(0), []string{"a=2@2"}},
		{stream.OnCommit, []string{"a=2@2"}},
		{stream.OnUpdate, []string{"a=1@1", "a=2@2", "b=3@3", "b=~@4"}},
	} {
		for kind, table := range map[string]func(*stream.Builder) stream.Table[string, string]{
			"Table":   func(b *stream.Builder) stream.Table[string, string] { return b.Table(in, rows).Emit(c.emit) },
			"ToTable": func(b *stream.Builder) stream.Table[string, string] { return b.Stream(in).ToTable(rows).Emit(c.emit) },
			"Materialize": func(b *stream.Builder) stream.Table[string, string] {
				return b.LazyTable(in, state.NewKV[string, string]("lazy")).Materialize(rows).Emit(c.emit)
			},
		} {
			b := stream.NewBuilder()
			table(b).ToStream().To(out)
			d := run(t, b, streamtest.Config{CommitEvery: -1, EmitOnCommit: true})
			d.Input(in).Send("a", "1", 1)
			d.Input(in).Send("a", "2", 2)
			d.Input(in).Send("b", "3", 3)
			d.Input(in).SendNull("b", 4)
			d.Commit()
			require.Equal(t, c.want, d.Output(out).ReadStrings(), kind)
		}
	}
}

func TestLazyTablesKeepRowsOnlyWhereTheyAreRead(t *testing.T) {
	stores := func(use func(stream.Table[string, string])) (n int) {
		b := stream.NewBuilder()
		use(b.LazyTable(in, rows))
		topo, err := b.Build()
		require.NoError(t, err)
		for _, s := range topo.Subtopologies() {
			n += len(s.Stores)
		}
		return n
	}
	require.Zero(t, stores(func(table stream.Table[string, string]) {
		table.MapValues(func(v string) string { return v }).ToStream().To(out)
	}))
	require.Equal(t, 1, stores(func(table stream.Table[string, string]) { table.Join(table, dash).ToStream().To(out) }))
	require.Equal(t, 2, stores(func(table stream.Table[string, string]) {
		table.GroupBy("by", func(k, v string) (string, string) { return v, k }).
			Count(state.NewKV[string, int64]("n"))
	}))
}

// A filter that is kept, and asked what was before, tells of no row that never passed.
func TestKeptFiltersTellOfNoRowThatNeverWas(t *testing.T) {
	b := stream.NewBuilder()
	kept := b.LazyTable(in, rows).Filter(func(_, v string) bool { return v != "x" }).
		Materialize(state.NewKV[string, string]("kept")).Emit(stream.OnUpdate)
	kept.OuterJoin(b.Table(right, rights), opt).ToStream().To(out)
	d := run(t, b, streamtest.Config{})
	d.Input(right).Send("a", "r", 1)
	d.Input(in).Send("a", "x", 2)
	d.Input(in).Send("a", "l", 3)
	d.Input(in).Send("a", "x", 4)
	d.Input(in).Send("a", "x", 5)
	require.Equal(t, []string{"a=null-r@1", "a=l-r@3", "a=null-r@4"}, d.Output(out).ReadStrings())
}

// What is computed of a table can be kept with its past, and be looked up as of a time.
func TestMaterializeVersioned(t *testing.T) {
	past := state.NewVersioned[string, string]("past", 10*time.Millisecond)
	b := stream.NewBuilder()
	table := b.Table(right, rights).MapValues(func(v string) string { return v + "!" }).MaterializeVersioned(past)
	b.Stream(left).JoinTable(table, dash).To(out)
	table.GroupBy("by", func(_, v string) (string, string) { return v, v }).
		Count(state.NewKV[string, int64]("n"))
	d := run(t, b, streamtest.Config{})
	d.Input(right).Send("a", "1", 10)
	d.Input(right).Send("a", "2", 20)
	d.Input(right).Send("a", "late", 15) // is put into its place
	d.Input(right).Send("a", "gone", 5)  // is refused
	for _, at := range []int64{12, 17, 25} {
		d.Input(left).Send("a", "l", at)
	}
	require.Equal(t, []string{"a=l-1!@12", "a=l-late!@17", "a=l-2!@25"}, d.Output(out).ReadStrings())
	require.EqualValues(t, 1, d.DroppedTotal())
}

func TestARecordMustNameItsTopic(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).ToDynamic(func(_, v string) string { return v })
	d := run(t, b, streamtest.Config{})
	require.NoError(t, d.Input(in).TrySend("a", "somewhere", 1))
	require.ErrorContains(t, d.Input(in).TrySend("a", "", 2), "the record names no topic")
	d = run(t, b, streamtest.Config{})
	require.ErrorContains(t, d.Input(in).TrySend("a", "no/good", 1), `the topic of the record: name "no/good": '/' is not`)
}
