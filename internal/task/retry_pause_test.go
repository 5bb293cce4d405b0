package task_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/topology"
)

// A punctuation that fails has no source record: all inputs of the task wait. What comes before it is processed again
// with each attempt.
func TestPunctuationIsRetriedWithItsTask(t *testing.T) {
	for _, clock := range []topology.TimeKind{topology.StreamTime, topology.WallClock} {
		calls := 0
		ticking := processor{init: func(c *topology.Context[string, string]) error {
			_, err := c.Schedule(10*time.Millisecond, clock, func(int64) error {
				if calls++; calls < 4 {
					return errBoom
				}
				return nil
			})
			return err
		}}
		w := &world{inputs: map[string][]batch.Batch{}}
		w.rig = newRig(t, task.Config{Errors: topology.Errors{Process: topology.Retry{First: time.Second}}},
			chain(source("s", "in"), process("p", ticking), sink("o", "out")))
		w.put("in", 0, at(5), at(25))
		w.now = 10
		require.NoError(t, w.run(7009))
		require.Equal(t, 3, calls)
		require.Empty(t, w.written("out"))
		_, punctuates := w.task.NextWallPunctuation()
		require.False(t, punctuates, "the task waits")
		require.NoError(t, w.run(7010))
		require.GreaterOrEqual(t, calls, 4)
		require.Len(t, w.written("out"), 2)
		var waits []time.Duration
		for _, b := range w.reports {
			require.Empty(t, b.Topic)
			waits = append(waits, b.Wait)
		}
		require.Equal(t, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}, waits)
	}
}

func TestPunctuationGivesUp(t *testing.T) {
	calls := 0
	ticking := processor{init: func(c *topology.Context[string, string]) error {
		_, err := c.Schedule(10*time.Millisecond, topology.StreamTime, func(int64) error {
			calls++
			return errBoom
		})
		return err
	}}
	for _, then := range []topology.Decision{topology.Fail, topology.Skip} {
		calls = 0
		w := &world{inputs: map[string][]batch.Batch{}}
		w.rig = newRig(t, task.Config{Errors: topology.Errors{Process: topology.Retry{Attempts: 3, Then: then}}},
			chain(source("s", "in"), process("p", ticking), sink("o", "out")))
		w.put("in", 0, at(5), at(25))
		err := w.run(10_000)
		require.GreaterOrEqual(t, calls, 3)
		require.Equal(t, 2, w.reports[1].Attempt)
		if then == topology.Fail {
			require.ErrorIs(t, err, errBoom)
			require.ErrorContains(t, err, "outside of a record, after 3 attempts")
			continue
		}
		require.NoError(t, err)
		require.Len(t, w.written("out"), 2)
		require.Positive(t, w.dropped("p"))
		w.put("in", 2, at(99)) // the next one has all its attempts
		require.NoError(t, w.run(20_000))
		require.Equal(t, []int{1, 2}, []int{w.reports[2].Attempt, w.reports[3].Attempt})
	}
}
