package task

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/topology"
)

func TestMetadata(t *testing.T) {
	require.Equal(t, "AQAAAAAAAAEs", encodeMetadata(300, nil))
	for _, ts := range []int64{topology.Unknown, 0, 1 << 40} {
		for _, marks := range []map[string]int64{nil, {"a": 5, "longer name": -1}} {
			got, gotMarks, err := decodeMetadata(encodeMetadata(ts, marks))
			require.NoError(t, err)
			require.Equal(t, ts, got)
			require.Equal(t, marks, gotMarks)
		}
	}
	got, _, err := decodeMetadata("")
	require.NoError(t, err)
	require.Equal(t, topology.Unknown, got)
	// Kafka Streams' version 2, with an empty map
	got, _, err = decodeMetadata(base64.StdEncoding.EncodeToString([]byte{2, 0, 0, 0, 0, 0, 0, 1, 44, 0, 0, 0, 0}))
	require.NoError(t, err)
	require.EqualValues(t, 300, got)
	for _, bad := range []string{"!", "AQ==", "CQAAAAAAAAEs", "AgAAAAAAAAEsAA==", "AgAAAAAAAAEsAAAAAQAAAAk="} {
		_, _, err = decodeMetadata(bad)
		require.Error(t, err, bad)
	}
}

func TestMovesNameEveryState(t *testing.T) {
	for s := range states {
		require.NotEmpty(t, s.String())
		require.NotEmpty(t, moves[s])
	}
}

func TestMarksOfSomebodyElse(t *testing.T) {
	seek := func(offsets ...Offset) *Task {
		task := &Task{committedMarks: map[string]int64{}}
		for _, o := range offsets {
			_, marks, err := decodeMetadata(o.Metadata)
			require.NoError(t, err)
			task.seekMarks(marks, o)
		}
		return task
	}
	ours := func(next, commit, closed int64) string {
		return encodeMetadata(1, map[string]int64{commitNumber: commit, nextOffset: next, "st": closed, "st/time0": 7})
	}
	// The newest commit counts.
	task := seek(Offset{Next: 5, Metadata: ours(5, 2, 20)}, Offset{Next: 9, Metadata: ours(9, 1, 10)})
	require.Equal(t, map[string]int64{"st": 20, "st/time0": 7}, task.committedMarks)
	require.EqualValues(t, 2, task.commits)
	// Kafka Streams has its own times of closing, and nothing else.
	task = seek(Offset{Next: 5, Metadata: encodeMetadata(1, map[string]int64{"st": 30})})
	require.Equal(t, map[string]int64{"st": 30}, task.committedMarks)
	// It hands on what it finds, with an offset that has moved on: what it does not know of is old, of all inputs.
	for _, offsets := range [][]Offset{
		{{Next: 6, Metadata: ours(5, 2, 40)}, {Next: 9, Metadata: ours(9, 2, 20)}},
		{{Next: 9, Metadata: ours(9, 2, 20)}, {Next: 6, Metadata: ours(5, 2, 40)}},
	} {
		task = seek(offsets...)
		require.Equal(t, map[string]int64{"st": 40}, task.committedMarks)
		require.EqualValues(t, 2, task.commits)
	}
	// An input without marks was committed before there were any.
	task = seek(Offset{Next: 5, Metadata: ours(5, 2, 20)}, Offset{Next: 9, Metadata: encodeMetadata(1, nil)}, Offset{})
	require.Equal(t, map[string]int64{"st": 20, "st/time0": 7}, task.committedMarks)
}

// Anybody may commit for a group: a tool, an operator, another version. Its offset counts, its metadata does not.
func TestForeignMetadataOfACommittedOffset(t *testing.T) {
	for _, metadata := range []string{
		"moved by hand", "CQAAAAAAAAEs", "AgAAAAAAAAEsAAAAAQAAAAk=", "AgAAAAAAAAEs/////w==",
	} {
		var told []error
		task := &Task{
			committedMarks: map[string]int64{}, committedTime: topology.Unknown,
			config: Config{Foreign: func(o Offset, err error) {
				require.EqualValues(t, 4, o.Next)
				told = append(told, err)
			}},
		}
		task.env.StreamTime = topology.Unknown
		q := task.newQueue("in", 0)
		task.queues = append(task.queues, q)
		require.NoError(t, task.Seek(Offset{Topic: "in", Next: 4, Metadata: metadata}))
		require.EqualValues(t, 4, q.next)
		require.Equal(t, topology.Unknown, q.partitionTime)
		require.Equal(t, topology.Unknown, task.env.StreamTime)
		require.Empty(t, task.committedMarks)
		require.Len(t, told, 1)
		require.ErrorContains(t, told[0], metadata)
	}
}
