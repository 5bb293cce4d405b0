package stream_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

// entry is a row of a table, which belongs to a group.
type entry struct {
	Group string
	Score int
	Note  string
}

// Random rows come, change, move and go; the model sorts all of them for each group.
func TestTopOfATableIsThatOfASort(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	entries := stream.NewTopic[string, entry]("entries").Values(serde.JSON[entry]())
	tops := stream.NewTopic[string, []entry]("tops").Values(serde.JSON[[]entry]())
	all := state.NewKV[string, []entry]("all").Values(serde.JSON[[]entry]())
	rows := state.NewKV[string, entry]("rows").Values(serde.JSON[entry]())
	byScore := func(a, b entry) int { return cmp.Compare(b.Score, a.Score) }
	for _, emit := range []stream.Emit{stream.OnCommit, stream.OnUpdate} {
		b := stream.NewBuilder()
		top := b.Table(entries, rows).
			GroupBy("groups", func(_ string, e entry) (string, entry) { return e.Group, e }).Values(serde.JSON[entry]()).
			Emit(emit).Top(all, 3, byScore)
		top.ToStream().To(tops)
		b.Stream(in).JoinTable(top, func(_ string, list []entry) string { return fmt.Sprint(len(list)) }).To(out)
		topo, err := b.Build()
		require.NoError(t, err)
		d := streamtest.New(t, topo, streamtest.Config{CommitEvery: 5})
		model := map[string][]entry{} // by group, in the order in which they came
		now := map[string]entry{}
		remove := func(id string) {
			e, ok := now[id]
			if !ok {
				return
			}
			delete(now, id)
			at := slices.Index(model[e.Group], e)
			model[e.Group] = slices.Delete(model[e.Group], at, at+1)
		}
		for i := range int64(200) {
			id := fmt.Sprint(rnd.IntN(15))
			remove(id)
			if rnd.IntN(4) == 0 {
				d.Input(entries).SendNull(id, i)
			} else {
				e := entry{string(rune('a' + rnd.IntN(3))), rnd.IntN(4), fmt.Sprint(rnd.IntN(2))}
				now[id] = e
				model[e.Group] = append(model[e.Group], e)
				d.Input(entries).Send(id, e, i)
			}
			if i == 90 {
				d.Commit()
				d.Restart(streamtest.Keep(rnd.IntN(2)))
			}
		}
		d.Commit()
		want := map[string][]entry{}
		for group, list := range model {
			if slices.SortStableFunc(list, byScore); len(list) > 0 {
				want[group] = list[:min(3, len(list))]
			}
		}
		got := streamtest.Latest(d.Output(tops))
		require.Equal(t, want, got)
		for group := range got {
			d.Input(in).Send(group, "", 1000)
		}
		d.Commit()
		for _, r := range d.Output(out).ReadAll() {
			require.Equal(t, fmt.Sprint(len(want[r.Key])), r.Value)
		}
	}
}
