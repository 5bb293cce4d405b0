package workload

import (
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/state/engine"
	"thalweg/state/memory"
)

// forgetful is an engine that keeps nothing: what is left of a checkpoint is the task's own work.
type forgetful struct{ engine.Engine }

type nowhere struct{ engine.Batch }

func (forgetful) NewBatch(int) engine.Batch           { return nowhere{} }
func (nowhere) Set(key, value []byte) error           { return nil }
func (nowhere) Delete(key []byte) error               { return nil }
func (nowhere) DeleteRange(lower, upper []byte) error { return nil }
func (nowhere) SizeBytes() int                        { return 0 }
func (nowhere) Commit() error                         { return nil }
func (nowhere) Close() error                          { return nil }

// BenchmarkTask runs the topologies of workloads whose rows fit into the cache, with no broker and no engine: the
// processor time of a task for each record of its inputs, and what it allocates. What a task sends to a repartition
// topic it reads again.
func BenchmarkTask(b *testing.B) {
	for _, name := range []string{"stateless", "count", "window", "session", "stream-join", "table-join", "wordcount"} {
		b.Run(name, func(b *testing.B) {
			w, err := WorkloadOf(name)
			require.NoError(b, err)
			const records = 200_000
			var sets [][]batch.Batch
			for _, set := range append(w.Tables, w.Inputs...) {
				sets = append(sets, parsed(b, set, records))
			}
			b.ReportAllocs()
			used := int64(0)
			for b.Loop() {
				b.StopTimer()
				r := newTaskRun(b, w)
				b.StartTimer()
				before := processorTime(b)
				r.run(sets)
				used += processorTime(b) - before
				b.StopTimer()
				require.NoError(b, r.task.Close())
				b.StartTimer()
			}
			b.ReportMetric(float64(used)/float64(b.N*records*len(sets)), "cpu-ns/record")
		})
	}
}

func processorTime(b *testing.B) int64 {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return u.Utime.Nano() + u.Stime.Nano()
}

func parsed(b *testing.B, topic string, records int) (batches []batch.Batch) {
	next := int64(0)
	for _, raw := range encode(b, topic, records) {
		batches = append(batches, parseAt(b, raw, &next))
	}
	return batches
}

// parseAt parses a batch that begins at the next offset, and moves that behind it.
func parseAt(b *testing.B, raw []byte, next *int64) batch.Batch {
	batch.SetBaseOffset(raw, *next, 0)
	one, _, err := batch.Parse(raw)
	require.NoError(b, err)
	*next += int64(one.Count())
	return one
}

type taskRun struct {
	b      *testing.B
	topics []string
	task   *task.Task
	outbox *task.Outbox
	again  map[string]*int64 // repartition topics, each with its next offset

	added, processed int // records
}

func newTaskRun(b *testing.B, w Workload) *taskRun {
	topo, err := w.topology(append(w.Tables, w.Inputs...), "out", Options{})
	require.NoError(b, err)
	r := &taskRun{b: b, topics: append(w.Tables, w.Inputs...), again: map[string]*int64{}}
	r.outbox = task.NewOutbox(task.OutboxConfig{
		Partitions: func(string) (int32, error) { return 1, nil }, BatchBytes: 256 << 10, SpareBuilders: 64,
	})
	r.task, err = task.New(task.Config{
		ApplicationID: "app", Outbox: r.outbox, Subs: topo.Subtopologies(),
		Tx: state.NewTx(state.Config{
			Engine: forgetful{memory.New()}, Namespace: state.Namespace(0), CacheBytesMax: 1 << 30,
		}),
	})
	require.NoError(b, err)
	for _, in := range r.task.Queues.Inputs() {
		require.NoError(b, r.task.Seek(task.Offset{Topic: in.Topic}))
		if !slices.Contains(r.topics, in.Topic) {
			r.again[in.Topic] = new(int64)
		}
	}
	require.NoError(b, r.task.Restored(func(string) int64 { return 0 }))
	return r
}

// run adds some batches of each input, processes them and commits, until nothing is left.
func (r *taskRun) run(sets [][]batch.Batch) {
	const atOnce = 25
	for from, left := 0, true; left; from += atOnce {
		for i, set := range sets {
			for _, one := range set[min(from, len(set)):min(from+atOnce, len(set))] {
				r.add(r.topics[i], one)
			}
		}
		left = r.step()
		_, err := r.task.Ready()
		require.NoError(r.b, err)
		r.send(r.outbox.Take())
		require.NoError(r.b, r.task.Advance(func(string) int64 { return int64(from) }))
	}
	require.Equal(r.b, r.added, r.processed)
}

func (r *taskRun) add(topic string, one batch.Batch) {
	require.NoError(r.b, r.task.Add(topic, 0, one))
	r.added += int(one.Count())
}

// step processes what has been added, and says whether there was anything.
func (r *taskRun) step() (some bool) {
	for {
		n, err := r.task.Step(1000, 0)
		require.NoError(r.b, err)
		r.processed += n
		r.send(r.outbox.Full())
		if n == 0 {
			return some
		}
		some = true
	}
}

func (r *taskRun) send(packets []*task.Packet) {
	for _, p := range packets {
		raw, err := p.Builder.Finish(batch.NoProducer())
		require.NoError(r.b, err)
		if next := r.again[p.Topic]; next != nil {
			r.add(p.Topic, parseAt(r.b, slices.Clone(raw), next))
		}
		r.outbox.Recycle(p)
	}
}
