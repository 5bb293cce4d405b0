package state

import (
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state/memory"
)

// expiring is a store of moments with the values that it has.
type expiring struct {
	name Store
	open func(t *testing.T, tx *Tx) (put func(at int64), have func() []int64)
}

func times[E any](t *testing.T, all iter.Seq2[E, error], of func(E) int64) []int64 {
	found := []int64{}
	for e, err := range all {
		require.NoError(t, err)
		found = append(found, of(e))
	}
	return found
}

const expiryKept = 10 * time.Second

var expirings = []expiring{
	{NewWindowed[string, string]("s").Retain(expiryKept), func(t *testing.T, tx *Tx) (func(int64), func() []int64) {
		st, err := NewWindowed[string, string]("s").Retain(expiryKept).Open(tx)
		require.NoError(t, err)
		return func(at int64) { require.NoError(t, st.Put("key", at, "v", at)) }, func() []int64 {
			all := times(t, st.All(0, Latest-1), func(e WindowEntry[string, string]) int64 { return e.Start })
			require.Equal(t, all, times(t, st.Fetch("key", 0, Latest-1), func(e WindowEntry[string, string]) int64 {
				_, _, found, err := st.Get("key", e.Start)
				require.NoError(t, err)
				require.True(t, found)
				return e.Start
			}))
			return all
		}
	}},
	{NewSession[string, string]("s").Retain(expiryKept), func(t *testing.T, tx *Tx) (func(int64), func() []int64) {
		st, err := NewSession[string, string]("s").Retain(expiryKept).Open(tx)
		require.NoError(t, err)
		return func(at int64) { require.NoError(t, st.Put("key", at, at, "v")) }, func() []int64 {
			all := times(t, st.All(0, Latest-1), func(e SessionEntry[string, string]) int64 { return e.End })
			found, err := st.Find("key", 0, Latest)
			require.NoError(t, err)
			require.Len(t, found, len(all))
			return all
		}
	}},
	{NewBuffer[string, string]("s").Retain(expiryKept), func(t *testing.T, tx *Tx) (func(int64), func() []int64) {
		st, err := NewBuffer[string, string]("s").Retain(expiryKept).Open(tx)
		require.NoError(t, err)
		return func(at int64) { require.NoError(t, st.Add("key", "v", at)) }, func() []int64 {
			found, err := st.Fetch("key", 0, Latest-1)
			require.NoError(t, err)
			all := []int64{}
			for _, e := range found {
				all = append(all, e.Timestamp)
			}
			return all
		}
	}},
}

// What nobody expires goes by itself, counted from the newest time that was written, and stays gone: after an abort, a
// restart, and when the changelog brings it back.
func TestStoresExpireByThemselves(t *testing.T) {
	for _, x := range expirings {
		t.Run(x.name.Spec().Kind.String(), func(t *testing.T) {
			engine := memory.New()
			tx := NewTx(Config{Engine: engine, Namespace: Namespace(0), CheckpointCommits: 1})
			put, have := x.open(t, tx)
			log, offset := []changelogRow{}, int64(0)
			commit := func() {
				t.Helper()
				require.NoError(t, tx.Drain(func(_ Store, key, value []byte, timestamp int64) error {
					log = append(log, changelogRow{"s", append([]byte{}, key...), append([]byte{}, value...), timestamp})
					offset++
					return nil
				}))
				require.NoError(t, tx.Commit(func(string) int64 { return offset }))
			}
			for i := range int64(5) {
				put(i * 100_000)
			}
			require.Equal(t, []int64{400_000}, have())
			put(390_000)
			require.Equal(t, []int64{400_000}, have(), "as old as that is not taken")
			put(390_001)
			require.Equal(t, []int64{390_001, 400_000}, have())
			commit()

			put(500_000)
			require.Equal(t, []int64{500_000}, have())
			require.NoError(t, tx.Discard())
			require.Equal(t, []int64{390_001, 400_000}, have())
			put(400_500)
			commit()
			require.Equal(t, []int64{400_000, 400_500}, have())

			require.NoError(t, tx.Close())
			engine = engine.Restart()
			tx = NewTx(Config{Engine: engine, Namespace: Namespace(0), CheckpointCommits: 1})
			_, have = x.open(t, tx)
			require.Equal(t, []int64{400_000, 400_500}, have(), "the engine knows the newest time")
			require.NoError(t, tx.Close())

			tx = NewTx(Config{Engine: memory.New(), Namespace: Namespace(0)})
			put, have = x.open(t, tx)
			for _, l := range log {
				require.NoError(t, tx.Restore(l.store, l.key, l.value, l.timestamp))
			}
			require.NoError(t, tx.RestoreDone(func(string) int64 { return offset }))
			require.NoError(t, tx.Discard())
			require.Equal(t, []int64{400_000, 400_500}, have(), "and so does the changelog")
			put(900_000)
			require.NoError(t, tx.Drain(drainNothing))
			require.NoError(t, tx.Commit(func(string) int64 { return offset + 1 }))
			require.NoError(t, tx.Checkpoint())
			it, err := tx.config.Engine.Iterate(nil, nil)
			require.NoError(t, err)
			rows := 0
			for ok := it.First(); ok; ok = it.Next() {
				rows++
			}
			require.Equal(t, 3, rows, "the row, the position, and the length of segments")
			require.NoError(t, it.Close())
		})
	}
}

