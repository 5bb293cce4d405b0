package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/state/pebble"
)

// loadCase is a kind of store whose changelog goes to the engine past its tables.
type loadCase struct {
	name Store
	// record makes the changelog key of a random row, and the name that the row is found under.
	record func(r *rand.Rand) (key []byte, row string)
	// rows reads all that the store has.
	rows func(t *testing.T, tx *Tx) map[string]string
}

func loadCases() []loadCase {
	kv := NewKV[string, string]("kv")
	windows := NewWindowed[string, string]("windows").Retain(time.Hour)
	sessions := NewSession[string, string]("sessions").Retain(time.Hour)
	held := NewUnmatched[string, string]("held")
	open := func(t *testing.T, tx *Tx, name Session[string, string]) map[string]string {
		st, err := name.Open(tx)
		require.NoError(t, err)
		rows := map[string]string{}
		for e, err := range st.All(0, 1<<40) {
			require.NoError(t, err)
			rows[fmt.Sprint(e.Key, e.Start, e.End)] = e.Value
		}
		return rows
	}
	key := func(r *rand.Rand) string { return fmt.Sprintf("a-key-%d", r.IntN(100)) }
	return []loadCase{
		{kv, func(r *rand.Rand) ([]byte, string) {
			k := key(r)
			return []byte(k), k
		}, func(t *testing.T, tx *Tx) map[string]string {
			st, err := kv.Open(tx)
			require.NoError(t, err)
			rows := map[string]string{}
			for e, err := range st.All() {
				require.NoError(t, err)
				rows[e.Key] = e.Value
			}
			return rows
		}},
		{windows, func(r *rand.Rand) ([]byte, string) {
			k, start := key(r), int64(r.IntN(4)*700_000)
			b := binary.BigEndian.AppendUint64([]byte(k), uint64(start))
			return append(b, windowSequence...), fmt.Sprint(k, start)
		}, func(t *testing.T, tx *Tx) map[string]string {
			st, err := windows.Open(tx)
			require.NoError(t, err)
			rows := map[string]string{}
			for e, err := range st.All(0, 1<<40) {
				require.NoError(t, err)
				rows[fmt.Sprint(e.Key, e.Start)] = e.Value
			}
			return rows
		}},
		{sessions, func(r *rand.Rand) ([]byte, string) {
			k, start := key(r), int64(r.IntN(4)*700_000)
			b := binary.BigEndian.AppendUint64([]byte(k), uint64(start+9))
			return binary.BigEndian.AppendUint64(b, uint64(start)), fmt.Sprint(k, start, start+9)
		}, func(t *testing.T, tx *Tx) map[string]string { return open(t, tx, sessions) }},
		{held, func(r *rand.Rand) ([]byte, string) {
			k, at := key(r), int64(r.IntN(4)*700_000)
			return append(binary.BigEndian.AppendUint64(nil, uint64(at)), k...), fmt.Sprint(k, at, at)
		}, func(t *testing.T, tx *Tx) map[string]string { return open(t, tx, held) }},
	}
}

// What a restore reads goes to the engine past the tables. It is cut short by crashes, continues where the engine is,
// and nothing of it stays in memory; what the store then has is what its changelog says.
func TestRestoreGoesToTheEngineAndGoesOnAfterCrashes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, c := range loadCases() {
		t.Run(c.name.Name(), func(t *testing.T) { testLoad(t, c, rand.New(rand.NewPCG(seed, 3))) })
	}
}

func testLoad(t *testing.T, c loadCase, r *rand.Rand) {
	fs := vfs.NewCrashableMem()
	var e *pebble.Engine
	var tx *Tx
	open := func() {
		var err error
		e, err = pebble.Open("state", pebble.Options{FS: fs, MemtableBytes: 256 << 10})
		require.NoError(t, err)
		tx = NewTx(Config{Engine: e, Namespace: Namespace(1)})
		require.NoError(t, c.name.Prepare(tx))
	}
	open()
	want := map[string]string{}
	var log []changelogRow
	for range 6000 {
		key, row := c.record(r)
		value := bytes.Repeat([]byte{byte('a' + r.IntN(26))}, r.IntN(2000))
		if want[row] = string(value); r.IntN(10) == 0 {
			value = nil
			delete(want, row)
		}
		log = append(log, changelogRow{key: key, value: value, timestamp: int64(len(log))})
	}
	name, crashes, read, before := c.name.Name(), 0, 0, -1
	for at := 0; at < len(log); {
		to := min(at+1+r.IntN(2000), len(log)) // from below a batch to above a table
		for _, row := range log[at:to] {
			require.NoError(t, tx.Restore(name, row.key, row.value, row.timestamp))
			read++
		}
		require.Positive(t, tx.RestoringBytes())
		if r.IntN(5) > 0 {
			require.NoError(t, tx.RestoreDone(func(string) int64 { return int64(to) }))
			require.Zero(t, tx.RestoringBytes())
			require.True(t, tx.byName[name].untypedStore.(loadable).vacant(), "nothing stays in the tables")
			at = to
			continue
		}
		crashes++
		if r.IntN(2) == 0 { // what was there is not seen to go back
			require.NoError(t, e.Flush())
			before = at
		}
		after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
		require.NoError(t, e.Close())
		fs = after
		open()
		offset, _, err := tx.Position(name)
		require.NoError(t, err)
		require.GreaterOrEqual(t, int(offset), before)
		at = int(offset)
	}
	tx.RestoreEnd()
	require.Equal(t, want, c.rows(t, tx), "%d crashes, %d of %d records read", crashes, read, len(log))
	require.NoError(t, tx.Close())
	require.NoError(t, e.Close())
	open()
	require.Equal(t, want, c.rows(t, tx), "and after a restart")
	require.NoError(t, tx.Close())
	require.NoError(t, e.Close())
}

// A store that has rows in memory is restored through its tables: what they have must not be older than the engine.
func TestRestoreOfRowsInMemory(t *testing.T) {
	e, err := pebble.Open("state", pebble.Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	tx := NewTx(Config{Engine: e, Namespace: Namespace(1)})
	st, err := NewKV[string, string]("kv").Open(tx)
	require.NoError(t, err)
	_, _, ok, err := st.Get("k")
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, st.Put("k", "old", 1))
	commitAll(t, tx)
	require.NoError(t, tx.Restore("kv", []byte("k"), []byte("new"), 2))
	require.NoError(t, tx.RestoreDone(func(string) int64 { return 2 }))
	value, _, _, err := st.Get("k")
	require.NoError(t, err)
	require.Equal(t, "new", value)
	require.NoError(t, tx.Close())
	require.NoError(t, e.Close())
}
