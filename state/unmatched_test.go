package state

import (
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state/memory"
)

// In the changelog the time of an unmatched record comes before its key, as in Kafka Streams.
func TestHeldRecordsComeBack(t *testing.T) {
	name := NewUnmatched[string, string]("held")
	require.Equal(t, "compact", name.Spec().TopicConfig(nil)["cleanup.policy"])
	open := func() (*Tx, *SessionStore[string, string]) {
		tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0)})
		st, err := name.Open(tx)
		require.NoError(t, err)
		return tx, st
	}
	type logged struct {
		key, value string
		timestamp  int64
	}
	var log []logged
	tx, st := open()
	commit := func() {
		require.NoError(t, tx.Drain(func(_ Store, key, value []byte, timestamp int64) error {
			log = append(log, logged{string(key), string(value), timestamp})
			return nil
		}))
		require.NoError(t, tx.Commit(nil))
	}
	require.NoError(t, st.Put("left", 258, 258, "v"))
	require.NoError(t, st.Put("right", 3, 3, "w"))
	require.Error(t, st.Put("right", 3, 4, "w"), "no moment")
	commit()
	require.NoError(t, st.Remove("right", 3, 3))
	commit()
	require.Equal(t, []logged{
		{"\x00\x00\x00\x00\x00\x00\x01\x02left", "v", 258},
		{"\x00\x00\x00\x00\x00\x00\x00\x03right", "w", 3},
		{"\x00\x00\x00\x00\x00\x00\x00\x03right", "", 3},
	}, log)

	tx, st = open()
	for _, l := range log {
		value := []byte(l.value)
		if l.value == "" {
			value = nil
		}
		require.NoError(t, tx.Restore("held", []byte(l.key), value, l.timestamp+1000))
	}
	require.ErrorContains(t, tx.Restore("held", []byte("short"), nil, 0), `store "held": changelog key of 5 bytes`)
	require.NoError(t, tx.RestoreDone(nil))
	var found []SessionEntry[string, string]
	for e, err := range st.All(0, 1000) {
		require.NoError(t, err)
		found = append(found, e)
	}
	require.Equal(t, []SessionEntry[string, string]{{Key: "left", Start: 258, End: 258, Value: "v"}}, found)
	value, ok, err := st.Get("left", 258, 258)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "v", value)
}
