package task_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/serde"
	"thalweg/topology"
)

// failing fails on values that begin with ERR, and panics on PANIC.
func failing() processor {
	return processor{process: func(c *topology.Context[string, string], r text) error {
		if strings.HasPrefix(r.Value, "ERR") {
			return errBoom
		}
		if r.Value == "PANIC" {
			panic(errBoom)
		}
		return c.Forward(r)
	}}
}

func value(v string) text { return text{Key: "key", Value: v, Timestamp: 7} }

func TestT33ProcessingErrors(t *testing.T) {
	records := []text{value("1"), value("ERR"), value("2"), value("3"), value("PANIC"), value("4")}
	graph := func() []*topology.Node { return chain(source("s", "in"), process("p", failing()), sink("o", "out")) }

	var phases []topology.Phase
	r := newRig(t, task.Config{Errors: topology.Errors{Handle: func(e *topology.ProcessingError) topology.Action {
		phases = append(phases, e.Phase)
		require.Equal(t, "p", e.Node)
		require.ErrorIs(t, e, errBoom)
		return topology.Skip
	}}}, graph())
	r.add("in", 0, records...)
	r.step(6)
	r.commit()
	require.Equal(t, []string{"1", "2", "3", "4"}, r.written("out"))
	require.Len(t, phases, 2)
	var s task.Stats
	r.task.Stats(&s)
	require.EqualValues(t, 2, s.Nodes[1].Dropped[topology.Skipped])

	r = newRig(t, task.Config{}, graph())
	r.add("in", 0, records...)
	n, err := r.task.Step(10, 0)
	require.Equal(t, 1, n)
	require.ErrorIs(t, err, errBoom)
	require.ErrorContains(t, err, "topic in partition 0 offset 1")
	_, err = r.task.Step(10, 0)
	require.ErrorContains(t, err, "discard first")
	require.Error(t, r.task.Flush())
	require.NoError(t, r.task.Discard())
	r.task.Stats(&s)
	require.Zero(t, s.Nodes[1].Dropped[topology.Skipped])

	r.add("in", 0, value("PANIC"))
	_, err = r.task.Step(10, 0)
	var p *topology.Panic
	require.ErrorAs(t, err, &p)
	require.ErrorIs(t, err, errBoom)
}

func headers(t *testing.T, hs []topology.Header) map[string]string {
	m := map[string]string{}
	for _, h := range hs {
		m[strings.TrimPrefix(h.Key, "__streams.errors.")] = string(h.Value)
	}
	return m
}

func (r *rig) letters(topic string) (letters []task.DeadLetter) {
	for b, err := range batch.BatchesOf(r.topics[topic]) {
		require.NoError(r.t, err)
		it, err := b.Records(nil)
		require.NoError(r.t, err)
		for rec := (batch.Record{}); it.Next(&rec); {
			hs, err := rec.Headers(nil)
			require.NoError(r.t, err)
			letters = append(letters, task.DeadLetter{Timestamp: rec.Timestamp, Key: rec.Key, Value: rec.Value, Headers: hs})
		}
	}
	return letters
}

func TestT35DeadLettersAndContinue(t *testing.T) {
	r := newRig(t, task.Config{Errors: topology.Errors{Process: topology.DeadLetter, DeadLetters: "dead"}},
		chain(source("s", "in"), process("p", failing()), sink("o", "out")))
	kaboom := value("ERR KABOOM")
	kaboom.Headers = []topology.Header{{Key: "mine", Value: []byte("1")}}
	r.add("in", 0, value("value-1"), kaboom, value("value-2"))
	r.step(3)
	r.commit()
	require.Equal(t, []string{"value-1", "value-2"}, r.written("out"))
	letters := r.letters("dead")
	require.Len(t, letters, 1)
	require.Equal(t, "key", string(letters[0].Key))
	require.Equal(t, "ERR KABOOM", string(letters[0].Value))
	require.EqualValues(t, 7, letters[0].Timestamp)
	h := headers(t, letters[0].Headers)
	require.Contains(t, h["stacktrace"], "node p (site)")
	delete(h, "stacktrace")
	require.Equal(t, map[string]string{
		"mine": "1", "exception": "*errors.errorString", "message": "boom", "topic": "in", "partition": "0", "offset": "1",
	}, h)
}

