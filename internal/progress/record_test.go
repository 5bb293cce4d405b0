package progress

import (
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
)

var someValue = Value{
	TopicID: [16]byte{1, 15: 2}, Cluster: "c", Pending: true, Committed: true, StoreKind: state.KindWindow,
	Formats: state.Formats{Keys: "string", Values: "msgpack main.T"}, Filling: state.FromInput, Topic: "in",
	Form: "plain", Offset: 1 << 40, Expired: Endless, Time: -7, Processes: "some",
}

func TestRecords(t *testing.T) {
	for _, k := range []Key{
		{InternalTopic, "a-b-changelog", -1}, {Input, "in", 7}, {Store, "", -1}, {Filled, "rows", 2}, {Time, "rows/time0", 9},
	} {
		got, err := DecodeKey(AppendKey(nil, k))
		require.NoError(t, err)
		require.Equal(t, k, got)
	}
	for _, v := range []Value{{}, someValue} {
		b := AppendValue(nil, v)
		got, err := DecodeValue(b)
		require.NoError(t, err)
		require.Equal(t, v, got)
		got, err = DecodeValue(append(b, 99, 2, 'x', 'y'))
		require.NoError(t, err, "a later version's field")
		require.Equal(t, v, got)
		_, err = DecodeValue(append(b, 99, 3, 'x', 'y'))
		require.Error(t, err)
	}
	for _, b := range [][]byte{nil, {1}, {2, 1, 0, 0, 0, 0}} {
		_, err := DecodeKey(b)
		require.Error(t, err, b)
	}
	for _, b := range [][]byte{
		nil, {2}, {1, tagTopicID, 1, 0}, {1, tagPending, 0}, {1, tagOffset, 1, 0}, {1, tagExpired, 1, 0}, {1, tagTime, 1, 0},
		{1, 5},
	} {
		_, err := DecodeValue(b)
		require.Error(t, err, b)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(AppendKey(nil, Key{Input, "in", 7}), AppendValue(nil, someValue))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if k, err := DecodeKey(key); err == nil {
			require.Equal(t, key, AppendKey(nil, k))
		}
		if v, err := DecodeValue(value); err == nil {
			again, err := DecodeValue(AppendValue(nil, v))
			require.NoError(t, err)
			require.Equal(t, v, again)
		}
	})
}

func TestOwners(t *testing.T) {
	require.Equal(t, []string{"a", "a-b"}, Owners("a-b-c-changelog", "x"))
	require.Equal(t, []string{"a"}, Owners("a-b-c-changelog", "a-b"))
	require.Equal(t, []string{"a-b"}, Owners("a-b-c-repartition", "a"))
	require.Empty(t, Owners("a-b-changelog", "a"))
	require.Empty(t, Owners("a-b", "x"))
	require.Empty(t, Owners("-changelog", "x"))
}