// A copy that is followed gives up what is far behind, and nothing that an operator may have to report yet.
func TestCopiesExpire(t *testing.T) {
	name := NewWindowed[string, string]("s").Retain(expiryKept)
	engine := memory.New()
	tx := NewTx(Config{Engine: engine, Namespace: Namespace(0)})
	require.NoError(t, name.Prepare(tx))
	st, err := name.Open(tx)
	require.NoError(t, err)
	kept := expiryKept.Milliseconds()
	for i := range int64(20) {
		key := append([]byte(nil), st.segments.windowKey([]byte("key"), i*kept)...)
		require.NoError(t, tx.Restore("s", append(key, windowSequence...), []byte(fmt.Sprint(i)), 0))
		tx.RestoreGiveUp()
		require.NoError(t, tx.RestoreDone(func(string) int64 { return i + 1 }))
	}
	require.NoError(t, tx.Close())
	tx = NewTx(Config{Engine: engine, Namespace: Namespace(0)})
	st, err = name.Open(tx)
	require.NoError(t, err)
	st.KeepUntilExpired()
	start := func(e WindowEntry[string, string]) int64 { return e.Start / kept }
	have := times(t, st.All(0, Latest-1), start)
	require.Subset(t, have, []int64{17, 18, 19})
	require.LessOrEqual(t, len(have), 5)
}

// The caller of KeepUntilExpired decides what is given up, also of what a restore brought before.
func TestStoresKeepUntilExpired(t *testing.T) {
	name := NewWindowed[string, string]("s").Retain(expiryKept)
	tx := NewTx(Config{})
	require.NoError(t, name.Prepare(tx))
	for i := range uint64(3) {
		st, err := name.Open(tx)
		require.NoError(t, err)
		key := append([]byte(nil), st.segments.windowKey([]byte("key"), int64(i)*100_000)...)
		require.NoError(t, tx.Restore("s", append(key, windowSequence...), []byte(fmt.Sprint(i)), 0))
	}
	require.NoError(t, tx.RestoreDone(nil))
	st, err := name.Open(tx)
	require.NoError(t, err)
	st.KeepUntilExpired()
	require.NoError(t, st.Put("key", 300_000, "v", 0))
	start := func(e WindowEntry[string, string]) int64 { return e.Start }
	require.Equal(t, []int64{0, 100_000, 200_000, 300_000}, times(t, st.All(0, Latest-1), start))
	st.Expire(100_001)
	require.Equal(t, []int64{200_000, 300_000}, times(t, st.All(0, Latest-1), start))
}

// A store that keeps everything has a changelog that does, and one that keeps nothing is refused.
func TestRetentions(t *testing.T) {
	require.Equal(t, "compact", NewWindowed[string, string]("w").Spec().TopicConfig(nil)[cleanupPolicy])
	require.Equal(t, "compact", NewSession[string, string]("s").Spec().TopicConfig(nil)[cleanupPolicy])
	forever := NewBuffer[string, string]("b").Spec().TopicConfig(map[string]string{retentionMS: "1000"})
	require.Equal(t, "-1", forever[retentionMS])
	require.Equal(t, "delete", forever[cleanupPolicy])
	require.ErrorContains(t, NewWindowed[string, string]("w").Retain(-1).Check(),
		`store "w" keeps -1ns: it needs a millisecond at least, or leave Retain out`)
	require.ErrorContains(t, NewSession[string, string]("s").Retain(1).Check(), `store "s" keeps 1ns`)
	require.ErrorContains(t, NewVersioned[string, string]("v", 0).Check(), `store "v" remembers 0s`)
}

// A store of an earlier build, whose engine does not say the newest time, takes it from its newest segment.
func TestNewestTimeOfAnEarlierBuild(t *testing.T) {
	engine := memory.New()
	tx := NewTx(Config{Engine: engine, Namespace: Namespace(0), CheckpointCommits: 1})
	st, err := NewWindowed[string, string]("s").Retain(expiryKept).Open(tx)
	require.NoError(t, err)
	st.KeepUntilExpired()
	for i := range int64(5) {
		require.NoError(t, st.Put("key", i*100_000, "v", 0))
	}
	require.NoError(t, tx.Drain(drainNothing))
	require.NoError(t, tx.Commit(func(string) int64 { return 5 }))
	row := st.segments.base.segmentsRow()
	require.NoError(t, tx.Close())
	batch := engine.NewBatch(0)
	require.NoError(t, batch.Set(row, []byte{0, 0, 0, 0, 0, 0, 0x0d, 0x05}))
	require.NoError(t, batch.Commit())

	tx = NewTx(Config{Engine: engine.Restart(), Namespace: Namespace(0)})
	st, err = NewWindowed[string, string]("s").Retain(expiryKept).Open(tx)
	require.NoError(t, err)
	start := func(e WindowEntry[string, string]) int64 { return e.Start }
	require.Equal(t, []int64{400_000}, times(t, st.All(0, Latest-1), start))
}

// The versions that a key no longer has by its history are not found, although the key was not written since.
func TestEarliestKnowsTheHistory(t *testing.T) {
	_, st := openTestVersioned(t, memory.New(), expiryKept)
	for _, at := range []int64{0, 1000, 2000} {
		_, _, err := st.Put("key", fmt.Sprint(at), at)
		require.NoError(t, err)
	}
	_, _, err := st.Put("other", "v", 11_500)
	require.NoError(t, err)
	value, at, ok, err := st.Earliest("key", 0, 5000)
	require.NoError(t, err)
	require.Equal(t, []any{"1000", int64(1000), true}, []any{value, at, ok})
}
