package task_test

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/topology"
)

// Records and punctuations of random inputs fail a random number of times, and the driver goes back at random moments.
// In the end each record has counted once, in the order of its input.
func TestRandomRetriesCountOnce(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 7))
	for range 200 {
		failures, ticks := map[string]int{}, 0
		unsteady := processor{
			init: func(c *topology.Context[string, string]) error {
				_, err := c.Schedule(50*time.Millisecond, topology.StreamTime, func(int64) error {
					if ticks > 0 && random.IntN(3) == 0 {
						ticks--
						return errBoom
					}
					return nil
				})
				return err
			},
			process: func(c *topology.Context[string, string], r text) error {
				if err := c.Forward(r); err != nil {
					return err
				}
				if failures[r.Value] > 0 {
					failures[r.Value]--
					return errBoom
				}
				return nil
			},
		}
		w := &world{inputs: map[string][]batch.Batch{}, now: 1000}
		nodes := chain(source("a", "a"), process("unsteady", unsteady), counting(func(text) error { return nil }),
			sink("o", "out"))
		b := source("b", "b")
		b.Connect(nodes[1])
		policy := topology.Retry{First: time.Duration(1+random.IntN(50)) * time.Millisecond, Attempts: 100}
		w.rig = newRig(t, task.Config{Errors: topology.Errors{Process: policy}}, nodes, []*topology.Node{b})
		ticks = random.IntN(4)
		want := map[string][]string{}
		for _, topic := range []string{"a", "b"} {
			for offset := int64(0); offset < 30; {
				var records []text
				for range 1 + random.IntN(6) {
					v := topic + strconv.Itoa(len(want[topic]))
					want[topic] = append(want[topic], v+"1")
					if random.IntN(8) == 0 {
						failures[v] = 1 + random.IntN(4)
					}
					records = append(records, of("k", v, 10*int64(len(want[topic]))))
				}
				w.put(topic, offset, records...)
				offset += int64(len(records))
			}
		}
		for len(w.written("out")) < len(want["a"])+len(want["b"]) {
			require.NoError(t, w.run(w.now+int64(random.IntN(100))))
			if random.IntN(4) == 0 {
				w.rewind()
			}
			require.Less(t, w.now, int64(1_000_000), "it never ends")
		}
		got := map[string][]string{}
		for _, v := range w.written("out") {
			got[v[:1]] = append(got[v[:1]], v)
		}
		require.Equal(t, want, got)
	}
}
