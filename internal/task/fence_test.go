package task_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/topology"
)

// What a punctuation writes is committed with an offset of the task, though no input has moved: the group refuses that
// offset from a task that is somebody else's by now.
func TestWhatIsWrittenWithoutInputCommitsAnOffset(t *testing.T) {
	kept := state.NewKV[string, string]("rows")
	silent := func(*topology.Context[string, string], *state.KVStore[string, string], int64) error { return nil }
	forwards := func(c *topology.Context[string, string], _ *state.KVStore[string, string], now int64) error {
		return c.Forward(text{Key: "k", Value: "tick", Timestamp: now})
	}
	puts := func(_ *topology.Context[string, string], rows *state.KVStore[string, string], now int64) error {
		return rows.Put("k", "tick", now)
	}
	for name, c := range map[string]struct {
		f    func(*topology.Context[string, string], *state.KVStore[string, string], int64) error
		want []task.Offset
	}{
		"nothing":     {silent, nil},
		"a result":    {forwards, []task.Offset{{Topic: "in", Next: 1}}},
		"a row alone": {puts, []task.Offset{{Topic: "in", Next: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			ticks := process("ticks", processor{
				init: func(ctx *topology.Context[string, string]) error {
					rows, err := kept.Open(ctx)
					if err != nil {
						return err
					}
					_, err = ctx.Schedule(10*time.Millisecond, topology.WallClock, func(now int64) error {
						return c.f(ctx, rows, now)
					})
					return err
				},
				process: func(*topology.Context[string, string], text) error { return nil },
			}, kept)
			r := newRig(t, task.Config{}, chain(source("in", "in"), ticks, sink("out", "out")))
			r.add("in", 0, at(5))
			_, err := r.task.Step(10, 0)
			require.NoError(t, err)
			r.commit()
			require.Len(t, r.committed, 1)
			for i := range int64(3) { // a discarded transaction leaves nothing of it
				fired, err := r.task.Punctuate(10 * (i + 1))
				require.NoError(t, err)
				require.True(t, fired)
				require.NoError(t, r.task.Flush())
				got := r.task.Offsets()
				for i := range got {
					require.NotEmpty(t, got[i].Metadata)
					got[i].Metadata = ""
				}
				require.Equal(t, c.want, got)
				if i == 0 {
					r.outbox.Discard()
					require.NoError(t, r.task.Discard())
					require.Empty(t, r.task.Offsets())
					continue
				}
				r.commit()
				require.Empty(t, r.task.Offsets())
			}
		})
	}
}

// A fence is what was committed, whatever the task has done since.
func TestAFenceChangesNothing(t *testing.T) {
	r := newRig(t, task.Config{}, chain(source("in", "in"), sink("out", "out")))
	r.add("in", 0, at(5), at(7))
	_, err := r.task.Step(1, 0)
	require.NoError(t, err)
	r.commit()
	_, err = r.task.Step(1, 0)
	require.NoError(t, err)
	fence, ok := r.task.Fence()
	require.True(t, ok)
	require.Equal(t, r.committed[0], fence)
	require.NotEqual(t, fence, r.task.Offsets()[0])
}
