package task_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/task"
)

func TestOutbox(t *testing.T) {
	partitions := func(topic string) (int32, error) {
		if topic == "none" {
			return 0, fmt.Errorf("no such topic")
		}
		return 2, nil
	}
	o := task.NewOutbox(task.OutboxConfig{BatchBytes: 400, RecordMaxBytes: 600, Partitions: partitions})
	_, err := o.Outlet("none")
	require.ErrorContains(t, err, "topic none: no such topic")
	out, err := o.Outlet("a")
	require.NoError(t, err)
	again, err := o.Outlet("a")
	require.NoError(t, err)
	require.Same(t, out, again)
	require.EqualValues(t, 2, out.Partitions())
	require.Error(t, out.Append(2, 0, nil, nil, nil))

	big := []byte(strings.Repeat("x", 200))
	require.NoError(t, out.Append(1, 1, []byte("small"), nil, nil))
	require.Empty(t, o.Full())
	require.NoError(t, out.Append(0, 2, nil, big, nil))
	require.NoError(t, out.Append(1, 3, nil, big, nil))
	require.NoError(t, out.Append(1, 3, nil, big, nil)) // 1 is full now
	require.NoError(t, out.Append(1, 4, nil, []byte("y"), nil))

	describe := func(packets []*task.Packet) (lines []string) {
		for _, p := range packets {
			lines = append(lines, fmt.Sprintf("%s/%d: %d", p.Topic, p.Partition, p.Builder.Len()))
		}
		return lines
	}
	full := o.Full()
	require.Equal(t, []string{"a/1: 3"}, describe(full))
	rest := o.Take()
	require.Equal(t, []string{"a/0: 1", "a/1: 1"}, describe(rest))
	b := full[0].Builder
	o.Recycle(full[0])
	require.Nil(t, full[0].Builder)
	o.Recycle(full[0])
	require.NoError(t, out.Append(0, 2, nil, big, nil))
	taken := o.Take()
	require.Same(t, b, taken[0].Builder, "builders are used again")
	require.Equal(t, 1, b.Len())

	require.ErrorContains(t, out.Append(0, 0, nil, append(big, append(big, big...)...), nil), "over the limit of 600")
	require.NoError(t, out.Append(0, 2, nil, big, nil))
	o.Discard()
	require.Empty(t, o.Take())
}

// The limit holds from the next record on when it changes, and Full hands out everything when it is reached.
func TestOutboxIsCrowdedAtItsLimit(t *testing.T) {
	o := task.NewOutbox(task.OutboxConfig{BytesMax: 1000, Partitions: func(string) (int32, error) { return 1, nil }})
	out, err := o.Outlet("a")
	require.NoError(t, err)
	require.NoError(t, out.Append(0, 0, nil, make([]byte, 500), nil))
	require.False(t, o.Crowded())
	require.Empty(t, o.Full())
	o.SetBytesMax(400)
	require.True(t, o.Crowded())
	require.Len(t, o.Full(), 1)
	o.SetBytesMax(2000)
	require.NoError(t, out.Append(0, 0, nil, make([]byte, 1500), nil))
	require.False(t, o.Crowded())
}

func TestOutboxKeepsBatchesUnderTheLimit(t *testing.T) {
	o := task.NewOutbox(task.OutboxConfig{
		BatchBytes: 1000, RecordMaxBytes: 1000, Partitions: func(string) (int32, error) { return 1, nil },
	})
	out, err := o.Outlet("a")
	require.NoError(t, err)
	for _, n := range []int{900, 10, 10, 900, 400, 500, 400} {
		require.NoError(t, out.Append(0, 0, nil, make([]byte, n), nil))
	}
	packets := o.Take()
	require.LessOrEqual(t, len(packets), 6)
	for _, p := range packets {
		require.LessOrEqual(t, p.Builder.Size(), 1000+100)
	}
}

// Batches of topics that come last stay until everything is taken, and come after all others.
func TestOutboxKeepsBackWhatComesLast(t *testing.T) {
	o := task.NewOutbox(task.OutboxConfig{
		BatchBytes: 400, BytesMax: 1500, Partitions: func(string) (int32, error) { return 1, nil },
		Last: func(topic string) bool { return topic == "late" },
	})
	put := func(topic string, bytes int) {
		out, err := o.Outlet(topic)
		require.NoError(t, err)
		require.NoError(t, out.Append(0, 0, nil, make([]byte, bytes), nil))
	}
	topics := func(packets []*task.Packet) (all []string) {
		for _, p := range packets {
			require.Equal(t, p.Topic == "late", p.Last)
			all = append(all, p.Topic)
		}
		return all
	}
	put("late", 500)
	put("late", 10)
	put("early", 500)
	put("early", 10)
	require.Equal(t, []string{"early"}, topics(o.Full()))
	o.Resize(map[string]int32{"late": 2})
	require.Equal(t, []string{"early", "late", "late"}, topics(o.Take()))
	require.Zero(t, o.Bytes())

	put("late", 500)
	o.Resize(map[string]int32{"late": 2}) // nothing, while that is here
	put("early", 500)
	put("late", 500)
	require.True(t, o.Crowded())
	require.Equal(t, []string{"early", "late", "late"}, topics(o.Full()))
	require.Zero(t, o.Bytes())
	require.Empty(t, o.Take())
}
