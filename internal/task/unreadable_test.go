package task_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// torn are batches of three records, from offset base on, of which so many can be read.
func torn(t *testing.T, base int64) map[string]struct {
	batch    batch.Batch
	readable []string
} {
	type tear = struct {
		batch    batch.Batch
		readable []string
	}
	records := []text{value("a"), value("b"), value("c")}
	bytes := func(change func(raw []byte)) batch.Batch {
		raw := append([]byte{}, encode(t, base, records...).Bytes()...)
		change(raw)
		b, _, err := batch.Parse(raw)
		require.NoError(t, err)
		return b
	}
	const posCount, posDelta, posAttributes = 57, 23, 21 // of the header
	return map[string]tear{
		"fewer records than it says": {bytes(func(raw []byte) {
			binary.BigEndian.PutUint32(raw[posCount:], 5)
			binary.BigEndian.PutUint32(raw[posDelta:], 4)
		}), []string{"a", "b", "c"}},
		"more records than it says": {bytes(func(raw []byte) {
			binary.BigEndian.PutUint32(raw[posCount:], 2)
		}), []string{"a", "b"}},
		"a broken record": {bytes(func(raw []byte) {
			at := batch.HeaderBytes + 1 + int(raw[batch.HeaderBytes]>>1) // the second record
			raw[at] = 0xff
		}), []string{"a"}},
		"no gzip": {bytes(func(raw []byte) { raw[posAttributes+1] = byte(batch.Gzip) }), nil},
	}
}

func TestABatchThatCannotBeRead(t *testing.T) {
	for _, ahead := range []bool{false, true} {
		for name := range torn(t, 10) {
			for d := topology.Fail; d <= topology.DeadLetterAndFail; d++ {
				t.Run(name+" "+d.String(), func(t *testing.T) { checkTorn(t, name, d, ahead) })
			}
		}
	}
}

func checkTorn(t *testing.T, name string, d topology.Decision, ahead bool) {
	tear := torn(t, 10)[name]
	c := task.Config{Errors: topology.Errors{Decode: d}}
	if d == topology.DeadLetter || d == topology.DeadLetterAndFail {
		c.Errors.DeadLetters = "dead"
	}
	nodes := chain(source("s", "in"), process("p", processor{}), sink("o", "out"))
	if ahead {
		nodes = chain(source("s", "in"), wanting(), sink("o", "out"))
	}
	r := newRig(t, c, nodes)
	r.add("in", 8, value("y"), value("z"))
	require.NoError(t, r.task.Add("in", 0, tear.batch))
	r.add("in", tear.batch.LastOffset()+1, value("d"))
	n, err := r.task.Step(100, 0)
	if d == topology.Fail || d == topology.DeadLetterAndFail {
		require.Equal(t, 2+len(tear.readable), n)
		var pe *topology.ProcessingError
		require.ErrorAs(t, err, &pe)
		require.Equal(t, topology.PhaseDecode, pe.Phase)
		require.ErrorContains(t, err, "topic in partition 0 offset 1")
		require.ErrorContains(t, err, "to go on at offset 1")
		_, ok := r.task.DeadLetter()
		require.Equal(t, d == topology.DeadLetterAndFail, ok)
		return
	}
	require.NoError(t, err)
	require.Zero(t, r.task.Queues.Records())
	r.commit()
	require.Equal(t, append(append([]string{"y", "z"}, tear.readable...), "d"), r.written("out"))
	require.Equal(t, tear.batch.LastOffset()+2, r.committed[0].Next)
	if d == topology.DeadLetter {
		letters := r.letters("dead")
		require.Len(t, letters, 1)
		require.Nil(t, letters[0].Value)
		require.Equal(t, "in", headers(t, letters[0].Headers)["topic"])
	}
}

// wanting is a node that wants to know the keys that come.
func wanting() *topology.Node {
	n := &topology.Node{Name: "p", Kind: topology.KindProcessor, Site: "site"}
	n.Make = topology.Between(func(in *topology.Instance, next port) (port, error) {
		in.Announce(serde.For[string](), state.Lines(func([][]byte) {}))
		return func(r *text) error {
			in.Enter()
			return next(r)
		}, nil
	})
	return n
}

