package task

import (
	"encoding/base64"
	"fmt"
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
		task := &Task{times: times{committed: map[string]int64{}}}
		for _, o := range offsets {
			_, marks, err := decodeMetadata(o.Metadata)
			require.NoError(t, err)
			task.times.seek(marks, o)
		}
		return task
	}
	ours := func(next, commit, closed int64) string {
		return encodeMetadata(1, map[string]int64{commitNumber: commit, nextOffset: next, "st": closed, "st/time0": 7})
	}
	// The newest commit counts.
	task := seek(Offset{Next: 5, Metadata: ours(5, 2, 20)}, Offset{Next: 9, Metadata: ours(9, 1, 10)})
	require.Equal(t, map[string]int64{"st": 20, "st/time0": 7}, task.times.committed)
	require.EqualValues(t, 2, task.times.commits)
	// Kafka Streams has its own times of closing, and nothing else.
	task = seek(Offset{Next: 5, Metadata: encodeMetadata(1, map[string]int64{"st": 30})})
	require.Equal(t, map[string]int64{"st": 30}, task.times.committed)
	// It hands on what it finds, with an offset that has moved on: what it does not know of is old, of all inputs.
	for _, offsets := range [][]Offset{
		{{Next: 6, Metadata: ours(5, 2, 40)}, {Next: 9, Metadata: ours(9, 2, 20)}},
		{{Next: 9, Metadata: ours(9, 2, 20)}, {Next: 6, Metadata: ours(5, 2, 40)}},
	} {
		task = seek(offsets...)
		require.Equal(t, map[string]int64{"st": 40}, task.times.committed)
		require.EqualValues(t, 2, task.times.commits)
	}
	// An input without marks was committed before there were any.
	task = seek(Offset{Next: 5, Metadata: ours(5, 2, 20)}, Offset{Next: 9, Metadata: encodeMetadata(1, nil)}, Offset{})
	require.Equal(t, map[string]int64{"st": 20, "st/time0": 7}, task.times.committed)
}

// Anybody may commit for a group: a tool, an operator, another version. Its offset counts, its metadata does not.
func TestForeignMetadataOfACommittedOffset(t *testing.T) {
	for _, metadata := range []string{
		"moved by hand", "CQAAAAAAAAEs", "AgAAAAAAAAEsAAAAAQAAAAk=", "AgAAAAAAAAEs/////w==",
	} {
		var told []error
		task := &Task{
			config: Config{Foreign: func(o Offset, err error) {
				require.EqualValues(t, 4, o.Next)
				told = append(told, err)
			}},
		}
		task.env.StreamTime, task.time = topology.Unknown, newStreamTime(&task.env)
		task.times = newTimes(&task.env)
		task.Aligning = newAligning(&task.time, nil, nil)
		task.progress = progress{queues: &task.Queues, times: &task.times, aligning: &task.Aligning}
		q := newQueue(&task.env, &task.time, nil)
		q.head.Topic = "in"
		task.Queues.list = append(task.Queues.list, q)
		require.NoError(t, task.Seek(Offset{Topic: "in", Next: 4, Metadata: metadata}))
		require.EqualValues(t, 4, q.next)
		require.Equal(t, topology.Unknown, q.partitionTime)
		require.Equal(t, topology.Unknown, task.env.StreamTime)
		require.Empty(t, task.times.committed)
		require.Len(t, told, 1)
		require.ErrorContains(t, told[0], metadata)
	}
}

// However many windows are closed by time, the metadata stays within what brokers take.
func TestMetadataHasALimit(t *testing.T) {
	closed := map[string]int64{}
	for i := range 300 {
		closed[fmt.Sprintf("windows-of-some-name-%03d", i)] = int64(i)
	}
	marks := apartMarks(closed, 7)
	metadata := encodeMetadata(1, withNext(marks, 1<<40))
	require.LessOrEqual(t, len(metadata), 4096)
	require.Greater(t, len(metadata), 3900)
	require.Contains(t, marks, "windows-of-some-name-000")
	require.NotContains(t, marks, "windows-of-some-name-299")
	_, got, err := decodeMetadata(metadata)
	require.NoError(t, err)
	require.Equal(t, marks, got)
	require.True(t, ours(got, 1<<40))
}

func withNext(marks map[string]int64, next int64) map[string]int64 {
	marks[nextOffset] = next
	return marks
}
