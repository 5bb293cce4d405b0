package task_test

import (
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/topology"
)

// marked is the metadata of an offset as builds wrote it that had all times there.
func marked(partitionTime int64, marks map[string]int64) string {
	b := binary.BigEndian.AppendUint64([]byte{2}, uint64(partitionTime))
	b = binary.BigEndian.AppendUint32(b, uint32(len(marks)))
	for _, name := range slices.Sorted(maps.Keys(marks)) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
		b = binary.BigEndian.AppendUint64(append(b, name...), uint64(marks[name]))
	}
	return base64.StdEncoding.EncodeToString(b)
}

// lateGraph leaves out what is more than 4 older than the last record that it has let pass. It has a store, so that the
// time has a name.
func lateGraph() []*topology.Node {
	seen := state.NewKV[string, int64]("seen")
	passing := process("p", processor{
		process: func(c *topology.Context[string, string], r text) error { return c.Forward(r) },
	}, seen)
	return chain(source("in", "in"), passing, dropLate(), sink("out", "out"))
}

func (r *rig) process(base int64, timestamps ...int64) {
	r.t.Helper()
	records := make([]text, len(timestamps))
	for i, ts := range timestamps {
		records[i] = at(ts)
	}
	r.add("in", base, records...)
	_, err := r.task.Step(1000, 0)
	require.NoError(r.t, err)
}

func lateRig(t *testing.T, times map[string]int64, metadata string) *rig {
	r := &rig{t: t, topics: map[string][]byte{}, ends: map[string]int64{}, times: times}
	r.committed = []task.Offset{{Topic: "in", Next: 3, Metadata: metadata}}
	r.restart()
	return r
}

// restart begins with what is committed.
func (r *rig) restart() {
	r.start(task.Config{Start: slices.Clone(r.committed), Times: maps.Clone(r.times)}, lateGraph())
}

var beside = map[string]int64{"": 5, "/next": 3, "seen/late": 100, "seen": 90}

// Times that an earlier build has committed beside the offsets count, whatever the progress topic has from before, and
// move there with the next commit.
func TestTimesMoveToTheProgressTopic(t *testing.T) {
	old := map[string]int64{"seen/late": 7, "seen/gone": 9, "other/late": 1}
	r := lateRig(t, maps.Clone(old), marked(100, beside))
	require.False(t, r.task.LostTimes())
	require.Empty(t, r.task.Times(), "there is no offset to commit, which would show whose they are")
	fence, ok := r.task.Fence()
	require.True(t, ok)
	require.Equal(t, r.committed[0], fence, "a fence does not move them")

	r.process(3, 95)
	require.NoError(t, r.task.Flush())
	require.Equal(t, []task.Time{{Name: "seen", At: 90}, {Name: "seen/gone", At: topology.Unknown},
		{Name: "seen/late", At: 100}}, r.task.Times())
	r.commit()
	require.Equal(t, map[string]int64{"seen": 90, "seen/late": 100, "other/late": 1}, r.times)
	require.Empty(t, r.written("out"), "it is late")
	fence, _ = r.task.Fence()
	require.Equal(t, r.committed[0], fence)

	for next := int64(4); next < 7; next++ { // nothing changes but the offset
		r.process(next, 94)
		require.NoError(t, r.task.Flush())
		require.Empty(t, r.task.Times())
		r.commit()
		r.restart()
		require.False(t, r.task.LostTimes())
	}
	require.Empty(t, r.written("out"))
	r.process(7, 110)
	require.NoError(t, r.task.Flush())
	require.Equal(t, []task.Time{{Name: "seen/late", At: 110}}, r.task.Times())
	r.commit()

	clear(r.times)
	r.restart()
	require.True(t, r.task.LostTimes(), "somebody has deleted the topic")
	r.process(8, 5)
	r.commit()
	require.Len(t, r.written("out"), 2)
}

// The time 0 is a time as any other, and not one that nobody knows.
func TestTheTimeZeroIsKept(t *testing.T) {
	r := lateRig(t, nil, "")
	r.process(3, 0)
	r.commit()
	require.Contains(t, r.times, "seen/late")
	require.Zero(t, r.times["seen/late"])
	r.restart()
	require.False(t, r.task.LostTimes())
}

// A build that knows nothing of the progress topic hands on what it finds beside an offset. What it commits counts.
func TestTimesOfAnEarlierBuildThatCameBack(t *testing.T) {
	metadata := map[string]int64{"": 6, "/next": 3, "/times": 5, "seen/late": 50}
	r := lateRig(t, map[string]int64{"seen/late": 100}, marked(100, metadata))
	r.process(3, 60)
	r.commit()
	require.Len(t, r.written("out"), 1)
	require.Equal(t, map[string]int64{"seen/late": 60}, r.times)
}

// Where Kafka Streams has gone on, times of before are old. It keeps those up to which windows are closed.
func TestTimesOfBeforeKafkaStreams(t *testing.T) {
	r := lateRig(t, map[string]int64{"seen/late": 100, "seen": 90},
		marked(300, map[string]int64{"": 5, "/next": 2, "/times": 5, "seen": 95}))
	r.process(3, 60)
	r.commit()
	require.Len(t, r.written("out"), 1)
	require.Equal(t, map[string]int64{"seen/late": 60, "seen": 95}, r.times)
}

// A tool that moves the group commits no metadata: the times start over, and what the topic has gives way.
func TestTimesWithoutMetadata(t *testing.T) {
	r := lateRig(t, map[string]int64{"seen/late": 100, "seen": 90}, "")
	r.process(3, 60)
	r.commit()
	require.Len(t, r.written("out"), 1)
	require.Equal(t, map[string]int64{"seen/late": 60}, r.times)
}

// Nobody knows whether the times of a commit that failed were written: at least once, they are before the offsets. So
// they are written again, as they are then.
func TestTimesOfACommitThatFailed(t *testing.T) {
	r := lateRig(t, map[string]int64{"seen/late": 7}, marked(100, beside))
	r.process(3, 100)
	r.commit()
	r.process(4, 200)
	require.NoError(t, r.task.Flush())
	require.NotEmpty(t, r.task.Offsets())
	require.Equal(t, []task.Time{{Name: "seen/late", At: 200}}, r.task.Times())
	r.outbox.Discard()
	require.NoError(t, r.task.Discard())
	r.process(4, 90)
	require.NoError(t, r.task.Flush())
	require.Equal(t, []task.Time{{Name: "seen/late", At: 100}}, r.task.Times())
	r.commit()
	r.process(5, 90)
	require.NoError(t, r.task.Flush())
	require.Empty(t, r.task.Times())
}
