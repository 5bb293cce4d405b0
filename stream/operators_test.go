package stream_test

import (
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

var (
	in      = stream.NewTopic[string, string]("in")
	out     = stream.NewTopic[string, string]("out")
	numbers = stream.NewTopic[string, int64]("numbers")
	sums    = stream.NewTopic[string, int64]("sums")
)

func TestStatelessOperators(t *testing.T) {
	b := stream.NewBuilder()
	var peeked, ended []string
	s := b.Stream(in).
		Filter(func(_, v string) bool { return v != "drop" }).
		FilterNot(func(k, _ string) bool { return k == "no" }).
		MapValues(strings.ToUpper).
		Try().MapValues(func(_ *stream.Call, k, v string) (string, error) { return k + v, nil }).
		Peek(func(k, v string) { peeked = append(peeked, k+"/"+v) })
	s.FlatMap(func(k, v string) iter.Seq2[string, string] {
		return func(yield func(string, string) bool) {
			_ = yield(k+"1", v) && yield(k+"2", v)
		}
	}).Map(func(k, v string) (string, string) { return v, k }).To(out)
	s.ForEach(func(k, v string) { ended = append(ended, k+"/"+v) })
	d := drive(t, b)
	put(d, in, "a", "x", 1)
	put(d, in, "a", "drop", 2)
	put(d, in, "no", "x", 3)
	del(d, in, "a", 4)
	require.Equal(t, []string{"aX=a1@1", "aX=a2@1"}, got(d, out))
	require.Equal(t, []string{"a/aX"}, peeked, "a null that functions do not see passes them by")
	require.Equal(t, peeked, ended)
	require.Equal(t, int64(1), d.dropped(topology.NullValue), "FlatMap makes nothing of a null that it does not see")
}

func TestNullsOfNilableTypesAreSeen(t *testing.T) {
	pin, pout := stream.NewTopic[string, *string]("in"), stream.NewTopic[string, *string]("out")
	b := stream.NewBuilder()
	b.Stream(pin).MapValues(func(v *string) *string {
		if v == nil {
			s := "was null"
			return &s
		}
		return nil
	}).To(pout)
	d := drive(t, b)
	del(d, pin, "a", 1)
	v := "x"
	put(d, pin, "a", &v, 2)
	require.Equal(t, []string{"a=was null@1", "a=∅@2"}, got(d, out))
}

func TestNullValueKeepsGoingPastFunctionsThatDoNotSeeIt(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).MapValues(func(v string) int64 { return int64(len(v)) }).
		FlatMapValues(func(n int64) iter.Seq[int64] { return slices.Values([]int64{n, n}) }).To(sums)
	d := drive(t, b)
	put(d, in, "a", "xyz", 1)
	del(d, in, "a", 2)
	require.Equal(t, []string{"a=3@1", "a=3@1", "a=∅@2"}, got(d, sums))
}

func TestT30SplitIsFirstMatch(t *testing.T) {
	b := stream.NewBuilder()
	multiple := func(of int64) func(string, int64) bool { return func(_ string, n int64) bool { return n%of == 0 } }
	branches := b.Stream(numbers).Split(multiple(2), multiple(3), multiple(5))
	require.Len(t, branches, 4)
	names := []string{"x2", "x3", "x5", "rest"}
	for i, s := range branches {
		s.MapValues(func(int64) string { return names[i] }).To(out)
	}
	d := drive(t, b)
	for n := range int64(8) {
		put(d, numbers, string(rune('0'+n)), n, n)
	}
	require.Equal(t, []string{"0=x2@0", "1=rest@1", "2=x2@2", "3=x3@3", "4=x2@4", "5=x5@5", "6=x2@6", "7=rest@7"},
		got(d, out))
}

