package task_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/topology"
)

// overlapRig is a task that counts records in a store, fails for some, and has a punctuation of the wall clock.
func overlapRig(t *testing.T) *rig {
	seen := state.NewKV[string, int64]("seen")
	var rows *state.KVStore[string, int64]
	p := process("p", processor{
		init: func(c *topology.Context[string, string]) (err error) {
			if rows, err = seen.Open(c); err != nil {
				return err
			}
			_, err = c.Schedule(10*time.Millisecond, topology.WallClock, func(now int64) error {
				return c.Forward(text{Key: "tick", Value: "tick", Timestamp: now})
			})
			return err
		},
		process: func(c *topology.Context[string, string], r text) error {
			n, _, _, err := rows.Get(r.Key)
			if err != nil {
				return err
			}
			if err := rows.Put(r.Key, n+1, r.Timestamp); err != nil {
				return err
			}
			if r.Value == "bad" {
				return errBoom
			}
			return c.Forward(r)
		},
	}, seen)
	return newRig(t, task.Config{}, chain(source("in", "in"), p, sink("out", "out")))
}

func (r *rig) next() int64 { return r.task.Queues.Inputs()[0].Next }

// What a task does while a commit is under way is no part of it, and does not stop it: not a failure either.
func TestACommitEndsThoughLaterWorkFails(t *testing.T) {
	r := overlapRig(t)
	r.add("in", 0, at(5), at(6), at(7), text{Key: "k", Value: "bad", Timestamp: 8})
	r.step(2)
	r.begin()
	require.Equal(t, int64(2), r.ready.Offsets[0].Next)
	r.step(1)
	_, err := r.task.Step(1, 0)
	require.ErrorIs(t, err, errBoom)
	_, err = r.task.Ready()
	require.ErrorContains(t, err, "discard first")
	r.advance()
	position, ok, err := r.task.Tx().Position("seen")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, r.ends["app-seen-changelog"], position)
	var s task.Stats
	r.task.CommittedStats(&s)
	require.Equal(t, int64(2), s.Nodes[0].Processed)

	r.outbox.Discard()
	require.NoError(t, r.task.Discard())
	require.Equal(t, int64(2), r.next())
	r.add("in", 2, at(7))
	r.step(1)
	r.commit()
	require.Equal(t, []string{"v", "v", "v"}, r.written("out"))
	r.task.CommittedStats(&s)
	require.Equal(t, int64(3), s.Nodes[0].Processed)
	require.Equal(t, int64(7), s.StreamTime)
}

// A commit that fails takes back what was done since it began, too.
func TestACommitThatFailsTakesLaterWorkBack(t *testing.T) {
	r := overlapRig(t)
	r.add("in", 0, at(5), at(6), at(7))
	r.step(1)
	r.commit()
	r.step(1)
	r.begin()
	r.step(1)
	_, err := r.task.Ready()
	require.ErrorContains(t, err, "under way")
	require.True(t, r.task.Pending())
	require.False(t, r.task.Untouched())
	r.abort()
	require.Equal(t, int64(1), r.next())
	require.NoError(t, r.task.Advance(r.position), "there is nothing to end")
	require.Equal(t, int64(1), r.next())
	r.add("in", 1, at(6), at(7))
	r.step(2)
	r.commit()
	require.Equal(t, []string{"v", "v", "v"}, r.written("out"))
}

// A punctuation that fired while a commit was under way fires again after that work is discarded.
func TestAPunctuationBelongsToItsCommit(t *testing.T) {
	r := overlapRig(t)
	fire := func(now int64) {
		fired, err := r.task.Punctuate(now)
		require.NoError(t, err)
		require.True(t, fired)
	}
	fire(10)
	r.begin()
	fire(20)
	r.advance()
	r.abort()
	due, ok := r.task.NextWallPunctuation()
	require.True(t, ok)
	require.Equal(t, int64(20), due)
	fire(20)
	r.begin()
	fire(30)
	r.abort()
	due, _ = r.task.NextWallPunctuation()
	require.Equal(t, int64(20), due)
}

// Work while a commit is under way that moves no input is committed with an offset, too.
func TestOffsetsAfterACommitUnderWay(t *testing.T) {
	r := overlapRig(t)
	r.add("in", 0, at(5))
	r.step(1)
	r.begin()
	fired, err := r.task.Punctuate(10)
	require.NoError(t, err)
	require.True(t, fired)
	r.advance()
	require.False(t, r.task.Queues.Moved())
	require.True(t, r.task.Pending())
	r.begin()
	require.Len(t, r.ready.Offsets, 1)
	require.Equal(t, int64(1), r.ready.Offsets[0].Next)
	r.advance()
	require.False(t, r.task.Pending())
	require.True(t, r.task.Untouched())
}

// A store that is restored from an input is as far as the commit says, not as far as the task is by then.
func TestTheInputOfAStoreIsAsFarAsTheCommit(t *testing.T) {
	kept := state.NewKV[string, string]("rows")
	var rows *state.KVStore[string, string]
	src := source("in", "in")
	src.RowsFromTopic = "rows"
	table := process("table", processor{
		init: func(c *topology.Context[string, string]) (err error) {
			rows, err = kept.Open(c)
			return err
		},
		process: func(_ *topology.Context[string, string], r text) error { return rows.Put(r.Key, r.Value, r.Timestamp) },
	}, kept)
	r := newRig(t, task.Config{}, chain(src, table))
	r.add("in", 0, at(5), at(6), at(7))
	r.step(2)
	r.begin()
	r.step(1)
	r.advance()
	position, _, err := r.task.Tx().Position("rows")
	require.NoError(t, err)
	require.Equal(t, int64(2), position)
	r.commit()
	position, _, err = r.task.Tx().Position("rows")
	require.NoError(t, err)
	require.Equal(t, int64(3), position)
}
