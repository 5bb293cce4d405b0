package state

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/state/memory"
)

func commitAll(t *testing.T, tx *Tx) {
	t.Helper()
	require.NoError(t, tx.Flush())
	require.NoError(t, tx.Drain(drainNothing))
	require.NoError(t, tx.Commit(nil))
}

// TestArenaGivesMemoryBack overwrites values for long: what is dead is given up, and views that somebody kept stay as
// they were.
func TestArenaGivesMemoryBack(t *testing.T) {
	const keys, size = 2000, 500
	tx := NewTx(Config{})
	st, err := NewKV[string, string]("rows").Open(tx)
	require.NoError(t, err)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 41))
	want, kept := map[string]string{}, map[string]string{}
	for round := range 60 {
		for range keys / 2 {
			n := r.IntN(keys)
			if r.IntN(10) > 0 {
				n = r.IntN(keys / 10) // most keys are overwritten rarely: their chunks must be evacuated
			}
			key := fmt.Sprintf("key-%d", n)
			value := strings.Repeat(string(rune('a'+round%26)), size)
			require.NoError(t, st.Put(key, value, 1))
			want[key] = value
			if r.IntN(20) == 0 {
				if kept[key], _, _, err = st.Get(key); err != nil {
					t.Fatal(err)
				}
			}
		}
		if r.IntN(10) == 0 {
			continue
		}
		commitAll(t, tx)
	}
	commitAll(t, tx)
	for key, value := range want {
		got, _, ok, err := st.Get(key)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, value, got)
	}
	for key, value := range kept {
		require.Equal(t, strings.Repeat(value[:1], size), value, key)
	}
	require.Less(t, st.cache.boxed.total, int64(3*keys*size), "dead values are given up")
}

// TestValuesWithoutBytes keeps values that take no memory: a set of keys.
func TestValuesWithoutBytes(t *testing.T) {
	tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0)})
	st, err := NewKV[string, struct{}]("set").Open(tx)
	require.NoError(t, err)
	require.NoError(t, st.Put("a", struct{}{}, 1))
	require.NoError(t, st.Put("b", struct{}{}, 2))
	commitAll(t, tx)
	require.NoError(t, st.Delete("a", 3))
	require.NoError(t, st.Put("c", struct{}{}, 4))
	require.NoError(t, tx.Discard())
	require.NoError(t, st.Delete("b", 5))
	commitAll(t, tx)
	var keys []string
	for e, err := range st.All() {
		require.NoError(t, err)
		keys = append(keys, e.Key)
	}
	require.Equal(t, []string{"a"}, keys)
}

// TestBudgetBoundsMemory lets two tasks share a budget that holds a part of their rows.
func TestBudgetBoundsMemory(t *testing.T) {
	const rows = 60_000
	budget := NewBudget(4 << 20)
	e := memory.New()
	var txs []*Tx
	var stores []*KVStore[string, int64]
	for partition := range int32(2) {
		tx := NewTx(Config{Engine: e, Namespace: Namespace(partition), Budget: budget, CheckpointCommits: -1})
		st, err := NewKV[string, int64]("rows").Open(tx)
		require.NoError(t, err)
		txs, stores = append(txs, tx), append(stores, st)
	}
	early := 0
	for i := range rows {
		for p, st := range stores {
			require.NoError(t, st.Put(fmt.Sprintf("key-%012d", i), int64(i), 1))
			if txs[p].CacheFull() {
				early++
				commitAll(t, txs[p])
				require.False(t, txs[p].CacheFull())
			}
		}
	}
	require.Positive(t, early, "a full cache asks for a commit")
	for _, tx := range txs {
		commitAll(t, tx)
	}
	require.Less(t, budget.UsedBytes(), budget.BytesMax()*3/2)
	for _, st := range stores {
		for i := 0; i < rows; i += 97 {
			value, _, ok, err := st.Get(fmt.Sprintf("key-%012d", i))
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, int64(i), value)
		}
	}
	require.Less(t, budget.UsedBytes(), budget.BytesMax()*3/2, "reading evicts, too")
	for _, tx := range txs {
		require.NoError(t, tx.Close())
	}
	require.Zero(t, budget.UsedBytes())
}

