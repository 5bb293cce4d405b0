package state_test

import (
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/state/memory"
)

// Each kind of store takes the settings that others take.
func TestSettingsOfStores(t *testing.T) {
	config := map[string]string{"segment.bytes": "1048576"}
	for name, s := range map[string][3]state.Store{
		"window": {
			state.NewWindowed[string, string]("s").Volatile(), state.NewWindowed[string, string]("s").InMemory(),
			state.NewWindowed[string, string]("s").Topic(config),
		},
		"session": {
			state.NewSession[string, string]("s").Volatile(), state.NewSession[string, string]("s").InMemory(),
			state.NewSession[string, string]("s").Topic(config),
		},
		"versioned": {
			state.NewVersioned[string, string]("s", time.Hour).Volatile(),
			state.NewVersioned[string, string]("s", time.Hour).InMemory(),
			state.NewVersioned[string, string]("s", time.Hour).Topic(config),
		},
	} {
		volatile, inMemory, topic := s[0].Spec(), s[1].Spec(), s[2].Spec()
		require.True(t, volatile.Volatile && !volatile.InMemory, name)
		require.True(t, inMemory.InMemory && !inMemory.Volatile, name)
		require.False(t, topic.InMemory || topic.Volatile, name)
		require.Equal(t, "1048576", topic.TopicConfig(nil)["segment.bytes"], name)
	}
}

// The serdes of a name are those of its rows in the changelog.
func TestSerdesOfStores(t *testing.T) {
	tx := state.NewTx(state.Config{Engine: memory.New(), Namespace: state.Namespace(0)})
	quoted := serde.JSON[string]()
	versioned, err := state.NewVersioned[string, string]("v", time.Hour).Keys(quoted).Values(quoted).Open(tx)
	require.NoError(t, err)
	windowed, err := state.NewWindowed[string, string]("w").Keys(quoted).Open(tx)
	require.NoError(t, err)
	_, _, err = versioned.Put("k", "row", 5)
	require.NoError(t, err)
	require.NoError(t, windowed.Put("k", 0, "row", 5))
	require.NoError(t, tx.Flush())
	rows := map[string][]string{}
	require.NoError(t, tx.Drain(func(s state.Store, key, value []byte, _ int64) error {
		rows[s.Name()] = append(rows[s.Name()], string(key), string(value))
		return nil
	}))
	require.Equal(t, []string{`"k"`, `"row"`}, rows["v"])
	require.Equal(t, `"k"`, rows["w"][0][:3])
	require.Equal(t, "row", rows["w"][1])
}

// Scans of everything go both ways.
func TestAllReverse(t *testing.T) {
	tx := state.NewTx(state.Config{Engine: memory.New(), Namespace: state.Namespace(0)})
	kv, err := state.NewKV[string, int64]("kv").Open(tx)
	require.NoError(t, err)
	windows, err := state.NewWindowed[string, int64]("windows").Open(tx)
	require.NoError(t, err)
	for i, key := range []string{"a", "b", "c"} {
		require.NoError(t, kv.Put(key, int64(i), 1))
		require.NoError(t, windows.Put(key, 10*int64(i), int64(i), 1))
	}
	require.Equal(t, []int64{2, 1, 0}, values(t, kv.AllReverse(), func(e state.Entry[string, int64]) int64 {
		return e.Value
	}))
	window := func(e state.WindowEntry[string, int64]) int64 { return e.Value }
	require.Equal(t, []int64{2, 1}, values(t, windows.AllReverse(10, 20), window))
	forth := values(t, windows.All(0, 20), window)
	slices.Reverse(forth)
	require.Equal(t, forth, values(t, windows.AllReverse(0, 20), window))
}

func values[E any](t *testing.T, seq iter.Seq2[E, error], of func(E) int64) (all []int64) {
	t.Helper()
	for e, err := range seq {
		require.NoError(t, err)
		all = append(all, of(e))
	}
	return all
}
