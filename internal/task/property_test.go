package task_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/topology"
)

// countingGraph reads two topics, counts per key in a store, forwards each count and, now and then in stream time,
// all counts.
func countingGraph() []*topology.Node {
	seen := state.NewKV[string, int64]("seen")
	a, b := source("a", "left"), source("b", "right")
	var st *state.KVStore[string, int64]
	p := process("p", processor{
		init: func(c *topology.Context[string, string]) (err error) {
			if st, err = seen.Open(c); err != nil {
				return err
			}
			_, err = c.Schedule(50*time.Millisecond, topology.StreamTime, func(now int64) error {
				for e, err := range st.All() {
					if err != nil {
						return err
					}
					line := fmt.Sprintf("sum %s=%d", e.Key, e.Value)
					if err := c.Forward(text{Key: e.Key, Value: line, Timestamp: now}); err != nil {
						return err
					}
				}
				return nil
			})
			return err
		},
		process: func(c *topology.Context[string, string], r text) error {
			n, _, _, err := st.Get(r.Key)
			if err != nil {
				return err
			}
			if r.Value == "remove" {
				return st.Delete(r.Key, r.Timestamp)
			}
			if err := st.Put(r.Key, n+1, r.Timestamp); err != nil {
				return err
			}
			r.Value += "/" + strconv.FormatInt(n+1, 10)
			return c.Forward(r)
		},
	}, seen)
	late, out := dropLate(), sink("o", "out")
	a.Connect(p)
	b.Connect(p)
	p.Connect(late)
	late.Connect(out)
	return []*topology.Node{a, b, p, late, out}
}

// dropLate leaves out what is older than the newest record by more than 4: its memory is a mark.
func dropLate() *topology.Node {
	n := &topology.Node{Name: "late", Kind: topology.KindProcessor, Site: "site"}
	n.Make = topology.Between(func(in *topology.Instance, next port) (port, error) {
		newest := in.Mark("seen/late")
		var out text
		return func(r *text) error {
			in.Enter()
			if r.Timestamp < *newest-4 {
				in.Drop(topology.Late)
				return nil
			}
			*newest = r.Timestamp // it may go down
			out = *r
			return next(&out)
		}, nil
	})
	return n
}

// history is what the two topics hold.
type history map[string][]text

func randomHistory(rnd *rand.Rand) history {
	h := history{}
	for _, topic := range []string{"left", "right"} {
		ts := int64(0)
		for i := range rnd.IntN(200) {
			ts = max(ts+rnd.Int64N(12)-3, 0)
			r := text{Key: fmt.Sprintf("k%d", rnd.IntN(6)), Value: fmt.Sprintf("%s%d", topic, i), Timestamp: ts}
			if rnd.IntN(10) == 0 {
				r.Value = "remove"
			}
			if rnd.IntN(20) == 0 {
				r.Timestamp = -1
			}
			h[topic] = append(h[topic], r)
		}
	}
	return h
}

// feed adds what lies between the task's position and a random point, in batches of random size.
func (r *rig) feed(rnd *rand.Rand, h history, fed map[string]int64) {
	for topic, records := range h {
		end := int64(len(records))
		to := min(fed[topic]+int64(rnd.IntN(30)), end)
		for from := fed[topic]; from < to; {
			n := min(1+rnd.Int64N(10), to-from)
			require.NoError(r.t, r.task.Add(topic, 0, encode(r.t, from, records[from:from+n]...)))
			from += n
		}
		fed[topic] = to
		require.NoError(r.t, r.task.Queues.Reached(topic, 0, to, end))
	}
}

func (r *rig) rewound() map[string]int64 {
	fed := map[string]int64{}
	for _, in := range r.task.Queues.Inputs() {
		fed[in.Topic] = in.Next
	}
	return fed
}

// stamped are all records of a topic.
func (r *rig) stamped(topic string) (lines []string) {
	for b, err := range batch.BatchesOf(r.topics[topic]) {
		require.NoError(r.t, err)
		it, err := b.Records(nil)
		require.NoError(r.t, err)
		for rec := (batch.Record{}); it.Next(&rec); {
			lines = append(lines, fmt.Sprintf("%s=%s@%d", rec.Key, rec.Value, rec.Timestamp))
		}
	}
	return lines
}

func TestFailuresLeaveNoTrace(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 40 {
		h := randomHistory(rnd)
		plain := newRig(t, task.Config{}, countingGraph())
		for fed := plain.rewound(); ; {
			plain.feed(rnd, h, fed)
			n, err := plain.task.Step(1000, 0)
			require.NoError(t, err)
			if n == 0 && fed["left"] == int64(len(h["left"])) && fed["right"] == int64(len(h["right"])) {
				break
			}
		}
		plain.commit()

		torn := newRig(t, task.Config{}, countingGraph())
		fed := torn.rewound()
		stays := rnd.IntN(2) == 0
		for underWay := false; ; {
			torn.feed(rnd, h, fed)
			n, err := torn.task.Step(rnd.IntN(20), 0)
			require.NoError(t, err)
			switch rnd.IntN(6) {
			case 0, 1:
				if underWay {
					torn.advance()
				}
				torn.begin() // and the task goes on
				underWay = true
			case 2:
				if underWay {
					torn.advance()
					underWay = false
				}
			case 3: // the transaction is aborted, while it commits perhaps
				torn.abort()
				underWay, fed = false, torn.rewound()
			case 4: // another worker takes over
				if !stays {
					torn.moved()
					underWay, fed = false, torn.rewound()
				}
			}
			if underWay && n == 0 {
				torn.advance()
				underWay = false
			}
			done := fed["left"] == int64(len(h["left"])) && fed["right"] == int64(len(h["right"]))
			if n == 0 && done && torn.task.Queues.Records() == 0 {
				break
			}
		}
		torn.commit()
		require.Equal(t, plain.stamped("out"), torn.stamped("out"), "seed %d", seed)
		var want, got task.Stats
		plain.task.Stats(&want)
		torn.task.Stats(&got)
		require.Equal(t, want.StreamTime, got.StreamTime)
		if stays {
			plain.task.CommittedStats(&want)
			torn.task.CommittedStats(&got)
			require.Equal(t, want.Nodes, got.Nodes, "seed %d", seed)
		}
	}
}

// moved closes the task without a commit and starts it anew from its committed offsets and changelog.
func (r *rig) moved() {
	r.outbox.Discard()
	require.NoError(r.t, r.task.Close())
	r.start(task.Config{Start: slices.Clone(r.committed), Times: maps.Clone(r.times)}, countingGraph())
}
