package runtime_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
	"thalweg/stream"
)

// Where an application starts by its reset policy is committed, though nothing follows: it is caught up, and a restart
// does not start somewhere else.
func TestTheStartIsCommitted(t *testing.T) {
	for _, policy := range []stream.Reset{stream.Latest(), stream.Back(time.Second)} {
		for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
			h := newHarness(t)
			h.create(2, "ins")
			h.create(1, "copies")
			cfg := h.config()
			cfg.Guarantee = guarantee
			h.sent("ins", 0, 0, 10)
			h.start(copying(t, ins.Reset(policy)), cfg).caughtUp().stop()
			require.EqualValues(t, 10, h.offset("ins", 0))
			require.EqualValues(t, 0, h.offset("ins", 1))
			h.sent("ins", 0, 10, 5)
			h.sent("ins", 1, 20, 5)
			h.start(copying(t, ins.Reset(policy)), cfg).caughtUp().stop()
			require.ElementsMatch(t, append(numbers(10, 15), numbers(20, 25)...), h.values("copies"))
		}
	}
}

// What is produced after the call is not waited for: here it never ends.
func TestWaitCaughtUpEndsThoughRecordsGoOnArriving(t *testing.T) {
	h := newHarness(t)
	h.feed(50)
	app := h.start(words(t, byWord), h.config()).settled()
	ctx, cancel := context.WithCancel(h.ctx)
	var feeding sync.WaitGroup
	feeding.Go(func() {
		for ctx.Err() == nil {
			_ = h.client.ProduceSync(ctx, &kgo.Record{Topic: "lines", Value: []byte("more")}) // the last is cut short
		}
	})
	before := h.ends("lines")
	app.caughtUp()
	for p, end := range before {
		require.GreaterOrEqual(t, h.offset("lines", p), end)
	}
	cancel()
	feeding.Wait()
	app.stop()
}

// The records of global tables are inputs, too.
func TestWaitCaughtUpWaitsForGlobalTables(t *testing.T) {
	h := newHarness(t)
	h.create(3, "prices")
	app := h.start(priced(t), h.config()).settled()
	for i := range int64(20) {
		h.produce(h.price("item", i))
		app.caughtUp()
		require.Equal(t, i, app.prices()["item"])
	}
	globals := app.Stats().Globals
	require.Len(t, globals, 1)
	require.Equal(t, "price-rows", globals[0].Store)
	require.Len(t, globals[0].Inputs, 3)
	sum := int64(0)
	for _, in := range globals[0].Inputs {
		require.Equal(t, "prices", in.Topic)
		require.Zero(t, in.Lag)
		sum += in.Fetched
	}
	require.EqualValues(t, 20, sum)
}

// A waiter is told why the application has ended, and not what that looks like to it.
func TestWaitCaughtUpReturnsTheErrorOfTheApplication(t *testing.T) {
	h := newHarness(t)
	reached, let := make(chan struct{}), make(chan struct{})
	topo := wordsUnless(t, byWord, func(line string) error {
		if line == "bad" {
			close(reached)
			<-let
			return errors.New("a bad line")
		}
		return nil
	})
	app := h.start(topo, h.config()).settled()
	h.produce(line("bad"))
	waited := make(chan error)
	<-reached
	go func() { waited <- app.WaitCaughtUp(h.ctx) }()
	close(let)
	require.ErrorContains(t, <-waited, "a bad line")
	require.ErrorContains(t, <-app.end, "a bad line")

	// One that is closed says so.
	h = newHarness(t)
	app = h.start(topo, h.config()).settled()
	app.Pause()
	h.produce(line("good"))
	go func() { waited <- app.WaitCaughtUp(h.ctx) }()
	app.stop()
	require.ErrorContains(t, <-waited, "closed")
}

// An application that starts beside nothing else runs once, whatever the number of its workers.
func TestAStartDoesNotFlicker(t *testing.T) {
	for _, workers := range []int{1, 3, 6} {
		h := newHarness(t)
		cfg := h.config()
		cfg.Workers = workers
		var mu sync.Mutex
		var states []runtime.State
		cfg.Hooks.StateChanged = func(_, to runtime.State) {
			mu.Lock()
			defer mu.Unlock()
			states = append(states, to)
		}
		h.feed(100)
		app := h.start(words(t, byWord), cfg).settled()
		app.caughtUp().stop()
		mu.Lock()
		require.Equal(t, []runtime.State{runtime.Rebalancing, runtime.Running, runtime.Closing, runtime.Closed}, states)
		mu.Unlock()
		h.exact()
	}
}
