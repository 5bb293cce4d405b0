package task_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/task"
	"thalweg/topology"
)

// A processor that passes over what Forward returns loses no record: the failure is that of the record at hand, and of
// no later one. A child that does not exist is the processor's own matter.
func TestFailureOfAForwardThatIsPassedOver(t *testing.T) {
	careless := processor{process: func(c *topology.Context[string, string], r text) error {
		if c.ForwardTo("nobody", r) == nil {
			panic("there is no such child")
		}
		_ = c.Forward(r)
		_ = c.Forward(r) // the first failure counts
		return nil
	}}
	punctual := processor{init: func(c *topology.Context[string, string]) error {
		_, err := c.Schedule(time.Second, topology.StreamTime, func(int64) error {
			_ = c.Forward(value("ERR"))
			return nil
		})
		return err
	}, process: func(*topology.Context[string, string], text) error { return nil }}
	rig := func(p processor, policy topology.Errors) *rig {
		return newRig(t, task.Config{Errors: policy},
			chain(source("s", "in"), process("p", p), process("q", failing()), sink("o", "out")))
	}

	r := rig(careless, topology.Errors{})
	r.add("in", 0, value("1"), value("ERR"), value("2"))
	n, err := r.task.Step(10, 0)
	require.Equal(t, 1, n)
	require.ErrorIs(t, err, errBoom)
	require.ErrorContains(t, err, "node q")
	require.ErrorContains(t, err, "topic in partition 0 offset 1")

	r = rig(careless, topology.Errors{Process: topology.Skip})
	r.add("in", 0, value("1"), value("ERR"), value("2"))
	r.step(3)
	r.commit()
	require.Equal(t, []string{"1", "1", "2", "2"}, r.written("out"))

	r = rig(careless, topology.Errors{Process: topology.Retry{}})
	r.add("in", 0, value("ERR"))
	_, err = r.task.Step(10, 0)
	var blocked *task.Blocked
	require.ErrorAs(t, err, &blocked)

	r = rig(punctual, topology.Errors{})
	r.add("in", 0, value("1"))
	_, err = r.task.Step(10, 0)
	require.ErrorIs(t, err, errBoom)
	require.ErrorContains(t, err, "node q")
}
