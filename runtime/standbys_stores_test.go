package runtime_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/state/pebble"
	"thalweg/stream"
	"thalweg/topology"
)

// copiedKinds has stores of all kinds of which there are copies.
func copiedKinds(t *testing.T) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	lefts, rights := stream.NewTopic[string, string]("lefts"), stream.NewTopic[string, string]("rights")
	out := stream.NewTopic[string, string]("out")
	pair := func(l, r string) string { return l + r }
	table := b.Table(rights, state.NewKV[string, string]("table"))
	versions := b.Stream(lefts).ToVersionedTable(state.NewVersioned[string, string]("versions", time.Hour))
	in := b.Stream(lefts)
	in.JoinTable(table, pair).To(out)
	in.JoinAsOf(versions, stream.AtOrBefore(time.Second), "as-of", pair).To(out)
	in.Join(b.Stream(rights), stream.Around(time.Second, 0), "meetings", pair).To(out)
	group := in.GroupByKey()
	group.Count(state.NewKV[string, int64]("counts")).ToStream().
		MapValues(func(n int64) string { return fmt.Sprint(n) }).To(out)
	group.Windowed(stream.Tumbling(time.Second, time.Hour)).Count(state.NewWindowed[string, int64]("windows"))
	group.Windowed(stream.Tumbling(time.Second, time.Second)).Count(state.NewWindowed[string, int64]("short"))
	group.Sessions(stream.SessionGap(time.Second, time.Hour)).Count(state.NewSession[string, int64]("sessions"))
	table.Suppress(stream.UntilTimeLimit(time.Hour, "calm")).ToStream().To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// content is what an application has on a disk where nothing runs, without positions, by store and partition.
func content(t *testing.T, cfg runtime.Config) map[string]map[string]string {
	t.Helper()
	e, err := pebble.Open(cfg.State.FS.PathJoin(cfg.State.Dir, cfg.ApplicationID, "state"),
		pebble.Options{FS: cfg.State.FS})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	stored, err := state.ReadStored(e)
	require.NoError(t, err)
	all := map[string]map[string]string{}
	for _, s := range stored {
		rows := map[string]string{}
		it, err := e.Iterate(s.Lower, s.Upper)
		require.NoError(t, err)
		for ok := it.First(); ok; ok = it.Next() {
			if len(it.Key()) > len(s.Lower)+1 { // else it is the position
				value, err := it.Value()
				require.NoError(t, err)
				rows[string(it.Key())] = string(value)
			}
		}
		require.NoError(t, it.Close())
		all[fmt.Sprint(s.Store, "/", s.Partition)] = rows
	}
	return all
}

// A copy of a store of any kind has the rows that its task has, also where the store has no changelog of its own, and
// gives up what its task gives up.
func TestStandbysOfAllStores(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.create(2, "lefts")
	h.create(2, "rights")
	h.create(2, "out")
	var configs [2]runtime.Config
	var apps [2]*running
	for i := range apps {
		configs[i] = h.copying(fmt.Sprint("process ", i))
		configs[i].State.CheckpointInterval = 50 * time.Millisecond
		apps[i] = h.start(copiedKinds(t), configs[i])
	}
	at := int64(1_700_000_000_000)
	for range 30 {
		var records []*kgo.Record
		for range 50 {
			at += h.random.Int64N(200)
			r := kgo.KeySliceRecord([]byte(fmt.Sprint("key", h.random.IntN(20))), nil)
			if h.random.IntN(10) > 0 {
				r.Value, _ = serde.For[string]().Append(nil, strings.Repeat("v", h.random.IntN(50)))
			}
			r.Topic, r.Timestamp = []string{"lefts", "rights"}[h.random.IntN(2)], time.UnixMilli(at)
			records = append(records, r)
		}
		h.produce(records...)
		for _, app := range apps {
			app.settled()
		}
	}
	for _, app := range apps {
		app.caughtUp()
		require.NoError(t, app.Checkpoint(h.ctx))
	}
	for _, app := range apps {
		require.Eventually(t, func() bool { return followsAll(app, 1) }, patience, poll)
	}
	for _, app := range apps {
		app.stop()
	}
	one, two := content(t, configs[0]), content(t, configs[1])
	require.GreaterOrEqual(t, len(one), 2*8)
	for store, rows := range one {
		require.NotEmpty(t, rows, store)
		if strings.HasPrefix(store, "short/") { // a copy keeps what expires a little longer
			few, many := len(rows), len(two[store])
			require.Less(t, max(few, many), 4*min(few, many)+60, store)
			continue
		}
		if !maps.Equal(rows, two[store]) {
			for k, v := range rows {
				if w, ok := two[store][k]; !ok || v != w {
					t.Errorf("store %s: row %q is %q and %q", store, k, v, w)
					break
				}
			}
			t.Errorf("store %s: %d and %d rows differ", store, len(rows), len(two[store]))
		}
	}
}