func TestMergeAndDynamicTopics(t *testing.T) {
	b := stream.NewBuilder()
	more := stream.NewTopic[string, string]("more")
	b.Stream(in).Merge(b.Stream(more)).ToDynamic(func(k, _ string) string { return "to-" + k })
	d := drive(t, b)
	put(d, in, "a", "1", 1)
	put(d, more, "b", "2", 2)
	put(d, in, "a", "3", 3)
	require.Equal(t, []string{"a=1@1", "a=3@3"}, got(d, stream.NewTopic[string, string]("to-a")))
	require.Equal(t, []string{"b=2@2"}, got(d, stream.NewTopic[string, string]("to-b")))
}

func TestPartitionerMayDrop(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).To(out.Partition(func(_, v string, n int) int {
		if v == "drop" {
			return -1
		}
		return n - 1
	}))
	d := drive(t, b)
	put(d, in, "a", "drop", 1)
	put(d, in, "a", "keep", 2)
	require.Equal(t, []string{"a=keep@2"}, got(d, out))
	require.Equal(t, int64(1), d.dropped(topology.NoPartition))
}

func TestT29RepartitionDropsNullKeys(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).Repartition("again").To(out)
	d := drive(t, b)
	d.pipe("in", raw{nil, []byte("v"), 1})
	put(d, in, "a", "v", 2)
	require.Equal(t, []string{"a=v@2"}, got(d, out))
	require.Equal(t, int64(1), d.dropped(topology.NullKey))
}

func TestT13CountSkipsNullsAndKeepsTheHighestTime(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Count(byWord).ToStream().To(counts)
	d := drive(t, b)
	for _, r := range []struct {
		key string
		ts  int64
	}{{"1", 5}, {"2", 1}, {"1", 3}, {"1", 10}, {"3", 8}, {"3", 9}} {
		put(d, in, r.key, "v", r.ts)
	}
	del(d, in, "3", 10)
	d.pipe("in", raw{nil, []byte("v"), 11})
	require.Equal(t, []string{"1=1@5", "2=1@1", "1=2@5", "1=3@10", "3=1@8", "3=2@9"}, got(d, counts))
	require.Equal(t, int64(1), d.dropped(topology.NullValue))
	require.Equal(t, int64(1), d.dropped(topology.NullKey))
	st, err := byWord.Open(d.tx)
	require.NoError(t, err)
	n, ts, ok, err := st.Get("1")
	require.NoError(t, err)
	require.Equal(t, []any{int64(3), int64(10), true}, []any{n, ts, ok})
}

func TestEmitOnCommitTellsOfEachKeyOnce(t *testing.T) {
	for _, onUpdate := range []bool{false, true} {
		b := stream.NewBuilder()
		g := b.Stream(in).GroupByKey()
		if onUpdate {
			g = g.Emit(stream.OnUpdate)
		}
		g.Count(byWord).ToStream().To(counts)
		d := drive(t, b)
		d.manual = true
		put(d, in, "a", "", 1)
		put(d, in, "b", "", 2)
		put(d, in, "a", "", 3)
		d.commit()
		want := []string{"b=1@2", "a=2@3"}
		if onUpdate {
			want = []string{"a=1@1", "b=1@2", "a=2@3"}
		}
		require.Equal(t, want, got(d, counts))
	}
}

func TestReduceAndAggregateMayDelete(t *testing.T) {
	b := stream.NewBuilder()
	pin := stream.NewTopic[string, *int64]("numbers")
	pout := stream.NewTopic[string, *int64]("sums")
	b.Stream(pin).GroupByKey().Emit(stream.OnUpdate).Reduce(state.NewKV[string, *int64]("r"), func(a, v *int64) *int64 {
		if *a == *v {
			return nil
		}
		n := *a + *v
		return &n
	}).ToStream().To(pout)
	text := stream.NewTopic[string, []string]("texts")
	b.Stream(pin).GroupByKey().Aggregate(state.NewKV[string, []string]("a"),
		func() []string { return []string{"new"} },
		func(_ string, n *int64, a []string) []string {
			if *n == 0 {
				return nil
			}
			return append(slices.Clone(a), "n")
		}).ToStream().To(text)
	d := drive(t, b)
	for i, n := range []int64{1, 2, 3, 0, 5} {
		put(d, numbers, "k", n, int64(i))
	}
	require.Equal(t, []string{"k=1@0", "k=3@1", "k=∅@2", "k=0@3", "k=5@4"}, got(d, sums))
	require.Equal(t, []string{"k=[new n]@0", "k=[new n n]@1", "k=[new n n n]@2", "k=∅@3", "k=[new n]@4"}, got(d, text))
}

