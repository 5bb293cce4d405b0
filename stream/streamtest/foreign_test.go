package streamtest_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// TestForeignKeyJoinEndsWithTheLastRows: whatever is on its way between the two sides when rows change again, the
// joined rows are those of the last left and right rows in the end.
func TestForeignKeyJoinEndsWithTheLastRows(t *testing.T) {
	left, right := stream.NewTopic[string, string]("left"), stream.NewTopic[string, string]("right")
	out := stream.NewTopic[string, string]("out")
	b := stream.NewBuilder()
	b.Table(left, state.NewKV[string, string]("lefts")).
		JoinForeign(b.Table(right, state.NewKV[string, string]("rights")),
			func(_, v string) (string, bool) { return v[1:], true }, "named",
			func(l, r string) string { return l + " " + r }).
		ToStream().To(out)
	topo, err := b.Build()
	require.NoError(t, err)

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		d := streamtest.New(t, topo, streamtest.Config{Partitions: 2, CommitEvery: 1 + r.IntN(40)})
		lefts, rights := d.Input(left), d.Input(right)
		add := func(in *streamtest.Input[string, string], k, v string, null bool, at int) {
			in.Append(topology.PartitionFor([]byte(k), 2),
				topology.Record[string, string]{Key: k, Value: v, NullValue: null, Timestamp: int64(at)})
		}
		last, names, want := map[string]string{}, map[string]string{}, map[string]string{}
		for i := range 400 {
			if r.IntN(10) == 0 {
				k, gone := fmt.Sprint(r.IntN(8)), r.IntN(3) == 0
				names[k] = fmt.Sprintf("name %d", i)
				add(rights, k, names[k], gone, i)
				if gone {
					delete(names, k)
				}
			}
			k, v := fmt.Sprintf("k%d", r.IntN(20)), fmt.Sprintf("%c%d", 'a'+r.IntN(2), r.IntN(8))
			last[k] = v
			add(lefts, k, v, false, i)
		}
		d.Run()
		d.Commit()
		for k, v := range last {
			if name, ok := names[v[1:]]; ok {
				want[k] = v + " " + name
			}
		}
		require.Equal(t, want, streamtest.Latest(d.Output(out)))
	}
}