// A changelog and a topic that a store is restored from follow the policy, too.
func TestARestoreOfWhatCannotBeRead(t *testing.T) {
	rows := state.NewKV[string, string]("rows")
	for name, tear := range torn(t, 10) {
		for _, d := range []topology.Decision{topology.Fail, topology.Skip} {
			t.Run(name+" "+d.String(), func(t *testing.T) {
				topo, err := topology.New(chain(source("s", "in"), process("p", processor{}, rows)))
				require.NoError(t, err)
				var passed []*topology.ProcessingError
				tk, err := task.New(task.Config{
					ApplicationID: "app", Subs: topo.Subtopologies(), Errors: topology.Errors{Decode: d},
					Outbox:     task.NewOutbox(task.OutboxConfig{Partitions: func(string) (int32, error) { return 1, nil }}),
					Tx:         state.NewTx(state.Config{Namespace: state.Namespace(0)}),
					PassedOver: func(pe *topology.ProcessingError) { passed = append(passed, pe) },
				})
				require.NoError(t, err)
				_, err = tk.Stores.Restore("rows", 10, tear.batch)
				if d == topology.Fail {
					require.ErrorContains(t, err, "topic app-rows-changelog partition 0 offset 1")
					require.ErrorContains(t, err, "to go on at offset 1")
				} else {
					require.NoError(t, err)
					require.Len(t, passed, 1)
				}
				require.NoError(t, tk.Close())
			})
		}
	}
}

// decoded is the source of a table whose rows are the records of its topic, and restored from there.
func decoded(nodes []*topology.Node) []*topology.Node {
	nodes[0].RowsFromTopic = "rows"
	return nodes
}

// A store that is restored from an input has the rows that processing the input gives: without what cannot be decoded,
// what has no time, and what lies before the offset that was asked for.
func TestARestoreFromTheInputFollowsTheRulesOfProcessing(t *testing.T) {
	rows := state.NewKV[string, string]("rows")
	picky := topology.NewSource("s", "site", topology.SourceConfig[string, string]{
		Topics: []topology.TopicName{{Name: "in"}}, Keys: serde.For[string](), Values: unwilling{},
	})
	put := processor{init: func(*topology.Context[string, string]) error { return nil },
		process: func(c *topology.Context[string, string], r text) error {
			st, err := rows.Open(c)
			if err != nil {
				return err
			}
			return st.Put(r.Key, r.Value, r.Timestamp)
		}}
	nodes := decoded(chain(picky, process("p", put, rows)))
	record := func(key, value string, timestamp int64) text {
		return text{Key: key, Value: value, Timestamp: timestamp}
	}
	input := []text{
		record("k", "old", 1), record("k", "good", 2), record("k", "bad", 3), record("l", "good", 4), record("l", "late", -1),
		record("m", "good", 5), record("m", "far", 1<<62), record("n", "panic", 6),
	}
	see := func(tk *task.Task) map[string]string {
		seen := map[string]string{}
		st, err := rows.Open(tk.Tx())
		require.NoError(t, err)
		for e, err := range st.All() {
			require.NoError(t, err)
			seen[e.Key] = e.Value
		}
		return seen
	}
	c := task.Config{Errors: topology.Errors{Decode: topology.DeadLetter, DeadLetters: "dead"}}
	r := newRig(t, c, nodes)
	b := encode(t, 0, input...)
	require.NoError(t, r.task.Add("in", 0, b))
	_, err := r.task.Step(100, 0)
	require.NoError(t, err)
	r.commit()
	require.Equal(t, map[string]string{"k": "good", "l": "good", "m": "good"}, see(r.task))
	letters := len(r.letters("dead"))
	require.Equal(t, 2, letters)

	r.topics["in"] = b.Bytes()
	c.Start = r.committed
	r.start(c, nodes)
	require.Equal(t, map[string]string{"k": "good", "l": "good", "m": "good"}, see(r.task))
	r.commit()
	require.Len(t, r.letters("dead"), letters, "nobody needs a second letter")

	topo, err := topology.New(nodes)
	require.NoError(t, err)
	tk := r.bareFrom(topo, c)
	_, err = tk.Stores.Restore("rows", 3, b)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"l": "good", "m": "good"}, see(tk), "deleted records of a batch stay deleted")
	require.NoError(t, tk.Close())
}

type unwilling struct{ serde.String }

func (unwilling) Decode(src []byte) (string, error) {
	switch string(src) {
	case "bad":
		return "", errBoom
	case "panic":
		panic(errBoom)
	}
	return string(src), nil
}

func (r *rig) bareFrom(topo *topology.Topology, c task.Config) *task.Task {
	c.Outbox = task.NewOutbox(task.OutboxConfig{Partitions: func(string) (int32, error) { return 1, nil }})
	c.ApplicationID, c.Subs = "app", topo.Subtopologies()
	c.Tx = state.NewTx(state.Config{Namespace: state.Namespace(0)})
	tk, err := task.New(c)
	require.NoError(r.t, err)
	return tk
}