func TestT35DeadLettersAndFail(t *testing.T) {
	r := newRig(t, task.Config{Errors: topology.Errors{Process: topology.DeadLetterAndFail, DeadLetters: "dead"}},
		chain(source("s", "in"), process("p", failing()), sink("o", "out")))
	r.add("in", 0, value("value-1"), value("PANIC"), value("value-2"))
	r.step(1)
	r.commit()
	_, err := r.task.Step(10, 0)
	require.Error(t, err)
	l, ok := r.task.DeadLetter()
	require.True(t, ok)
	require.Equal(t, "PANIC", string(l.Value))
	h := headers(t, l.Headers)
	require.Equal(t, "boom", h["message"])
	require.Equal(t, "1", h["offset"])
	require.Contains(t, h["stacktrace"], "error_test.go", "a panic has its stack")
	require.NoError(t, r.task.Discard())
	require.Equal(t, []string{"value-1"}, r.written("out"))
}

func TestT35DeadLettersOfDecoding(t *testing.T) {
	numbers := topology.NewSource("s", "site", topology.SourceConfig[string, int64]{
		Topics: []topology.TopicName{{Name: "in"}}, Keys: serde.For[string](), Values: serde.For[int64](),
	})
	for _, action := range []topology.Action{topology.DeadLetter, topology.DeadLetterAndFail} {
		var phase topology.Phase
		handle := func(e *topology.ProcessingError) topology.Action {
			phase = e.Phase
			return action
		}
		r := newRig(t, task.Config{Errors: topology.Errors{DeadLetters: "dead", Handle: handle}}, []*topology.Node{numbers})
		r.add("in", 0, value("value"))
		_, err := r.task.Step(1, 0)
		require.Equal(t, topology.PhaseDecode, phase)
		if action == topology.DeadLetterAndFail {
			require.Error(t, err)
			l, ok := r.task.DeadLetter()
			require.True(t, ok)
			require.Equal(t, "value", string(l.Value))
			continue
		}
		require.NoError(t, err)
		r.commit()
		letters := r.letters("dead")
		require.Len(t, letters, 1)
		require.Equal(t, "value", string(letters[0].Value))
		require.Equal(t, "0", headers(t, letters[0].Headers)["offset"])
	}
}

func TestRecordsOverTheLimitAreRefused(t *testing.T) {
	var seen *topology.ProcessingError
	r := newRig(t, task.Config{Errors: topology.Errors{Handle: func(e *topology.ProcessingError) topology.Action {
		seen = e
		return topology.Skip
	}}}, chain(source("s", "in"), sink("o", "out")))
	r.add("in", 0, value(strings.Repeat("x", 2_000_000)), value("small"))
	r.step(2)
	r.commit()
	require.Equal(t, []string{"small"}, r.written("out"))
	require.Equal(t, topology.PhaseEncode, seen.Phase)
	require.ErrorContains(t, seen, "over the limit")
}

func TestInitThatFails(t *testing.T) {
	topo, err := topology.New(chain(source("s", "in"), process("p", processor{
		init: func(*topology.Context[string, string]) error { return errors.New("no") },
	})))
	require.NoError(t, err)
	r := &rig{t: t}
	tk := r.bare(topo)
	require.ErrorContains(t, tk.Restored(nil), "init: no")
	require.NoError(t, tk.Close())
}

// A record whose results the broker refuses counts once, however often it was processed. What a task that is closed has
// not committed does not count.
func TestRefusedRecordsCountOnce(t *testing.T) {
	r := newRig(t, task.Config{Errors: topology.Errors{Encode: topology.Skip}},
		chain(source("s", "in"), process("p", failing()), sink("o", "out")))
	counts := func() (now, committed task.NodeStats) {
		var s, c task.Stats
		r.task.Stats(&s)
		r.task.CommittedStats(&c)
		return s.Nodes[0], c.Nodes[0]
	}
	refused := func() {
		r.add("in", 0, value("1"), value("2"))
		r.step(1)
		require.False(t, r.task.Untouched())
		_, committed := counts()
		require.Zero(t, committed.Processed)
		m := r.task.Last()
		require.NoError(t, r.task.Discard())
		require.True(t, r.task.Untouched())
		require.NoError(t, r.task.Retries.Refuse(m, errBoom))
	}
	r.add("in", 0, value("1"), value("2"))
	r.step(2)
	require.NoError(t, r.task.Discard())
	refused()
	r.add("in", 0, value("1"), value("2"))
	n, err := r.task.Step(1, 0)
	require.NoError(t, err)
	require.Zero(t, n, "the record waits for the policy")
	done, err := r.task.Retry(5)
	require.NoError(t, err)
	require.True(t, done)
	r.commit()
	now, committed := counts()
	require.Equal(t, now, committed)
	require.EqualValues(t, 1, now.Processed)
	require.EqualValues(t, 1, now.Dropped[topology.Skipped])
	require.Equal(t, "s", now.Node)
	r.step(1)
	r.commit()
	now, _ = counts()
	require.EqualValues(t, 2, now.Processed)
}
