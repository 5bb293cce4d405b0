package task_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// world drives a task as a worker does, on a clock of its own: topics of one partition each, a transaction that is
// dropped after a failure.
type world struct {
	*rig
	now     int64
	inputs  map[string][]batch.Batch
	reports []task.Blocked
}

var seen = state.NewKV[string, int64]("seen")

// counting counts values in a store, sends each step, and then fails where refuse says so: after its effects.
func counting(refuse func(r text) error) *topology.Node {
	var st *state.KVStore[string, int64]
	return process("count", processor{
		init: func(c *topology.Context[string, string]) (err error) {
			st, err = seen.Open(c)
			return err
		},
		process: func(c *topology.Context[string, string], r text) error {
			n, _, _, err := st.Get(r.Value)
			if err == nil {
				err = st.Put(r.Value, n+1, r.Timestamp)
			}
			if err == nil {
				err = c.Forward(text{Key: r.Key, Value: fmt.Sprint(r.Value, n+1), Timestamp: r.Timestamp})
			}
			return errors.Join(err, refuse(r))
		},
	}, seen)
}

func newWorld(t *testing.T, policy topology.Action, refuse func(w *world, r text) error) *world {
	w := &world{inputs: map[string][]batch.Batch{}, now: 1_000_000}
	nodes := chain(source("a", "a"), counting(func(r text) error { return refuse(w, r) }), sink("o", "out"))
	b := source("b", "b")
	b.Connect(nodes[1])
	c := task.Config{Errors: topology.Errors{Process: policy}}
	if r, ok := policy.(topology.Retry); ok && r.Then != topology.Fail && r.Then != topology.Skip {
		c.Errors.DeadLetters = "dead"
	}
	w.rig = newRig(t, c, nodes, []*topology.Node{b})
	return w
}

// put adds a batch to an input, for now and for after a Discard.
func (w *world) put(topic string, base int64, records ...text) {
	w.inputs[topic] = append(w.inputs[topic], w.add(topic, base, records...))
}

// run works until the clock is at end, and jumps from one event to the next.
func (w *world) run(end int64) error {
	for {
		err := w.turn()
		var b *task.Blocked
		switch {
		case errors.As(err, &b):
			w.reports = append(w.reports, *b)
			w.rewind()
			continue
		case err != nil:
			return err
		}
		at, ok := w.task.Retries.Next()
		if !ok || at > end {
			w.now = end
			return nil
		}
		w.now = max(w.now, at)
	}
}

func (w *world) turn() error {
	if at, ok := w.task.Retries.Next(); ok && at <= w.now {
		if _, err := w.task.Retry(w.now); err != nil {
			return err
		}
	}
	if _, err := w.task.Punctuate(w.now); err != nil {
		return err
	}
	for n := 1; n > 0; {
		var err error
		if n, err = w.task.Step(100, w.now); err != nil {
			return err
		}
	}
	if w.task.Pending() {
		w.commit()
	}
	return nil
}

// rewind goes back to the last commit and fetches again.
func (w *world) rewind() {
	w.outbox.Discard()
	require.NoError(w.t, w.task.Discard())
	for topic, batches := range w.inputs {
		for _, b := range batches {
			require.NoError(w.t, w.task.Add(topic, 0, b))
		}
	}
}

func (w *world) position(topic string) int64 {
	for _, o := range w.committed {
		if o.Topic == topic {
			return o.Next
		}
	}
	return 0
}

// dropped is how many records a node dropped because they failed.
func (w *world) dropped(node string) int64 {
	var s task.Stats
	w.task.Stats(&s)
	for _, n := range s.Nodes {
		if n.Node == node {
			return n.Dropped[topology.Skipped]
		}
	}
	return -1
}

func of(key, value string, timestamp int64) text {
	return text{Key: key, Value: value, Timestamp: timestamp}
}

// A service is away for ten minutes. The partition whose record needs it waits, the other input continues and commits,
// and in the end each record counts once.
func TestRetryForTenMinutesWhileAnotherInputCommits(t *testing.T) {
	calls := 0
	w := newWorld(t, topology.Retry{Attempts: 100}, func(w *world, r text) error {
		if r.Value != "needs" {
			return nil
		}
		if calls++; w.now < 1_000_000+10*60_000 {
			return errBoom
		}
		return nil
	})
	w.put("a", 0, of("k", "before", 1), of("k", "needs", 2), of("k", "after", 3))
	const minute = 60_000
	for i := range int64(12) {
		w.put("b", i, of("k", "other", 100+i))
		require.NoError(t, w.run(1_000_000+i*minute))
		require.EqualValues(t, i+1, w.position("b"), "minute %d", i)
		if i < 10 {
			require.EqualValues(t, 1, w.position("a"), "what came before is committed, nothing else")
		}
	}
	require.EqualValues(t, 3, w.position("a"))
	require.Equal(t, []string{"before1", "other1", "other2", "other3", "other4", "other5", "other6", "other7", "other8",
		"other9", "other10", "other11", "other12", "needs1", "after1"}, w.written("out"))
	var waits []time.Duration
	for i, b := range w.reports {
		require.Equal(t, task.Blocked{Topic: "a", Offset: 1, Attempt: i + 1, Attempts: 100, Wait: b.Wait, Err: b.Err}, b)
		waits = append(waits, b.Wait/time.Millisecond)
	}
	require.Equal(t, []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000}, waits[:11])
	require.Len(t, w.reports, calls-1)
	require.InDelta(t, 28, calls, 2, "the pauses fill ten minutes")
	require.Zero(t, w.dropped("count"))
}

