package streamtest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// service answers calls when the test says so.
type service struct {
	mu      sync.Mutex
	started []string
	running int
	most    int
	begun   chan string              // each call, as it begins
	answer  map[string]chan struct{} // by value; a call without one is answered at once
}

func newService(held ...string) *service {
	s := &service{begun: make(chan string, 100), answer: map[string]chan struct{}{}}
	for _, v := range held {
		s.answer[v] = make(chan struct{})
	}
	return s
}

func (s *service) call(ctx context.Context, k, v string) (string, error) {
	s.mu.Lock()
	s.started = append(s.started, v)
	s.running++
	s.most = max(s.most, s.running)
	s.mu.Unlock()
	s.begun <- v
	var err error
	if c := s.answer[v]; c != nil {
		select {
		case <-c:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	switch v {
	case "bad":
		return "", errors.New("no answer")
	case "worse":
		panic("no service")
	}
	return k + "/" + v, err
}

func asyncDriver(t *testing.T, s *service, n int, c streamtest.Config) *streamtest.Driver {
	b := stream.NewBuilder()
	b.Stream(texts).MapAsync(n, s.call).To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	return streamtest.New(t, topo, c)
}

func valuesOf(d *streamtest.Driver) []string {
	values := []string{}
	for _, r := range d.Output(out).ReadAll() {
		values = append(values, r.Value)
	}
	return values
}

func TestMapAsyncCallsAtTheSameTimeAndKeepsTheOrder(t *testing.T) {
	s := newService("1", "2", "3")
	d := asyncDriver(t, s, 3, streamtest.Config{CommitEvery: -1})
	in := d.Input(texts)
	in.Send("a", "1", 1)
	in.Send("b", "2", 2)
	in.Send("a", "3", 3) // waits for the call before of its key
	require.ElementsMatch(t, []string{"1", "2"}, []string{<-s.begun, <-s.begun})
	close(s.answer["2"])
	close(s.answer["3"])
	require.Empty(t, s.begun, "calls of one key come one after the other")
	close(s.answer["1"])
	d.Commit()
	require.Equal(t, []string{"a/1", "b/2", "a/3"}, valuesOf(d))
	require.Equal(t, "3", <-s.begun)
}

func TestMapAsyncIsBounded(t *testing.T) {
	s := newService()
	d := asyncDriver(t, s, 4, streamtest.Config{CommitEvery: -1})
	want := []string{}
	for i := range 50 {
		d.Input(texts).Send(fmt.Sprint(i%7), fmt.Sprint(i), int64(i))
		want = append(want, fmt.Sprintf("%d/%d", i%7, i))
	}
	d.Commit()
	require.Equal(t, want, valuesOf(d))
	require.LessOrEqual(t, s.most, 4)
}

func TestMapAsyncForgetsWhatIsRewound(t *testing.T) {
	s := newService("2")
	d := asyncDriver(t, s, 8, streamtest.Config{CommitEvery: -1})
	in := d.Input(texts)
	in.Send("a", "1", 1)
	d.Commit()
	in.Send("a", "2", 2)
	in.Send("b", "3", 3)
	<-s.begun
	close(s.answer["2"])
	d.Discard() // the context ends, and the records come again
	d.Commit()
	require.Equal(t, []string{"a/1", "a/2", "b/3"}, valuesOf(d))
}

func TestMapAsyncEndsTheContextWhenClosed(t *testing.T) {
	s := newService("never")
	d := asyncDriver(t, s, 8, streamtest.Config{CommitEvery: -1})
	d.Input(texts).Send("a", "never", 1)
	require.Equal(t, "never", <-s.begun)
	d.Restart(streamtest.KeepState)
	require.Equal(t, "never", <-s.begun)
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Equal(t, 1, s.running, "the task has waited for the first call")
}

func TestMapAsyncFailuresAreTheirRecords(t *testing.T) {
	var failed []string
	c := streamtest.Config{CommitEvery: -1}
	c.Errors.DeadLetters = "dead"
	c.Errors.Handle = func(e *topology.ProcessingError) topology.Action {
		text, _, _ := strings.Cut(e.Err.Error(), " (") // of a panic without its line
		failed = append(failed, fmt.Sprintf("%s@%d: %s", e.Node, e.Metadata.Offset, text))
		if e.Metadata.Offset == 2 {
			require.Contains(t, string(e.Stack), "service).call")
		}
		return topology.DeadLetter
	}
	s := newService()
	d := asyncDriver(t, s, 8, c)
	in := d.Input(texts)
	for i, v := range []string{"1", "bad", "worse", "2"} {
		in.Send("a", v, int64(i))
	}
	d.Commit()
	require.Equal(t, []string{"a/1", "a/2"}, valuesOf(d))
	require.Equal(t, []string{"source-texts.map-async@1: no answer", "source-texts.map-async@2: panic: no service"},
		failed)
	require.EqualValues(t, 2, d.Dropped(topology.Skipped))
	letters := d.Written("dead")
	require.Len(t, letters, 2)
	require.Equal(t, "bad", string(letters[0].Value))
	require.Equal(t, "worse", string(letters[1].Value))

	d = asyncDriver(t, newService(), 8, streamtest.Config{CommitEvery: -1})
	d.Input(texts).Send("a", "1", 1)
	d.Input(texts).Send("a", "bad", 2)
	require.ErrorContains(t, d.TryCommit(), "node source-texts.map-async")
	require.Empty(t, valuesOf(d), "of a failed transaction nothing is seen")
}

// What a table tells of with the commit, and what is called for behind it, belongs to the same commit.
func TestMapAsyncBehindATableSettlesWithTheCommit(t *testing.T) {
	s := newService()
	again := stream.NewTopic[string, int64]("again")
	b := stream.NewBuilder()
	b.Stream(texts).GroupByKey().Count(state.NewKV[string, int64]("count")).ToStream().
		MapValues(func(n int64) string { return fmt.Sprint(n) }).MapAsync(2, s.call).
		GroupByKey().Count(state.NewKV[string, int64]("answers")).ToStream().To(again)
	topo, err := b.Build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{CommitEvery: -1, EmitOnCommit: true})
	d.Input(texts).Send("a", "x", 1)
	d.Input(texts).Send("a", "y", 2)
	d.Commit()
	require.Equal(t, map[string]int64{"a": 1}, streamtest.Latest(d.Output(again)))
	require.Equal(t, []string{"2"}, s.started)
}