func TestT12TableFilterWithOldValues(t *testing.T) {
	b := stream.NewBuilder()
	b.Table(numbers, state.NewKV[string, int64]("n")).
		Filter(func(_ string, n int64) bool { return n%2 == 0 }).ToStream().To(sums)
	d := drive(t, b)
	put(d, numbers, "A", 1, 5)
	put(d, numbers, "B", 1, 10)
	put(d, numbers, "C", 1, 15)
	put(d, numbers, "A", 2, 15)
	put(d, numbers, "B", 2, 8)
	put(d, numbers, "A", 3, 20)
	del(d, numbers, "A", 10)
	del(d, numbers, "B", 20)
	require.Equal(t, []string{"A=2@15", "B=2@8", "A=∅@20", "B=∅@20"}, got(d, sums))
}

func TestTableMapValuesMaterializeAndToTable(t *testing.T) {
	b := stream.NewBuilder()
	kept := state.NewKV[string, string]("kept")
	b.Stream(in).ToTable(state.NewKV[string, string]("rows")).
		MapValues(strings.ToUpper).
		FilterNot(func(_, v string) bool { return v == "NO" }).
		Materialize(kept).ToStream().To(out)
	d := drive(t, b)
	put(d, in, "a", "x", 1)
	put(d, in, "a", "no", 2)
	put(d, in, "b", "y", 3)
	del(d, in, "b", 4)
	put(d, in, "c", "z", 5)
	require.Equal(t, []string{"a=X@1", "a=∅@2", "b=Y@3", "b=∅@4", "c=Z@5"}, got(d, out))
	st, err := kept.Open(d.tx)
	require.NoError(t, err)
	var rows []string
	for e, err := range st.All() {
		require.NoError(t, err)
		rows = append(rows, e.Key+e.Value)
	}
	require.Equal(t, []string{"cZ"}, rows)
}

// doubler forwards a value twice, under a key that ProcessValues does not let through.
type doubler struct {
	c     *topology.Context[string, string]
	store state.KV[string, int64]
	seen  *state.KVStore[string, int64]
}

func (p *doubler) Init(c *topology.Context[string, string]) (err error) {
	p.c = c
	p.seen, err = p.store.Open(c)
	return err
}

func (p *doubler) Process(r topology.Record[string, string]) error {
	n, _, _, err := p.seen.Get(r.Key)
	if err != nil {
		return err
	}
	if err := p.seen.Put(r.Key, n+1, r.Timestamp); err != nil {
		return err
	}
	if err := p.c.Forward(r); err != nil {
		return err
	}
	r.Key = "other"
	return p.c.Forward(r)
}

func TestProcessors(t *testing.T) {
	st := state.NewKV[string, int64]("seen")
	make := func() topology.Processor[string, string, string, string] { return &doubler{store: st} }
	b := stream.NewBuilder()
	s := b.Stream(in)
	s.Process(make, st).To(out)
	s.ProcessValues(make, st).To(stream.NewTopic[string, string]("values"))
	d := drive(t, b)
	put(d, in, "a", "x", 1)
	require.Equal(t, []string{"a=x@1", "other=x@1"}, got(d, out))
	require.Equal(t, []string{"a=x@1", "a=x@1"}, got(d, stream.NewTopic[string, string]("values")))
	seen, err := st.Open(d.tx)
	require.NoError(t, err)
	n, _, _, err := seen.Get("a")
	require.NoError(t, err)
	require.Equal(t, int64(2), n, "the store is shared")

	b = stream.NewBuilder()
	b.Stream(in).Process(make)
	_, err = b.Build()
	require.ErrorContains(t, err, `node source-in.process opens store "seen" (`)
	require.ErrorContains(t, err, `which is not connected to it: add it to the stores that the call names`)
}