func TestRetryGivesUp(t *testing.T) {
	refuse := func(_ *world, r text) error {
		if r.Value == "bad" {
			panic(errBoom)
		}
		return nil
	}
	retry := topology.Retry{First: time.Second, Attempts: 3}
	t.Run("fail", func(t *testing.T) {
		w := newWorld(t, retry, refuse)
		w.put("a", 0, of("k", "good", 1), of("k", "bad", 2))
		err := w.run(2_000_000)
		require.ErrorIs(t, err, errBoom)
		require.ErrorContains(t, err, "topic a partition 0 offset 1, after 3 attempts")
		require.Len(t, w.reports, 2)
		require.EqualValues(t, 1_003_000, w.now, "one second, then two")
		_, ok := w.task.DeadLetter()
		require.False(t, ok)
		require.Equal(t, []string{"good1"}, w.written("out"))
	})
	t.Run("skip", func(t *testing.T) {
		retry.Then = topology.Skip
		w := newWorld(t, retry, refuse)
		w.put("a", 0, of("k", "good", 1), of("k", "bad", 2), of("k", "good", 3))
		require.NoError(t, w.run(2_000_000))
		require.EqualValues(t, 3, w.position("a"))
		require.EqualValues(t, 1, w.dropped("count"))
	})
	t.Run("dead letter", func(t *testing.T) {
		retry.Then = topology.DeadLetter
		w := newWorld(t, retry, refuse)
		w.put("a", 0, of("k", "bad", 2), of("k", "good", 3))
		require.NoError(t, w.run(2_000_000))
		letters := w.letters("dead")
		require.Len(t, letters, 1)
		require.Equal(t, "3", headers(t, letters[0].Headers)["attempts"])
	})
	t.Run("dead letter and fail", func(t *testing.T) {
		retry.Then = topology.DeadLetterAndFail
		w := newWorld(t, retry, refuse)
		w.put("a", 0, of("k", "bad", 2))
		require.ErrorIs(t, w.run(2_000_000), errBoom)
		l, ok := w.task.DeadLetter()
		require.True(t, ok)
		require.Equal(t, "3", headers(t, l.Headers)["attempts"])
	})
}

// A rewind for another reason while a record waits neither repeats the attempt nor forgets it.
func TestRewindWhileARecordWaits(t *testing.T) {
	attempts := 0
	w := newWorld(t, topology.Retry{First: time.Second, Attempts: 3}, func(_ *world, r text) error {
		if r.Value == "bad" {
			if attempts++; attempts < 3 {
				return errBoom
			}
		}
		return nil
	})
	w.put("a", 0, of("k", "bad", 1))
	w.put("b", 0, of("k", "other", 2))
	require.NoError(t, w.run(w.now))
	require.Equal(t, 1, attempts)
	at, ok := w.task.Retries.Next()
	require.True(t, ok)
	require.EqualValues(t, 1_001_000, at)
	w.now += 500
	w.rewind()
	require.NoError(t, w.turn())
	require.Equal(t, 1, attempts)
	at, _ = w.task.Retries.Next()
	require.EqualValues(t, 1_001_000, at, "the same wait continues")
	require.NoError(t, w.run(2_000_000))
	require.Equal(t, 3, attempts)
	require.Equal(t, []string{"other1", "bad1"}, w.written("out"))
}

// Somebody else takes the task over while a record waits: the attempts start again from the last commit.
func TestCrashWhileARecordWaits(t *testing.T) {
	attempts := 0
	w := newWorld(t, topology.Retry{First: time.Second, Attempts: 3}, func(*world, text) error {
		if attempts++; attempts < 5 {
			return errBoom
		}
		return nil
	})
	w.put("a", 0, of("k", "slow", 1))
	require.NoError(t, w.run(1_001_500))
	require.Equal(t, 2, attempts)
	again := newWorld(t, topology.Retry{First: time.Second, Attempts: 3}, func(*world, text) error {
		if attempts++; attempts < 5 {
			return errBoom
		}
		return nil
	})
	again.put("a", 0, of("k", "slow", 1))
	require.NoError(t, again.run(2_000_000))
	require.Equal(t, 5, attempts)
	require.Equal(t, 1, again.reports[0].Attempt)
	require.Equal(t, []string{"slow1"}, again.written("out"))
}