// TestObjectsAreNotTrustedAfterDiscard changes a value in place, as an aggregator may, and discards.
func TestObjectsAreNotTrustedAfterDiscard(t *testing.T) {
	tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0), CheckpointCommits: -1})
	st, err := NewKV[string, map[string]int]("maps").Open(tx)
	require.NoError(t, err)
	var olds []map[string]int
	st.OnFlush(1, true, func(f *Flushed[string, map[string]int]) error {
		olds = append(olds, f.Old)
		return nil
	})
	add := func(word string) {
		m, _, ok, err := st.Get("k")
		require.NoError(t, err)
		if !ok {
			m = map[string]int{}
		}
		m[word]++
		require.NoError(t, st.Put("k", m, 1))
	}
	get := func() map[string]int {
		m, _, _, err := st.Get("k")
		require.NoError(t, err)
		return m
	}
	add("a")
	commitAll(t, tx)
	add("a")
	require.NoError(t, tx.Flush())
	add("b") // in place, after a flush
	require.NoError(t, tx.Flush())
	require.Equal(t, []map[string]int{nil, {"a": 1}, {"a": 2}}, olds, "old values are values of their own")
	require.NoError(t, tx.Discard())
	require.Equal(t, map[string]int{"a": 1}, get())
	get()["x"] = 1 // never put back
	require.NoError(t, tx.Discard())
	require.Equal(t, map[string]int{"a": 1}, get())
	add("c")
	require.NoError(t, tx.Flush())
	require.NoError(t, tx.Drain(drainNothing))
	add("lost") // belongs to the next commit
	require.NoError(t, tx.Commit(nil))
	require.NoError(t, tx.Checkpoint())
	require.NoError(t, tx.Discard())
	require.Equal(t, map[string]int{"a": 1, "c": 1}, get())
	require.NoError(t, tx.Close())
	tx = NewTx(tx.config)
	st, err = NewKV[string, map[string]int]("maps").Open(tx)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"a": 1, "c": 1}, get())
}

func TestTxFlushesUpstreamFirstUntilNothingChanges(t *testing.T) {
	tx := NewTx(Config{})
	down, err := NewKV[string, int64]("down").Open(tx)
	require.NoError(t, err)
	up, err := NewKV[string, int64]("up").Open(tx)
	require.NoError(t, err)
	var order []string
	down.OnFlush(2, false, func(f *Flushed[string, int64]) error {
		order = append(order, fmt.Sprint("down ", f.Key, f.New))
		return nil
	})
	up.OnFlush(1, false, func(f *Flushed[string, int64]) error {
		order = append(order, fmt.Sprint("up ", f.Key, f.New))
		return down.Put(f.Key, f.New*10, f.Timestamp)
	})
	require.NoError(t, down.Put("x", 1, 1))
	require.NoError(t, up.Put("a", 1, 1))
	require.NoError(t, up.Put("b", 2, 1))
	require.NoError(t, up.Put("a", 3, 1))
	require.ErrorContains(t, tx.Drain(drainNothing), "before it was flushed")
	require.NoError(t, tx.Flush())
	require.Equal(t, []string{"up b2", "up a3", "down x1", "down b20", "down a30"}, order)
	require.NoError(t, tx.Discard())
	tx.Unlisten()
	require.NoError(t, up.Put("a", 1, 1))
	commitAll(t, tx)
	require.Len(t, order, 5)
	require.Len(t, tx.Stores(), 2)
}

