package task_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/invariant"
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/state/engine"
	"thalweg/state/memory"
	"thalweg/topology"
)

// everything is a policy that passes over all failures that it is asked about.
func everything(asked *int) topology.Errors {
	return topology.Errors{DeadLetters: "dead", Handle: func(*topology.ProcessingError) topology.Action {
		*asked++
		return topology.DeadLetter
	}}
}

// What is broken in the framework, or in the engine, is no record's failure: no policy is asked, and the task stops.
func TestNoPolicyPassesOverABrokenInvariant(t *testing.T) {
	breaks := map[string]func(*topology.Context[string, string]) error{
		"invariant":        func(*topology.Context[string, string]) error { invariant.Never("a slot is free"); return nil },
		"wrapped":          func(*topology.Context[string, string]) error { return fmt.Errorf("x: %w", &invariant.Broken{}) },
		"framework panics": func(*topology.Context[string, string]) error { var st *state.Tx; return st.Flush() },
	}
	for name, f := range breaks {
		for _, scheduled := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " scheduled ", scheduled), func(t *testing.T) {
				asked := 0
				p := processor{}
				if scheduled {
					p.init = func(c *topology.Context[string, string]) error {
						_, err := c.Schedule(time.Second, topology.StreamTime, func(int64) error { return f(c) })
						return err
					}
				} else {
					p.process = func(c *topology.Context[string, string], _ text) error { return f(c) }
				}
				r := newRig(t, task.Config{Errors: everything(&asked)}, chain(source("s", "in"), process("p", p), sink("o", "out")))
				r.add("in", 0, value("1"))
				_, err := r.task.Step(10, 0)
				require.Error(t, err)
				require.True(t, topology.Broken(err), err)
				require.Zero(t, asked)
				_, letter := r.task.DeadLetter()
				require.False(t, letter)
				require.ErrorContains(t, r.task.Flush(), "discard first")
				require.NoError(t, r.task.Discard())
			})
		}
	}
}

// fragile is an engine that can fail.
type fragile struct {
	engine.Engine
	failure *engine.Failure
}

func (f *fragile) Get(dst, key []byte) ([]byte, bool, error) {
	if f.failure != nil {
		return dst, false, f.failure
	}
	return f.Engine.Get(dst, key)
}

func (f *fragile) Failed() error {
	if f.failure != nil {
		return f.failure
	}
	return nil
}

// A processor may pass over the error of a store, or wrap it so that nobody knows it: nothing is committed anyway.
func TestNoPolicyPassesOverAnEngineThatFailed(t *testing.T) {
	rows := state.NewKV[string, string]("rows")
	for name, handle := range map[string]func(error) error{
		"returned":    func(err error) error { return err },
		"hidden":      func(err error) error { return errors.New("can't: " + err.Error()) },
		"passed over": func(error) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			get := processor{process: func(c *topology.Context[string, string], r text) error {
				st, err := rows.Open(c)
				if err == nil {
					_, _, _, err = st.Get(r.Key)
				}
				if err != nil {
					return handle(err)
				}
				return st.Put(r.Key, r.Value, r.Timestamp)
			}}
			topo, err := topology.New(chain(source("s", "in"), process("p", get, rows), sink("o", "out")))
			require.NoError(t, err)
			e := &fragile{Engine: memory.New()}
			b := e.NewBatch(0)
			require.NoError(t, b.Set(append(state.Namespace(0), 4, 'r', 'o', 'w', 's', 1, 'x'), make([]byte, 9)))
			require.NoError(t, b.Commit())
			tk := (&rig{t: t}).bareFrom(topo, task.Config{Errors: everything(&asked)})
			require.NoError(t, tk.Close())
			tk, err = task.New(task.Config{
				ApplicationID: "app", Subs: topo.Subtopologies(), Errors: everything(&asked),
				Outbox: task.NewOutbox(task.OutboxConfig{Partitions: func(string) (int32, error) { return 1, nil }}),
				Tx:     state.NewTx(state.Config{Engine: e, Namespace: state.Namespace(0)}),
			})
			require.NoError(t, err)
			require.NoError(t, tk.Seek(task.Offset{Topic: "in"}))
			require.NoError(t, tk.Restored(nil))
			require.NoError(t, tk.Add("in", 0, encode(t, 0, value("1"))))
			e.failure = &engine.Failure{Dir: "there", Err: errBoom, Remedy: "remove it"}
			_, err = tk.Step(10, 0)
			if err == nil {
				err = tk.Flush()
			}
			require.True(t, engine.IsFailure(err))
			require.ErrorContains(t, err, "there")
			require.ErrorContains(t, err, "remove it")
			require.Zero(t, asked)
			require.NoError(t, tk.Close(), "it has been told")
		})
	}
}

// A dead letter that is too large loses its stack, then the record's value: it never stops the application.
func TestADeadLetterThatIsTooLarge(t *testing.T) {
	for _, c := range []struct {
		size         int
		value, stack bool
	}{{900_000, true, true}, {997_000, true, true}, {999_300, true, false}, {999_950, false, false}} {
		asked := 0
		r := newRig(t, task.Config{Errors: everything(&asked)}, chain(source("s", "in"), process("p", processor{
			process: func(_ *topology.Context[string, string], r text) error {
				if len(r.Value) > 100 {
					panic("too long for me")
				}
				return nil
			},
		})))
		r.add("in", 0, value("1"), value(strings.Repeat("x", c.size)), value("2"))
		r.step(3)
		r.commit()
		letters := r.letters("dead")
		require.Len(t, letters, 1, c.size)
		require.Equal(t, c.value, len(letters[0].Value) == c.size, c.size)
		h := headers(t, letters[0].Headers)
		require.Equal(t, "1", h["offset"])
		require.Equal(t, "too long for me", h["message"])
		require.Equal(t, c.stack, h["stacktrace"] != "", c.size)
	}
}

// A time that nobody means is dropped: the sums of operators, and the punctuator's, stay below it.
func TestTimesOutOfBounds(t *testing.T) {
	fired := 0
	p := processor{init: func(c *topology.Context[string, string]) error {
		_, err := c.Schedule(time.Second, topology.StreamTime, func(int64) error { fired++; return nil })
		return err
	}}
	r := newRig(t, task.Config{}, chain(source("s", "in"), process("p", p), sink("o", "out")))
	var records []text
	for i, ts := range []int64{1, math.MaxInt64, math.MaxInt64 - 1, topology.MaxTime + 1, -1, topology.MaxTime, 5} {
		records = append(records, text{Key: "k", Value: fmt.Sprint(i), Timestamp: ts})
	}
	r.add("in", 0, records...)
	n, err := r.task.Step(100, 0)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	r.commit()
	require.Equal(t, []string{"0", "5", "6"}, r.written("out"))
	require.Equal(t, 2, fired)
	var s task.Stats
	r.task.Stats(&s)
	require.EqualValues(t, 4, s.Nodes[0].Dropped[topology.BadTime])
	require.EqualValues(t, 7, r.committed[0].Next)
}

// A partition time that somebody has committed is a time, too.
func TestACommittedTimeOutOfBounds(t *testing.T) {
	const farthest = "AX//////////" // version 1, and the largest time
	r := newRig(t, task.Config{Start: []task.Offset{{Topic: "in", Next: 3, Metadata: farthest}}},
		chain(source("s", "in"), sink("o", "out")))
	r.add("in", 3, value("1"))
	r.step(1)
	r.commit()
	require.Equal(t, []string{"1"}, r.written("out"))
}