// The clock moves while user code runs: the pause follows the failure, not the start of the step.
func TestWaitBeginsAfterTheFailure(t *testing.T) {
	w := newWorld(t, topology.Retry{First: time.Second}, func(*world, text) error { return errBoom })
	w.put("a", 0, of("k", "slow", 1))
	var b *task.Blocked
	_, err := w.task.Step(1, w.now)
	require.ErrorAs(t, err, &b)
	w.rewind()
	_, ok := w.task.Retries.Next()
	require.False(t, ok)
	_, err = w.task.Step(1, w.now+30_000) // a call that took half a minute
	require.NoError(t, err)
	at, _ := w.task.Retries.Next()
	require.Equal(t, w.now+31_000, at)
}

// A task that waits an hour for inputs that are empty does not wait for one that is blocked.
func TestBlockedInputIsNotEmpty(t *testing.T) {
	refusing := processor{process: func(c *topology.Context[string, string], r text) error {
		if r.Value == "bad" {
			return errBoom
		}
		return c.Forward(r)
	}}
	nodes := chain(source("a", "a"), process("p", refusing), sink("o", "out"))
	b := source("b", "b")
	b.Connect(nodes[1])
	w := &world{inputs: map[string][]batch.Batch{}}
	c := task.Config{Errors: topology.Errors{Process: topology.Retry{}}, MaxIdle: time.Hour}
	w.rig = newRig(t, c, nodes, []*topology.Node{b})
	w.put("a", 0, of("k", "bad", 1))
	w.put("b", 0, of("k", "other", 2))
	require.NoError(t, w.run(0))
	require.Equal(t, []string{"other"}, w.written("out"))
}

// An attempt is alone in its transaction.
func TestRetryWantsACommitBefore(t *testing.T) {
	w := newWorld(t, topology.Retry{First: time.Millisecond}, func(_ *world, r text) error {
		if r.Value == "bad" {
			return errBoom
		}
		return nil
	})
	w.put("a", 0, of("k", "bad", 1))
	w.put("b", 0, of("k", "other", 2))
	var b *task.Blocked
	_, err := w.task.Step(10, w.now)
	require.ErrorAs(t, err, &b)
	w.rewind()
	n, err := w.task.Step(10, w.now)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = w.task.Retry(w.now + 1)
	require.ErrorContains(t, err, "commit or discard first")
	w.commit()
	processed, err := w.task.Retry(w.now)
	require.NoError(t, err)
	require.False(t, processed, "its time has not come")
	_, err = w.task.Retry(w.now + 1)
	require.ErrorAs(t, err, &b)
	require.Equal(t, 2, b.Attempt)
}

func TestHandleSeesTheAttempts(t *testing.T) {
	var seen []int
	handle := func(e *topology.ProcessingError) topology.Action {
		if seen = append(seen, e.Attempts); e.Phase == topology.PhaseDecode || e.Attempts == 2 {
			return topology.Skip
		}
		return topology.Retry{First: time.Second}
	}
	numbers := topology.NewSource("s", "site", topology.SourceConfig[string, int64]{
		Topics: []topology.TopicName{{Name: "in"}}, Keys: serde.For[string](), Values: serde.For[int64](),
	})
	numbers.Connect(topology.NewProcessor("p", "site", nil,
		func() topology.Processor[string, int64, string, string] { return refusing{} }))
	r := newRig(t, task.Config{Errors: topology.Errors{Handle: handle}}, append([]*topology.Node{numbers},
		numbers.Children()...))
	batches := []batch.Batch{r.add("in", 0, value("no number"), value("12345678"))}
	var b *task.Blocked
	_, err := r.task.Step(2, 0)
	require.ErrorAs(t, err, &b)
	require.EqualValues(t, 1, b.Offset)
	require.NoError(t, r.task.Discard())
	require.NoError(t, r.task.Add("in", 0, batches[0]))
	r.step(1)
	r.commit()
	processed, err := r.task.Retry(1000)
	require.NoError(t, err)
	require.True(t, processed)
	require.Equal(t, []int{1, 1, 1, 2}, seen)
}

type refusing struct{}

func (refusing) Init(*topology.Context[string, string]) error { return nil }
func (refusing) Process(topology.Record[string, int64]) error { return errBoom }
