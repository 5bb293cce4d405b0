package state

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state/memory"
)

func openTestVersioned(t *testing.T, e *memory.Engine, history time.Duration) (*Tx, *VersionedStore[string, string]) {
	t.Helper()
	tx := NewTx(Config{Engine: e, Namespace: Namespace(0), CheckpointCommits: 2})
	st, err := NewVersioned[string, string]("versioned", history).Open(tx)
	require.NoError(t, err)
	return tx, st
}

// TestT36 holds the facts of semantics.md T-36: history 300,000 ms.
func TestT36(t *testing.T) {
	open := func() *VersionedStore[string, string] {
		_, st := openTestVersioned(t, memory.New(), 300*time.Second)
		return st
	}
	put := func(st *VersionedStore[string, string], key, value string, timestamp int64) (latest, accepted bool) {
		t.Helper()
		latest, accepted, err := st.Put(key, value, timestamp)
		require.NoError(t, err)
		return latest, accepted
	}
	asOf := func(st *VersionedStore[string, string], key string, at int64) string {
		t.Helper()
		value, timestamp, ok, err := st.GetAsOf(key, at)
		require.NoError(t, err)
		if !ok {
			return "-"
		}
		return fmt.Sprintf("%s@%d", value, timestamp)
	}
	t.Run("not put when expired", func(t *testing.T) {
		st := open()
		put(st, "k", "v", 300_010)
		latest, accepted := put(st, "k1", "v1", 10)
		require.True(t, latest && accepted, "the edge of grace")
		_, accepted = put(st, "k2", "v2", 9)
		require.False(t, accepted)
		require.Equal(t, "-", asOf(st, "k2", Latest))
	})
	t.Run("expired but latest", func(t *testing.T) {
		st := open()
		put(st, "k", "v", 1)
		put(st, "ko", "vo_old", 1)
		put(st, "ko", "vo", 300_012)
		require.Equal(t, "v@1", asOf(st, "k", 10))
		require.Equal(t, "-", asOf(st, "ko", 10))
	})
	t.Run("expired", func(t *testing.T) {
		st := open()
		put(st, "k", "v_old", 0)
		put(st, "k", "v", 99_990)
		require.Equal(t, "v_old@0", asOf(st, "k", 99_989))
		put(st, "ko", "x", 399_990)
		require.Equal(t, "-", asOf(st, "k", 99_989))
	})
	t.Run("same timestamp", func(t *testing.T) {
		st := open()
		put(st, "k", "v1", 5)
		latest, _ := put(st, "k", "v2", 5)
		require.True(t, latest)
		require.Equal(t, "v2@5", asOf(st, "k", Latest))
		for range 2 {
			_, accepted, err := st.Delete("k", 5)
			require.NoError(t, err)
			require.True(t, accepted)
			require.Equal(t, "-", asOf(st, "k", Latest))
		}
	})
	t.Run("delete", func(t *testing.T) {
		st := open()
		put(st, "k", "vp20", 100_020)
		latest, _ := put(st, "k", "vp10", 100_010)
		require.False(t, latest)
		put(st, "k", "vn10", 99_990)
		put(st, "k", "vn2", 99_998)
		require.Equal(t, "vn10@99990", asOf(st, "k", 99_995))
		_, _, err := st.Delete("k", 99_995)
		require.NoError(t, err)
		require.Equal(t, "-", asOf(st, "k", 99_996))
		require.Equal(t, "vn2@99998", asOf(st, "k", 99_999))
		require.Equal(t, "vp10@100010", asOf(st, "k", 100_010))
		latest, _, err = st.Delete("k", 100_025)
		require.NoError(t, err)
		require.True(t, latest)
		require.Equal(t, "-", asOf(st, "k", Latest))
		require.Equal(t, "vp20@100020", asOf(st, "k", 100_024))
		v, found, err := st.Version("k", 100_024)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, Version[string]{Value: "vp20", Exists: true, From: 100_020, To: 100_025}, v)
		v, found, err = st.Version("k", Latest)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, Version[string]{From: 100_025, To: Latest}, v)
	})
}

type versionKey struct {
	key       string
	timestamp int64
}

func TestVersionedEqualsModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 11))
	const retained = 1000
	e := memory.New()
	tx, st := openTestVersioned(t, e, retained*time.Millisecond)
	now, committed := map[versionKey]string{}, map[versionKey]string{} // "" is a tombstone
	streamTime, committedTime := int64(-1), int64(-1)
	type record struct {
		key, value string
		null       bool
		timestamp  int64
	}
	var log []record
	var drained map[versionKey]string // what was drained and is not committed yet; nil: nothing
	drainedTime, committedLog := int64(-1), 0
	endCommit := func() {
		if drained != nil {
			require.NoError(t, tx.Commit(func(string) int64 { return int64(len(log)) }))
			committed, committedTime, committedLog, drained = drained, drainedTime, len(log), nil
		}
	}
	back := func() {
		drained, log = nil, log[:committedLog]
		now, streamTime = maps.Clone(committed), committedTime
	}
	for range 8_000 {
		key := fmt.Sprintf("k%d", r.IntN(12))
		at := max(0, streamTime-1100+r.Int64N(1200))
		switch n := r.IntN(100); {
		case n < 50:
			value := fmt.Sprint("v", r.IntN(100))
			var accepted bool
			var err error
			if r.IntN(4) == 0 {
				value = ""
				_, accepted, err = st.Delete(key, at)
			} else {
				_, accepted, err = st.Put(key, value, at)
			}
			require.NoError(t, err)
			require.Equal(t, streamTime < 0 || at >= streamTime-retained, accepted)
			if accepted {
				now[versionKey{key, at}] = value
				streamTime = max(streamTime, at)
			}
		case n < 90:
			var want versionKey
			latest := versionKey{timestamp: -1}
			want.timestamp = -1
			for v := range now {
				if v.key == key && v.timestamp <= at && v.timestamp > want.timestamp {
					want = v
				}
				if v.key == key && v.timestamp > latest.timestamp {
					latest = v
				}
			}
			value, timestamp, ok, err := st.GetAsOf(key, at)
			require.NoError(t, err)
			has := want.timestamp >= 0 && now[want] != "" && (at >= streamTime-retained || want == latest)
			require.Equal(t, has, ok)
			if ok {
				require.Equal(t, now[want], value)
				require.Equal(t, want.timestamp, timestamp)
			}
		case n < 95:
			endCommit()
			require.NoError(t, tx.Flush())
			require.NoError(t, tx.Drain(func(_ Store, key, value []byte, timestamp int64) error {
				log = append(log, record{string(key), string(value), value == nil, timestamp})
				return nil
			}))
			drained, drainedTime = maps.Clone(now), streamTime
			if r.IntN(2) == 0 {
				endCommit()
			}
		case n < 96:
			require.NoError(t, tx.Checkpoint())
		case n < 97:
			require.NoError(t, tx.Relieve())
		case n < 98:
			require.NoError(t, tx.Discard())
			back()
		case n < 99:
			require.NoError(t, tx.Close())
			e = e.Restart()
			tx, st = openTestVersioned(t, e, retained*time.Millisecond)
			back()
		default: // all from the changelog
			require.NoError(t, tx.Close())
			e = memory.New()
			tx, st = openTestVersioned(t, e, retained*time.Millisecond)
			back()
			for _, c := range slices.Clone(log) {
				value := []byte(c.value)
				if c.null {
					value = nil
				}
				require.NoError(t, tx.Restore("versioned", []byte(c.key), value, c.timestamp))
			}
			require.NoError(t, tx.RestoreDone(func(string) int64 { return int64(len(log)) }))
		}
	}
}
