package task_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/state/pebble"
	"thalweg/topology"
)

// A restore that is killed at 25, 50 and 75 % reads at most 1.2 times the changelog's records, never holds more than it
// may, and ends with the rows that the changelog has.
func TestAFollowerGoesOnAfterKills(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	rows := state.NewKV[string, string]("rows")
	topo, err := topology.New(chain(source("s", "in"), process("p", processor{}, rows)))
	require.NoError(t, err)
	const perBatch, bytesMax = 50, 1200 << 10
	var log []batch.Batch
	want := map[string]string{}
	for i := range 300 {
		var records []text
		for range perBatch {
			rec := text{Key: fmt.Sprintf("key-%04d", r.IntN(5000)), Value: strings.Repeat(fmt.Sprintf("%08d", r.Uint32()), 150)}
			want[rec.Key] = rec.Value
			records = append(records, rec)
		}
		log = append(log, encode(t, int64(i*perBatch), records...))
	}
	end := int64(len(log) * perBatch)

	fs := vfs.NewCrashableMem()
	var e *pebble.Engine
	var tk *task.Task
	var f *task.Follower
	open := func() *task.Followed {
		e, err = pebble.Open("state", pebble.Options{FS: fs})
		require.NoError(t, err)
		tk, err = task.New(task.Config{
			ApplicationID: "app", Subs: topo.Subtopologies(),
			Outbox: task.NewOutbox(task.OutboxConfig{Partitions: func(string) (int32, error) { return 1, nil }}),
			Tx:     state.NewTx(state.Config{Engine: e, Namespace: state.Namespace(0)}),
		})
		require.NoError(t, err)
		logs, err := tk.Stores.Changelogs()
		require.NoError(t, err)
		f, err = tk.NewFollower([]task.Followed{{Changelog: logs[0], End: end}})
		require.NoError(t, err)
		f.BytesMax = bytesMax
		return f.Logs()[0]
	}
	read := 0
	l := open()
	for kills := int64(1); !f.Done(); {
		at := int(l.Position) / perBatch
		to := min(at+1+r.IntN(4), len(log))
		require.NoError(t, f.Add(l, log[at:to], int64(to*perBatch)))
		read += (to - at) * perBatch
		require.LessOrEqual(t, f.Bytes(), bytesMax)
		if kills < 4 && l.Position >= end*kills/4 {
			kills++
			after := fs.CrashClone(vfs.CrashCloneCfg{})
			require.NoError(t, e.Close())
			fs = after
			l = open()
		}
	}
	require.LessOrEqual(t, read, int(end)*12/10)
	require.NoError(t, f.Save())
	require.Zero(t, f.Bytes())
	require.NoError(t, tk.Restored(nil))
	st, err := rows.Open(tk.Tx())
	require.NoError(t, err)
	got := map[string]string{}
	for e, err := range st.All() {
		require.NoError(t, err)
		got[e.Key] = e.Value
	}
	require.Equal(t, want, got)
	require.NoError(t, tk.Close())
	require.NoError(t, e.Close())
}

// A fetch answers with whole batches: what lies before the position, or at the end and beyond, is not counted.
func TestAFollowerCountsWhatTheStoreTakes(t *testing.T) {
	rows := state.NewKV[string, string]("rows")
	topo, err := topology.New(chain(source("s", "in"), process("p", processor{}, rows)))
	require.NoError(t, err)
	tk := (&rig{t: t}).bareFrom(topo, task.Config{})
	logs, err := tk.Stores.Changelogs()
	require.NoError(t, err)
	logs[0].Position = 3
	f, err := tk.NewFollower([]task.Followed{{Changelog: logs[0], End: task.Endless}})
	require.NoError(t, err)
	l := f.Logs()[0]
	require.NoError(t, f.Add(l, []batch.Batch{encode(t, 0, text{Key: "a", Value: "1"}, text{Key: "b", Value: "2"},
		text{Key: "c", Value: "3"}, text{Key: "d", Value: "4"}, text{Key: "e", Value: "5"})}, 5))
	require.EqualValues(t, 2, l.Records)
	require.EqualValues(t, 5, l.Position)
}

// A standby follows what has no end, and restoring goes on where it is.
func TestAStandbyBecomesActive(t *testing.T) {
	rows := state.NewKV[string, string]("rows")
	topo, err := topology.New(chain(source("s", "in"), process("p", processor{}, rows)))
	require.NoError(t, err)
	r := &rig{t: t}
	tk := r.bareFrom(topo, task.Config{})
	logs, err := tk.Stores.Changelogs()
	require.NoError(t, err)
	f, err := tk.NewFollower([]task.Followed{{Changelog: logs[0], End: task.Endless}})
	require.NoError(t, err)
	require.Equal(t, task.Standby, tk.State())
	l := f.Logs()[0]
	require.NoError(t, f.Add(l, []batch.Batch{encode(t, 0, text{Key: "a", Value: "1"})}, 5))
	require.NoError(t, f.Save())
	require.False(t, f.Done())
	require.Equal(t, task.Followed{Changelog: l.Changelog, End: task.Endless, Records: 1, Bytes: l.Bytes}, *l)
	at, known, err := tk.Tx().Position("rows")
	require.NoError(t, err)
	require.True(t, known)
	require.EqualValues(t, 5, at)

	f, err = tk.NewFollower([]task.Followed{{Changelog: l.Changelog, End: 6}})
	require.NoError(t, err)
	require.Equal(t, task.Restoring, tk.State())
	l = f.Logs()[0]
	require.EqualValues(t, 1, f.Left())
	require.NoError(t, f.Add(l, []batch.Batch{
		encode(t, 5, text{Key: "b", Value: "2"}), encode(t, 6, text{Key: "c", Value: "beyond the end"}),
	}, 7))
	require.True(t, f.Done())
	require.EqualValues(t, 6, l.Position)
	require.NoError(t, f.Restart(l, 2))
	require.EqualValues(t, 2, l.Position)
	require.NoError(t, f.Add(l, []batch.Batch{encode(t, 5, text{Key: "b", Value: "3"})}, 6))
	require.NoError(t, f.Save())
	require.NoError(t, tk.Restored(nil))
	st, err := rows.Open(tk.Tx())
	require.NoError(t, err)
	var got []string
	for e, err := range st.All() {
		require.NoError(t, err)
		got = append(got, e.Key+"="+e.Value)
	}
	require.Equal(t, []string{"b=3"}, got, "the restart emptied the store")
	require.NoError(t, tk.Close())
}
