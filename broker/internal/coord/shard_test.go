package coord_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/log"
)

// table is the simplest machine: keys and values, some of which belong to transactions.
type table struct {
	values  map[string]string
	pending map[int64]map[string]string
	timers  coord.Timers[string]
}

func newTable() *table {
	return &table{values: map[string]string{}, pending: map[int64]map[string]string{}}
}

func (m *table) Replay(r coord.Record, p *coord.Producer, _ time.Time) error {
	switch {
	case p != nil:
		if m.pending[p.ID] == nil {
			m.pending[p.ID] = map[string]string{}
		}
		m.pending[p.ID][string(r.Key)] = string(r.Value)
	case r.Value == nil:
		delete(m.values, string(r.Key))
	default:
		m.values[string(r.Key)] = string(r.Value)
	}
	return nil
}

func (m *table) ReplayMarker(p coord.Producer, commit bool) {
	if commit {
		maps.Copy(m.values, m.pending[p.ID])
	}
	delete(m.pending, p.ID)
}

func (m *table) Snapshot(emit func(coord.Record)) {
	for k, v := range m.values {
		emit(coord.Record{Key: []byte(k), Value: []byte(v)})
	}
}

func (m *table) Deadline() time.Time { return m.timers.Deadline() }

func (m *table) Tick(now time.Time) (step coord.Step) {
	for {
		key, ok := m.timers.Pop(now)
		if !ok {
			return step
		}
		step.Put([]byte(key), nil)
	}
}

type rig struct {
	t      *testing.T
	fs     vfs.FS
	syncer *log.Syncer
	log    *log.Log
	table  *table
	shard  *coord.Shard
}

func open(t *testing.T, fs vfs.FS) *rig {
	t.Helper()
	r := &rig{t: t, fs: fs, table: newTable(), syncer: log.NewSyncer(log.SyncerOptions{})}
	require.NoError(t, fs.MkdirAll("d", 0o755))
	var err error
	r.log, err = log.Open(log.Options{
		FS: fs, Dir: "d/coord-0", Topic: "coord", Now: time.Now, Syncer: r.syncer,
		Config: log.Config{SegmentBytes: 1 << 20},
	})
	require.NoError(t, err)
	r.shard, err = coord.Open(coord.Config{
		Machine: r.table, Log: r.log, Now: time.Now, Complain: func(string, error) {}, SnapshotBytes: 64 << 10,
		AfterFunc: func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop },
	})
	require.NoError(t, err)
	return r
}

func (r *rig) close() {
	r.t.Helper()
	r.shard.Close()
	require.NoError(r.t, r.log.Close())
	r.syncer.Close()
}

func (r *rig) put(p *coord.Producer, key, value string) {
	r.t.Helper()
	lsn, err := r.shard.Do(func(time.Time) (step coord.Step) {
		step.Put([]byte(key), []byte(value))
		step.Producer = p
		return step
	})
	require.NoError(r.t, err)
	require.NoError(r.t, r.shard.Wait(context.Background(), lsn))
}

// Whatever happens, replaying the log gives the state that the live machine had; and snapshots keep the log short.
func TestReplayGivesTheSameState(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	fs := vfs.NewMem()
	r := open(t, fs)
	padding := strings.Repeat("x", 500)
	running := map[int64]bool{}
	for i := range 8000 {
		key := fmt.Sprint(rnd.IntN(50))
		producer := coord.Producer{ID: int64(rnd.IntN(3))}
		switch rnd.IntN(10) {
		case 0:
			r.put(&producer, key, fmt.Sprint(i, padding))
			running[producer.ID] = true
		case 1:
			_, err := r.shard.Marker(log.Marker{ProducerID: producer.ID, Commit: rnd.IntN(2) == 0})
			require.NoError(t, err)
			delete(running, producer.ID)
		default:
			r.put(nil, key, fmt.Sprint(i, padding))
		}
		if rnd.IntN(500) == 0 {
			values, pending := r.table.values, r.table.pending
			r.close()
			r = open(t, fs)
			require.True(t, maps.Equal(values, r.table.values), "after %d steps", i)
			require.Equal(t, len(pending), len(r.table.pending))
			for id := range pending {
				require.True(t, maps.Equal(pending[id], r.table.pending[id]), "after %d steps", i)
			}
		}
	}
	for id := range running {
		_, err := r.shard.Marker(log.Marker{ProducerID: id})
		require.NoError(t, err)
	}
	for range 300 { // nothing is open any more: the log is cut down
		r.put(nil, "k", padding)
	}
	values := r.table.values
	r.close()
	r = open(t, fs)
	require.True(t, maps.Equal(values, r.table.values))
	require.Less(t, r.log.End()-r.log.Start(), int64(1000), "of more than 5000 records")
	r.close()
}

func TestTimersGiveRecords(t *testing.T) {
	r := open(t, vfs.NewMem())
	r.put(nil, "short-lived", "v")
	_, err := r.shard.Do(func(now time.Time) (step coord.Step) {
		r.table.timers.Set("short-lived", now.Add(time.Millisecond))
		return step
	})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		gone := false
		r.shard.View(func(time.Time) { _, there := r.table.values["short-lived"]; gone = !there })
		return gone
	}, time.Minute, time.Millisecond)
	r.close()
}

func TestRefusedRecordsChangeNothing(t *testing.T) {
	var full atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && (op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileWriteAt) {
			return errors.New("full")
		}
		return nil
	}))
	r := open(t, fs)
	r.put(nil, "k", "before")
	full.Store(true)
	var told error
	_, err := r.shard.Do(func(time.Time) (step coord.Step) {
		step.Put([]byte("k"), []byte("after"))
		step.Reply(func(err error) { told = err })
		return step
	})
	require.Error(t, err)
	require.ErrorIs(t, told, err)
	require.Equal(t, "before", r.table.values["k"])
	full.Store(false)
	r.shard.Close()
	_, err = r.shard.Do(func(time.Time) (step coord.Step) { return step })
	require.ErrorIs(t, err, coord.ErrClosed)
}