func TestNamesSayWhatIsWrong(t *testing.T) {
	tx := NewTx(Config{})
	_, err := NewKV[string, int64]("").Open(tx)
	require.ErrorContains(t, err, "name is empty")
	_, err = NewKV[string, int64]("a/b").Open(tx)
	require.ErrorContains(t, err, "letters, digits")
	_, err = NewKV[string, chan int]("channels").Open(tx)
	require.ErrorContains(t, err, "channels")
	_, err = NewKV[string, int64]("one").Open(tx)
	require.NoError(t, err)
	_, err = NewKV[string, string]("one").Open(tx)
	require.ErrorContains(t, err, "opened as *state.KVStore[string,string], but before as *state.KVStore[string,int64]")
	require.ErrorContains(t, tx.Restore("two", nil, nil, 0), "not open")
	require.ErrorContains(t, tx.Restore("one", []byte("k"), []byte("short"), 0), "was its serde changed?")
}

func TestConflictSeesNamesInAnyStore(t *testing.T) {
	type wrapper struct{ KV[string, string] }
	plain := NewKV[string, string]("rows")
	text, quoted := plain.Values(serde.String{}), plain.Values(serde.JSON[string]())
	for _, s := range []Store{text, wrapper{text}, &wrapper{text}} {
		require.ErrorContains(t, Conflict(s, quoted), "its values are ")
		require.ErrorContains(t, Conflict(quoted, s), "its values are ")
		require.NoError(t, Conflict(s, text))
		require.NoError(t, Conflict(s, plain))
		require.Equal(t, s, Fuller(plain, s))
		require.Equal(t, s, Fuller(s, plain))
	}
	require.NoError(t, Conflict(KV[string, string]{}, quoted), "the zero name says nothing")
}

func TestTopicConfig(t *testing.T) {
	name := NewWindowed[string, int64]("w").Retain(time.Hour).Topic(map[string]string{"segment.ms": "5"})
	require.Equal(t, map[string]string{
		"cleanup.policy": "compact,delete", "retention.ms": "-1", "retention.bytes": "-1", "segment.ms": "5",
		"segment.bytes": "33554432", "min.cleanable.dirty.ratio": "0.25",
		"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": "9223372036854775807",
		"message.timestamp.before.max.ms": "9223372036854775807",
	}, name.Spec().TopicConfig(nil))
	require.Equal(t, "app-w-changelog", name.Spec().ChangelogTopic("app"))
	require.Equal(t, "compact", NewKV[string, int64]("k").Spec().TopicConfig(nil)["cleanup.policy"])
}

// What a changelog needs is not to be taken from it: the settings of all topics are left out where they would, and the
// store's own are refused.
func TestTopicConfigKeepsWhatTheStoreNeeds(t *testing.T) {
	all := map[string]string{
		"retention.ms": "60000", "retention.bytes": "1000", "cleanup.policy": "delete", "min.compaction.lag.ms": "1",
		"message.timestamp.type": "LogAppendTime", "message.timestamp.after.max.ms": "1000", "segment.ms": "5",
	}
	window := NewWindowed[string, int64]("w").Retain(time.Hour)
	versioned := NewVersioned[string, int64]("v", time.Hour)
	for _, s := range []Spec{window.Spec(), versioned.Spec(), NewKV[string, int64]("k").Spec()} {
		config, needed := s.TopicConfig(all), s.needed()
		require.Equal(t, "5", config["segment.ms"])
		for key, value := range needed {
			require.Equal(t, value, config[key], "%s of %s", key, s.Name)
		}
	}
	for key, value := range all {
		err := window.Topic(map[string]string{key: value}).Check()
		if key == "segment.ms" || key == "min.compaction.lag.ms" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, `store "w": changelog: `+key+" is "+value+", the store needs ")
	}
	for key, value := range map[string]string{"retention.ms": "-1", "cleanup.policy": "compact"} {
		require.NoError(t, window.Topic(map[string]string{key: value}).Check())
	}
	require.NoError(t, window.Topic(map[string]string{"retention.ms": "90000001"}).Check())
	require.ErrorContains(t, versioned.Topic(map[string]string{"min.compaction.lag.ms": "1"}).Check(), "at least")
	kv := NewKV[string, int64]("k").Topic(map[string]string{"cleanup.policy": "compact,delete"})
	require.ErrorContains(t, kv.Check(), "the store needs compact")
}
