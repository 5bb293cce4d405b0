package task_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// expecting is a node that notes the keys that it is to expect, and those that came.
func expecting(name string, changesKey bool, told map[string]bool, came func(key string)) *topology.Node {
	return &topology.Node{
		Name: name, Kind: topology.KindProcessor, Site: "site", ChangesKey: changesKey,
		Make: topology.Between(func(in *topology.Instance, next port) (port, error) {
			in.Announce(serde.For[string](), state.Lines(func(keys [][]byte) {
				for _, k := range keys {
					told[string(k)] = true
				}
			}))
			return func(r *text) error {
				in.Enter()
				came(r.Key)
				return next(r)
			}, nil
		}),
	}
}

// resting is a Prefetcher that has nothing to read, and counts how often it is asked.
type resting struct {
	state.Prefetcher
	t     *testing.T
	asked *int
}

func (r resting) RowsWanted() int        { *r.asked++; return 0 }
func (r resting) LinesWanted() bool      { return false }
func (r resting) PrefetchLines([][]byte) { r.t.Error("lines are read that nobody wants") }
func (r resting) PrefetchRows(a *state.Ahead) int {
	require.Empty(r.t, a.Keys, "rows are read that nobody wants")
	return 0
}

// TestNothingIsPreparedThatNobodyWants: where all is in memory and small, prefetchers are asked once for 64 records,
// and do nothing.
func TestNothingIsPreparedThatNobodyWants(t *testing.T) {
	const records = 6400
	asked := 0
	node := &topology.Node{
		Name: "n", Kind: topology.KindProcessor, Site: "site",
		Make: topology.Between(func(in *topology.Instance, next port) (port, error) {
			in.Announce(serde.For[string](), func() state.Prefetcher { return resting{t: t, asked: &asked} })
			return next, nil
		}),
	}
	r := newRig(t, task.Config{}, chain(source("s", "in"), node, sink("o", "out")))
	for from := int64(0); from < records; from += 100 {
		var some []text
		for i := range int64(100) {
			some = append(some, text{Key: fmt.Sprint("k", from+i), Value: "v", Timestamp: from + i})
		}
		r.add("in", from, some...)
	}
	r.step(records)
	r.commit()
	require.Len(t, r.written("out"), records)
	require.Equal(t, records/64, asked)
}

// TestKeysAreToldAhead: nodes that see the input's own keys hear of each before its record comes; records come one by
// one all the same, and none is lost or repeated by a commit or a rewind in the middle.
func TestKeysAreToldAhead(t *testing.T) {
	var came []string
	told, unasked := map[string]bool{}, map[string]bool{}
	hears := func(key string) { require.True(t, told[key], key) }
	r := newRig(t, task.Config{}, chain(source("s", "in"),
		expecting("a", false, told, func(key string) { hears(key); came = append(came, key) }),
		expecting("b", true, told, hears), expecting("c", false, unasked, func(string) {})))
	var want []string
	next := int64(0)
	var batches []batch.Batch
	for _, size := range []int{1, 64, 65, 200, 3} {
		var records []text
		for range size {
			key := fmt.Sprintf("k%d", next)
			records = append(records, text{Key: key, Value: "v", Timestamp: next})
			want = append(want, key)
			next++
		}
		batches = append(batches, r.add("in", next-int64(size), records...))
	}
	r.step(100)
	require.Equal(t, want[:100], came)
	require.Equal(t, []int64{100}, nexts(r.task.Offsets()))
	r.commit()
	r.step(50)
	require.NoError(t, r.task.Discard())
	require.Zero(t, r.task.Queues.Records())
	for _, b := range batches {
		require.NoError(t, r.task.Add("in", 0, b))
	}
	came = came[:100]
	r.step(len(want) - 100)
	require.Equal(t, want, came)
	require.Equal(t, []int64{next}, nexts(r.task.Offsets()))
	require.Len(t, told, len(want))
	require.Empty(t, unasked, "behind a node that changes keys")
	require.Zero(t, r.task.Queues.Records())
}
